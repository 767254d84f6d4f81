from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.quality import arrivals as module
from assets.quality.arrivals import arrivals, batch, gathered
from assets.store.store import Store
from assets.store.tables import read_tables
from tests.conftest import MakeBuild
from tests.tiny import make_splits

ROWS = [(f"text {at}", "ham" if at % 2 else "spam") for at in range(20)]
Arrive = Callable[..., list[list[int]]]


@pytest.fixture
def arrive(make_build: MakeBuild, store: Store) -> Arrive:
    """Rows of each batch, by place: the champion had `seen` rows, later decisions and now had as many as `grown`."""

    def run(seen: int, grown: Sequence[int], *, batches: int = 5, min_rows: int = 1) -> list[list[int]]:
        later = [make_splits(store, ROWS[:rows]) for rows in grown]
        inputs = {f"later_splits_{at}": splits for at, splits in enumerate(later[:-1])}
        inputs |= {"splits": later[-1], "champion_splits_0": make_splits(store, ROWS[:seen])}
        build = make_build(inputs)
        measured = arrivals(build, batches=batches, min_rows=min_rows)
        found = store.open("objects", store.publish("objects", build.content))
        parts: list[list[int]] = []
        for at in range(len(measured["rows"])):
            one = make_build({"arrivals": found})
            batch(one, at=at)
            folder = store.open("objects", store.publish("objects", one.content))
            parts.append([int(row_id, 16) for row_id in read_tables([folder], "rows.feather")["row_id"].to_pylist()])
        return parts

    return run


def test_a_batch_is_what_came_in_between_two_decisions(arrive: Arrive) -> None:
    assert arrive(6, [8, 11, 12]) == [[6, 7], [8, 9, 10], [11]]
    # Nothing came in between the first two.
    assert arrive(6, [8, 8, 12]) == [[6, 7], [8, 9, 10, 11]]
    assert arrive(6, [9]) == [[6, 7, 8]]
    assert arrive(6, [6]) == []


def test_the_newest_batches_count(arrive: Arrive) -> None:
    assert arrive(6, [8, 11, 12, 14], batches=2) == [[11], [12, 13]]


def test_small_batches_are_taken_together_and_the_newest_rows_wait(arrive: Arrive) -> None:
    assert arrive(6, [7, 9, 12, 13], min_rows=3) == [[6, 7, 8], [9, 10, 11]]
    assert arrive(6, [7, 8], min_rows=3) == []


def test_a_row_that_left_counts_no_more_and_one_that_the_champion_saw_never(
    make_build: MakeBuild, store: Store
) -> None:
    texts = [("text 0", "ham"), ("text 1", "spam"), *ROWS[2:4]]
    splits = {
        "champion_splits_0": make_splits(store, ROWS[:2]),
        "later_splits_0": make_splits(store, ROWS[:8]),
        # Rows 4 to 7 are gone again, and the text of row 0 has another label.
        "splits": make_splits(store, texts),
    }
    build = make_build(splits)
    assert arrivals(build, batches=5, min_rows=1) == {"rows": [2], "ends": [0]}


def test_of_a_large_batch_some_rows_are_scored(arrive: Arrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 2)
    assert arrive(6, [11, 14]) == [[6, 7], [11, 12]]


def test_what_ends_a_batch_is_known_and_one_more_than_is_asked_for(make_build: MakeBuild, store: Store) -> None:
    grown = [make_splits(store, ROWS[:rows]) for rows in (7, 9, 10, 12, 13)]
    inputs = {f"later_splits_{at}": splits for at, splits in enumerate(grown[:-1])}
    build = make_build({**inputs, "splits": grown[-1], "champion_splits_0": make_splits(store, ROWS[:6])})
    assert arrivals(build, batches=1, min_rows=2) == {"rows": [3], "ends": [1, 3]}
    # Rows 9 to 11 came in twice; two of them are enough, and the last one waits.
    assert arrivals(build, batches=9, min_rows=3) == {"rows": [3, 3], "ends": [1, 3]}
    assert arrivals(build, batches=9, min_rows=1) == {"rows": [1, 2, 1, 2, 1], "ends": [0, 1, 2, 3, 4]}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 12), st.data())
def test_what_is_taken_together_stays_so_when_more_comes(rows: list[int], min_rows: int, data: Any) -> None:
    found = gathered(np.array(rows), min_rows)
    numbers = [number for number in found.tolist() if number >= 0]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(len(set(numbers))))
    for number in set(numbers):
        part = [count for count, of in zip(rows, found.tolist(), strict=True) if of == number]
        assert sum(part) >= min_rows
        assert sum(part[:-1]) < min_rows
    waiting = [count for count, of in zip(rows, found.tolist(), strict=True) if of < 0]
    assert sum(waiting) < min_rows
    more = [*rows, *data.draw(st.lists(st.integers(0, 9), max_size=4))]
    settled = found >= 0
    assert (gathered(np.array(more), min_rows)[: len(rows)][settled] == found[settled]).all()
