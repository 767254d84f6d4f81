from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.splits.rule import SIDES, position, side_at, sides_of_groups

MEMBERS = st.lists(st.tuples(st.sampled_from("ABCDEF"), st.text(max_size=4)), max_size=20)
SHARES = st.sampled_from([(0.1, 0.2), (0.3, 0.3), (0.45, 0.5)])


def sides(members: list[tuple[str, str]], shares: tuple[float, float], salt: str = "") -> dict[str, str]:
    return sides_of_groups(members, salt=salt, validation=shares[0], test=shares[1])


def test_positions_stay_what_they_are() -> None:
    # A changed hash would move every row of every pipeline.
    assert position("", "hello") == 0.6593354869716185
    assert position("a", "hello") == 0.23969512114027924


def test_salt_and_text_are_not_run_together() -> None:
    assert len({position("a", "bc"), position("ab", "c"), position("", "abc"), position("abc", "")}) == 4


@pytest.mark.parametrize(
    ("at", "side"),
    [(0.0, "test"), (0.199, "test"), (0.2, "validation"), (0.29, "validation"), (0.31, "train"), (0.999, "train")],
)
def test_the_line_is_divided_into_test_validation_train(at: float, side: str) -> None:
    assert side_at(at, validation=0.1, test=0.2) == side


@pytest.mark.parametrize("salt", ["", "1", "another"])
def test_shares_approach_the_configured_ones(salt: str) -> None:
    members = [(str(number), f"message {number}") for number in range(20_000)]
    counts = Counter(sides(members, (0.1, 0.2), salt).values())
    # Four standard deviations of a binomial share of 20,000 rows are at most 0.014.
    for side, share in {"train": 0.7, "validation": 0.1, "test": 0.2}.items():
        assert counts[side] / len(members) == pytest.approx(share, abs=0.014)


def test_another_salt_gives_independent_sides() -> None:
    members = [(str(number), f"message {number}") for number in range(20_000)]
    one, other = sides(members, (0.1, 0.2), "1"), sides(members, (0.1, 0.2), "2")
    in_both = sum(one[name] == other[name] == "test" for name in one)
    assert in_both / len(members) == pytest.approx(0.2 * 0.2, abs=0.006)


@settings(deadline=None, derandomize=True)
@given(MEMBERS, SHARES)
def test_a_group_takes_the_lowest_of_its_members_sides(
    members: list[tuple[str, str]], shares: tuple[float, float]
) -> None:
    validation, test = shares
    found = sides(members, shares)
    assert set(found) == {name for name, _ in members}
    for name, side in found.items():
        own = [side_at(position("", text), validation=validation, test=test) for one, text in members if one == name]
        assert side == min(own, key=SIDES.index)


@settings(deadline=None, derandomize=True)
@given(MEMBERS.flatmap(lambda members: st.tuples(st.just(members), st.permutations(members))), SHARES)
def test_order_does_not_matter(
    case: tuple[list[tuple[str, str]], list[tuple[str, str]]], shares: tuple[float, float]
) -> None:
    assert sides(case[0], shares) == sides(case[1], shares)


@settings(deadline=None, derandomize=True)
@given(st.floats(0, 1, exclude_max=True), st.floats(0.01, 0.4), st.lists(st.floats(0.01, 0.5), min_size=2, max_size=5))
def test_a_growing_test_share_only_takes_in(at: float, validation: float, shares: list[float]) -> None:
    along = [SIDES.index(side_at(at, validation=validation, test=test)) for test in sorted(shares)]
    assert all(before <= after for before, after in pairwise(along))
