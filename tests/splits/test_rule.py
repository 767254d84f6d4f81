from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.splits.rule import position, positions, sides_at, sides_of_groups
from assets.splits.sides import SIDES
from tests.splits import plain

TEXTS = st.text(max_size=4) | st.text('\x00\x1f"\\/\x7f\x80é\u2028\ud800😀', max_size=4)
MEMBERS = st.lists(st.tuples(st.integers(-1, 5), TEXTS), max_size=20)
SHARES = st.sampled_from([(0.1, 0.2), (0.3, 0.3), (0.45, 0.5)])


def side_at(at: float, *, validation: float, test: float) -> str:
    return SIDES[sides_at(np.array([at]), validation=validation, test=test)[0]]


def test_positions_stay_what_they_are() -> None:
    # A changed hash would move every row of every pipeline.
    assert position("", "hello") == 0.6593354869716185
    assert position("a", "hello") == 0.23969512114027924


@given(TEXTS, TEXTS)
def test_a_position_is_that_of_the_json_of_salt_and_text(salt: str, text: str) -> None:
    assert position(salt, text) == plain.position(salt, text)


@settings(deadline=None)
@given(salt=st.text(max_size=4), texts=st.lists(st.text(max_size=8) | st.text(' "\\a~\x7fé', max_size=5)))
def test_positions_of_many_texts_are_those_of_each(salt: str, texts: list[str]) -> None:
    assert positions(salt, pa.array(texts, pa.string())).tolist() == [position(salt, text) for text in texts]


def test_salt_and_text_are_not_run_together() -> None:
    assert len({position("a", "bc"), position("ab", "c"), position("", "abc"), position("abc", "")}) == 4


@pytest.mark.parametrize(
    ("at", "side"),
    [(0.0, "test"), (0.199, "test"), (0.2, "validation"), (0.29, "validation"), (0.31, "train"), (0.999, "train")],
)
def test_the_line_is_divided_into_test_validation_train(at: float, side: str) -> None:
    assert side_at(at, validation=0.1, test=0.2) == plain.side_at(at, validation=0.1, test=0.2) == side


@pytest.mark.parametrize("salt", ["", "1", "another"])
def test_shares_approach_the_configured_ones(salt: str) -> None:
    at = np.array([position(salt, f"message {number}") for number in range(20_000)])
    counts = np.bincount(sides_at(at, validation=0.1, test=0.2))
    # Four standard deviations of a binomial share of 20,000 rows are at most 0.014.
    assert counts / len(at) == pytest.approx([0.7, 0.1, 0.2], abs=0.014)


def test_another_salt_gives_independent_sides() -> None:
    one, other = (
        sides_at(np.array([position(salt, f"message {at}") for at in range(20_000)]), validation=0.1, test=0.2)
        for salt in ("1", "2")
    )
    in_both = ((one == 2) & (other == 2)).sum()
    assert in_both / len(one) == pytest.approx(0.2 * 0.2, abs=0.006)


@settings(deadline=None, derandomize=True)
@given(MEMBERS, SHARES)
def test_a_group_takes_the_lowest_of_its_members_sides(
    members: list[tuple[int, str]], shares: tuple[float, float]
) -> None:
    # A group is named by one of its rows: here by its last one.
    name = {group: row for row, (group, _) in enumerate(members) if group >= 0}
    at = np.array([position("", text) for _, text in members], float)
    group = np.array([name.get(group, -1) for group, _ in members], np.int32)
    found = sides_of_groups(sides_at(at, validation=shares[0], test=shares[1]), group).tolist()
    expected = plain.sides_of_groups(
        ((str(group), text) for group, text in members), salt="", validation=shares[0], test=shares[1]
    )
    assert found == [SIDES.index(expected[str(group)]) if group >= 0 else -1 for group, _ in members]


@settings(deadline=None, derandomize=True)
@given(st.floats(0, 1, exclude_max=True), st.floats(0.01, 0.4), st.lists(st.floats(0.01, 0.5), min_size=2, max_size=5))
def test_a_growing_test_share_only_takes_in(at: float, validation: float, shares: list[float]) -> None:
    along = [SIDES.index(side_at(at, validation=validation, test=test)) for test in sorted(shares)]
    assert all(before <= after for before, after in pairwise(along))
