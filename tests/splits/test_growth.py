"""What holds for any rows: near-duplicates and equal values stay together, growth moves rows only towards train."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.splits.groups import connected, values_of
from assets.splits.rule import SIDES, position, sides_at, sides_of_groups
from tests.cleaned.oracle import resolve, similar
from tests.splits.conftest import Row, row_id

TEXTS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6).map(" ".join)
SOURCES = st.sampled_from([None, "", " ", "ann", "bob", "cid"])
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(["ham", "spam"]), SOURCES), min_size=1, max_size=25)
SIMILARITY = st.sampled_from([None, 0.4, 0.6, 1.0])
PROPERTY = settings(deadline=None, derandomize=True, max_examples=150)


def sides_of_texts(layout: list[Row], similarity: float | None, *, by_source: bool) -> dict[str, str]:
    """Side of every text that is kept, of rows that lie in this order."""
    rows = sorted(set(layout), key=row_id)
    near = None if similarity is None else {"similarity": similarity, "ngram": 1}
    cleaned = resolve([text for text, _, _ in rows], [label for _, label, _ in rows], near)
    place = np.array([layout.index(row) for row in rows], np.intp)
    group = np.full(len(layout), -1, np.int32)
    group[place[list(cleaned.group)]] = place[list(cleaned.group.values())]
    kept, others = (place[sorted(found)] for found in (cleaned.kept, cleaned.merged.keys() | cleaned.conflicting))
    if by_source:
        _, text = np.unique([text for text, _, _ in layout], return_inverse=True)
        keys = np.stack([text % 2, text], axis=1).astype(np.uint64)
        values = values_of(pa.chunked_array([[source for _, _, source in layout]], pa.string()))
        group = connected(group, kept, others, keys=keys, values=values)
    at = np.array([position("", text) for text, _, _ in layout])
    sides = sides_of_groups(sides_at(at, validation=0.3, test=0.4), group)
    return {layout[row][0]: SIDES[sides[row]] for row in kept}


@PROPERTY
@given(ROWS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))), SIMILARITY, st.booleans())
def test_order_does_not_matter(case: tuple[list[Row], list[Row]], similarity: float | None, by_source: bool) -> None:
    rows, permuted = case
    assert sides_of_texts(rows, similarity, by_source=by_source) == sides_of_texts(
        permuted, similarity, by_source=by_source
    )


@PROPERTY
@given(ROWS, SIMILARITY, st.booleans())
def test_near_duplicates_and_equal_values_are_on_one_side(
    rows: list[Row],
    similarity: float | None,
    by_source: bool,
) -> None:
    sides = sides_of_texts(rows, similarity, by_source=by_source)
    # A merged row's value counts for the text that it was merged into.
    there = [(text, source) for text, _, source in rows if text in sides]
    for (one, value), (other, other_value) in combinations(there, 2):
        near = similarity is not None and similar(one, other, similarity, 1)
        together = by_source and value == other_value and bool((value or "").strip())
        assert sides[one] == sides[other] or not (near or together)


@PROPERTY
@given(ROWS, ROWS, st.sets(st.integers(0, 24)), SIMILARITY, st.booleans())
def test_new_rows_move_old_ones_only_towards_train(
    rows: list[Row], more: list[Row], contradicted: set[int], similarity: float | None, by_source: bool
) -> None:
    other = {"ham": "spam", "spam": "ham"}
    more = more + [(text, other[label], None) for at, (text, label, _) in enumerate(rows) if at in contradicted]
    before = sides_of_texts(rows, similarity, by_source=by_source)
    after = sides_of_texts(rows + more, similarity, by_source=by_source)
    for text in before.keys() & after.keys():
        assert SIDES.index(after[text]) <= SIDES.index(before[text])
