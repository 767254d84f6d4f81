"""What holds for any rows: near-duplicates and equal values stay together, growth moves rows only towards train.

With a test set that came with the data: see `tests.splits.test_frozen`.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.splits.by_time import read_times, sides_since
from assets.splits.groups import connected, values_of
from assets.splits.rule import position, sides_at, sides_of_groups
from assets.splits.sides import SIDES
from tests.cleaned.oracle import resolve, similar
from tests.splits.conftest import Row, row_id

TEXTS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6).map(" ".join)
SOURCES = st.sampled_from([None, "", " ", "ann", "bob", "cid"])
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(["ham", "spam"]), SOURCES), min_size=1, max_size=25)
SIMILARITY = st.sampled_from([None, 0.4, 0.6, 1.0])
PROPERTY = settings(deadline=None, derandomize=True, max_examples=150)


TIMES = {
    None: "2026-05-01",
    "": "2026-03-01",
    " ": "2026-04-01",
    "ann": "2026-01-01",
    "bob": "2026-05-01",
    "cid": "2026-03-31",
}
"""When a row is from, by its source."""
RULES = st.sampled_from(["hash", "time"])


def sides_of_texts(layout: list[Row], similarity: float | None, *, by_source: bool, rule: str) -> dict[str, str]:
    """Side of every text that is kept, of rows that lie in this order."""
    rows = sorted(set(layout), key=row_id)
    near = None if similarity is None else {"similarity": similarity, "ngram": 1}
    cleaned = resolve([text for text, _, _ in rows], [label for _, label, _ in rows], near)
    place = np.array([layout.index(row) for row in rows], np.intp)
    group = np.full(len(layout), -1, np.int32)
    group[place[list(cleaned.group)]] = place[list(cleaned.group.values())]
    kept, others = (place[sorted(found)] for found in (cleaned.kept, cleaned.merged.keys() | cleaned.conflicting))
    if by_source or rule == "time":
        _, text = np.unique([text for text, _, _ in layout], return_inverse=True)
        keys = np.stack([text % 2, text], axis=1).astype(np.uint64)
        values = values_of(pa.chunked_array([[source for _, _, source in layout]], pa.string())) if by_source else None
        group = connected(group, kept, others, keys=keys, values=values)
    if rule == "time":
        times = read_times([TIMES[source] for _, _, source in layout])
        own = sides_since(times, validation_from="2026-03-01", test_from="2026-04-01")
    else:
        own = sides_at(np.array([position("", text) for text, _, _ in layout]), validation=0.3, test=0.4)
    sides = sides_of_groups(own, group)
    return {layout[row][0]: SIDES[sides[row]] for row in kept}


@PROPERTY
@given(ROWS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))), SIMILARITY, st.booleans(), RULES)
def test_order_does_not_matter(
    case: tuple[list[Row], list[Row]], similarity: float | None, by_source: bool, rule: str
) -> None:
    one, other = (sides_of_texts(rows, similarity, by_source=by_source, rule=rule) for rows in case)
    assert one == other


@PROPERTY
@given(ROWS, SIMILARITY, st.booleans(), RULES)
def test_near_duplicates_and_equal_values_are_on_one_side(
    rows: list[Row], similarity: float | None, by_source: bool, rule: str
) -> None:
    sides = sides_of_texts(rows, similarity, by_source=by_source, rule=rule)
    # A merged row's value counts for the text that it was merged into.
    there = [(text, source) for text, _, source in rows if text in sides]
    for (one, value), (other, other_value) in combinations(there, 2):
        near = similarity is not None and similar(one, other, similarity, 1)
        together = by_source and value == other_value and bool((value or "").strip())
        assert sides[one] == sides[other] or not (near or together)


@PROPERTY
@given(ROWS, SIMILARITY, st.booleans())
def test_a_text_is_no_newer_than_the_oldest_row_that_has_it(
    rows: list[Row], similarity: float | None, by_source: bool
) -> None:
    sides = sides_of_texts(rows, similarity, by_source=by_source, rule="time")
    for text, _, source in rows:
        if text in sides:
            assert SIDES.index(sides[text]) <= sum(TIMES[source] >= limit for limit in ("2026-03-01", "2026-04-01"))


@PROPERTY
@given(ROWS, st.lists(ROWS, max_size=3), SIMILARITY, st.booleans(), RULES)
def test_no_row_that_was_ever_in_train_is_in_a_later_test_set(
    rows: list[Row], arrivals: list[list[Row]], similarity: float | None, by_source: bool, rule: str
) -> None:
    trained: set[str] = set()
    for more in ([], *arrivals):
        rows = rows + more
        sides = sides_of_texts(rows, similarity, by_source=by_source, rule=rule)
        assert not trained & {text for text, side in sides.items() if side != "train"}
        trained |= {text for text, side in sides.items() if side == "train"}


@PROPERTY
@given(ROWS, ROWS, st.sets(st.integers(0, 24)), SIMILARITY, st.booleans(), RULES)
def test_new_rows_move_old_ones_only_towards_train(
    rows: list[Row], more: list[Row], contradicted: set[int], similarity: float | None, by_source: bool, rule: str
) -> None:
    other = {"ham": "spam", "spam": "ham"}
    more = more + [(text, other[label], None) for at, (text, label, _) in enumerate(rows) if at in contradicted]
    before = sides_of_texts(rows, similarity, by_source=by_source, rule=rule)
    after = sides_of_texts(rows + more, similarity, by_source=by_source, rule=rule)
    for text in before.keys() & after.keys():
        assert SIDES.index(after[text]) <= SIDES.index(before[text])
