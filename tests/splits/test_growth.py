"""What `cleaned` and `splits` promise together, on the rules alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from assets.cleaned.clean import resolve
from assets.cleaned.near_duplicates import ngrams
from assets.splits.rule import SIDES, sides_of_groups

Rows = list[tuple[str, str]]
ROWS = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6).map(" ".join), st.sampled_from(["ham", "spam"])
    ),
    max_size=25,
)
NEAR = st.one_of(
    st.none(), st.fixed_dictionaries({"similarity": st.sampled_from([0.4, 0.6, 1.0]), "ngram": st.integers(1, 3)})
)


def sides_of_texts(rows: Rows, near_duplicates: dict[str, Any] | None) -> dict[str, str]:
    """Side of every text that is kept."""
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    overlay = resolve(texts, labels, near_duplicates)
    members = [(str(group), texts[row]) for row, group in overlay.group.items()]
    sides = sides_of_groups(members, salt="", validation=0.3, test=0.4)
    return {texts[row]: sides[str(overlay.group[row])] for row in overlay.kept}


@settings(deadline=None, derandomize=True, max_examples=150)
@given(ROWS, ROWS, NEAR)
def test_new_rows_move_old_ones_only_towards_train(
    rows: Rows, more: Rows, near_duplicates: dict[str, Any] | None
) -> None:
    before, after = sides_of_texts(rows, near_duplicates), sides_of_texts(rows + more, near_duplicates)
    for text in before.keys() & after.keys():
        assert SIDES.index(after[text]) <= SIDES.index(before[text])


@settings(deadline=None, derandomize=True, max_examples=100)
@given(ROWS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))), NEAR)
def test_order_does_not_matter(case: tuple[Rows, Rows], near_duplicates: dict[str, Any] | None) -> None:
    assert sides_of_texts(case[0], near_duplicates) == sides_of_texts(case[1], near_duplicates)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(ROWS, st.sampled_from([0.4, 0.6, 1.0]), st.integers(1, 3))
def test_near_duplicates_are_on_one_side(rows: Rows, similarity: float, n: int) -> None:
    sides = sides_of_texts(rows, {"similarity": similarity, "ngram": n})
    for one, side in sides.items():
        for other, other_side in sides.items():
            left, right = ngrams(one, n), ngrams(other, n)
            assert side == other_side or len(left & right) / len(left | right) < similarity


def test_a_conflict_that_turns_up_later_keeps_its_near_duplicates_out_of_the_test_set() -> None:
    # By itself the second text would be on the test side; the first one, in train, holds it there.
    near = {"similarity": 0.6, "ngram": 1}
    held, test = "a b d f g", "b d f g"
    assert sides_of_texts([(held, "ham")], near) == {held: "train"}
    assert sides_of_texts([(test, "ham")], near) == {test: "test"}
    rows = [(held, "ham"), (test, "ham")]
    assert sides_of_texts(rows, near) == {held: "train", test: "train"}
    assert sides_of_texts([*rows, (held, "spam")], near) == {test: "train"}
