from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from assets.drift.rows import new_and_old, sampled
from assets.store.store import Store
from tests.tiny import make_splits

ROWS = [(f"text {at}", "ham" if at % 2 else "spam") for at in range(12)]


def places(rows: pa.Table) -> list[int]:
    return [int(row_id, 16) for row_id in rows["row_id"].to_pylist()]


def test_rows_are_new_that_the_champion_was_not_made_from(store: Store) -> None:
    champion = make_splits(store, ROWS[:8], ["train", "test", "validation", "train"] * 2)
    # What was on its test side is on another one now.
    new, old = new_and_old(make_splits(store, ROWS, ["train"] * 10 + ["test"] * 2), [champion])
    assert places(new) == [8, 9, 10, 11]
    assert new["side"].to_pylist() == ["train", "train", "test", "test"]
    assert places(old) == list(range(8))
    assert old["side"].to_pylist() == ["train", "test", "validation", "train"] * 2
    assert old["text"].to_pylist() == [text for text, _ in ROWS[:8]]


def test_a_text_with_a_corrected_label_is_not_new(store: Store) -> None:
    champion = make_splits(store, ROWS[:4])
    new, _ = new_and_old(make_splits(store, [*ROWS[:4], ("text 1", "spam"), ("else", "spam")]), [champion])
    assert new["text"].to_pylist() == ["else"]


def test_of_several_splits_a_row_counts_where_the_champion_saw_most_of_it(store: Store) -> None:
    first = make_splits(store, ROWS[:4], ["train", "test", "validation", "test"])
    second = make_splits(store, ROWS[:5], ["train", "train", "test", "validation", "test"])
    new, old = new_and_old(make_splits(store, ROWS[:6]), [first, second])
    assert places(new) == [5]
    assert places(old) == list(range(5))
    assert old["side"].to_pylist() == ["train", "train", "validation", "validation", "test"]


def test_groups_are_those_of_now_also_for_rows_that_are_gone(store: Store) -> None:
    def groups(rows: pa.Table) -> list[int]:
        return [int(group, 16) for group in rows["group"].to_pylist()]

    champion = make_splits(store, ROWS[:6], like=dict(enumerate([0, 0, 2, 3, 2, 5])))
    new, old = new_and_old(make_splits(store, ROWS[:7], like=dict(enumerate([0, 0, 2, 0, 2, 5, 0]))), [champion])
    assert (groups(new), groups(old)) == ([0], [0, 0, 2, 0, 2, 5])
    # Row 4 is gone; the row that named its group is in another one now. Row 5 is gone with its whole group.
    _, old = new_and_old(make_splits(store, ROWS[:4], like=dict(enumerate([0, 0, 0, 3]))), [champion])
    assert groups(old) == [0, 0, 0, 3, 0, 5]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 8))
def test_a_sample_has_one_row_of_each_group_and_the_lowest(groups: list[int], most: int) -> None:
    rows = pa.table({"row_id": [f"{at:032x}" for at in range(len(groups))], "group": [str(each) for each in groups]})
    firsts = [at for at, group in enumerate(groups) if group not in groups[:at]]
    assert places(sampled(rows, most)) == firsts[:most]
