"""Rows with a doubtful label are left out, and no other row changes sides for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.splits.groups import connected, renamed, values_of
from assets.splits.rows import read_side, read_sides
from assets.splits.rule import position, sides_at, sides_of_groups
from assets.splits.sides import SIDES
from assets.splits.split import split
from assets.store.store import Store
from tests.cleaned.oracle import resolve
from tests.conftest import MakeBuild
from tests.splits.conftest import Batch, Clean, Row, row_id
from tests.splits.test_growth import PROPERTY, TEXTS
from tests.splits.test_split import SETTINGS
from tests.tiny import make_object
from tests.validated.conftest import publish_anew

# Pairs of near-duplicates; each value of the last column holds two pairs together.
ROWS: list[Row] = [
    (f"pair{at // 2} of this{at // 2} and that{at // 2} item{at}", ("ham", "spam")[at % 3 == 0], f"from {at // 4}")
    for at in range(400)
]

Sides = dict[str, tuple[str, str]]
"""row id → side and group"""
GROWING = st.lists(
    st.tuples(TEXTS, st.sampled_from(["ham", "spam"]), st.sampled_from([None, "ann", "bob", "cid"])),
    min_size=1,
    max_size=20,
)
SplitRows = Callable[..., tuple[Sides, str]]


@pytest.fixture
def split_rows(make_build: MakeBuild, clean: Clean, store: Store) -> SplitRows:
    """Splits cleaned rows without the doubtful ones; gives the sides and the result's digest."""

    def run(batches: Sequence[Batch], doubtful: Collection[Row] | None, **settings: Any) -> tuple[Sides, str]:
        inputs = {"cleaned": clean(batches)}
        if doubtful is not None:
            names = pa.array([row_id(row) for row in doubtful], pa.string())
            review = make_object(store, {"quarantine.parquet": pa.table({"row_id": names})})
            inputs["review"] = store.open("objects", review)
        build = make_build(inputs)
        measured = split(build, **{**SETTINGS, "test": 0.5, "validation": 0.35, **settings})
        folder = publish_anew(store, build.content)
        table = read_sides(folder).to_pylist()
        assert sum(measured["rows"].values()) == len(table)
        assert all(value == 0 for name, value in measured.items() if name.endswith("_across_sides"))
        texts = {text for side in SIDES for text in read_side(folder, side)["text"].to_pylist()}
        assert texts == {text for text, *_ in ROWS if row_id_of(text) in {row["row_id"] for row in table}}
        return {row["row_id"]: (row["side"], row["group"]) for row in table}, folder.name

    return run


def row_id_of(text: str) -> str:
    return next(row_id(row) for row in ROWS if row[0] == text)


@pytest.mark.parametrize("group_by", [None, "source"])
def test_the_others_stay_where_they_are(split_rows: SplitRows, group_by: str | None) -> None:
    # Of some pairs of near-duplicates the first or the second row, of some both.
    doubtful = [*ROWS[::7], ROWS[1], ROWS[29]]
    before, _ = split_rows([ROWS], [], group_by=group_by)
    after, _ = split_rows([ROWS], doubtful, group_by=group_by)
    left_out = {row_id(row) for row in doubtful}
    assert after.keys() == before.keys() - left_out
    assert {name: side for name, (side, _) in after.items()} == {
        name: side for name, (side, _) in before.items() if name not in left_out
    }
    # A group is named after its first row that is there.
    members: dict[str, list[str]] = {}
    for name in after:
        members.setdefault(before[name][1], []).append(name)
    assert {name: group for name, (_, group) in after.items()} == {
        name: min(names) for names in members.values() for name in names
    }


def test_without_doubtful_rows_it_is_as_without_review(split_rows: SplitRows) -> None:
    assert split_rows([ROWS], []) == split_rows([ROWS], None)


def test_the_shards_do_not_matter(split_rows: SplitRows) -> None:
    doubtful = ROWS[::9]
    assert split_rows([ROWS], doubtful) == split_rows([ROWS[140:], ROWS[:145]], doubtful)


def test_values_stay_connected_by_near_duplicates_that_are_left_out(
    make_build: MakeBuild, clean: Clean, store: Store
) -> None:
    # Ann and Bob are held together by a pair of near-duplicates, one of each.
    rows: list[Row] = [(f"text{at} of ann number{at}", ("ham", "spam")[at % 2], "ann") for at in range(6)]
    rows += [(f"line{at} by bob count{at}", ("ham", "spam")[at % 2], "bob") for at in range(6)]
    pair: list[Row] = [("a b c d e f g", "ham", "ann"), ("a b c d e f h", "ham", "bob")]
    free: list[Row] = [(f"free{at} row{at} x{at}", ("ham", "spam")[at % 2], None) for at in range(80)]
    inputs = {"cleaned": clean([[*rows, *pair, *free]])}
    names = pa.array([row_id(row) for row in pair], pa.string())
    inputs["review"] = store.open("objects", make_object(store, {"quarantine.parquet": pa.table({"row_id": names})}))
    build = make_build(inputs)
    split(build, **{**SETTINGS, "group_by": "source"})
    table = read_sides(publish_anew(store, build.content))
    groups = dict(zip(table["row_id"].to_pylist(), table["group"].to_pylist(), strict=True))
    assert len({groups[row_id(row)] for row in rows}) == 1


def sides_of_texts(layout: list[Row], doubtful: Collection[str], *, by_source: bool) -> dict[str, str]:
    """Side of every text that is kept and not doubtful, of rows that lie in this order."""
    rows = sorted(set(layout), key=row_id)
    cleaned = resolve([text for text, *_ in rows], [label for _, label, _ in rows], {"similarity": 0.4, "ngram": 1})
    place = np.array([layout.index(row) for row in rows], np.intp)
    near = np.full(len(layout), -1, np.int32)
    near[place[list(cleaned.group)]] = place[list(cleaned.group.values())]
    kept = [row for row in place[sorted(cleaned.kept)].tolist() if layout[row][0] not in doubtful]
    others = sorted(set(place.tolist()) - set(kept))
    group = renamed(near, np.array(kept, np.intp))
    if by_source:
        _, text = np.unique([text for text, *_ in layout], return_inverse=True)
        values = values_of(pa.chunked_array([[source for *_, source in layout]], pa.string()))
        keys = np.stack([text % 2, text], axis=1).astype(np.uint64)
        group = connected(near, np.array(kept, np.intp), np.array(others, np.intp), keys=keys, values=values)
    at = np.array([position("", text) for text, *_ in layout])
    sides = sides_of_groups(sides_at(at, validation=0.3, test=0.4), group)
    assert all(layout[group[row]][0] not in doubtful for row in kept)
    return {layout[row][0]: SIDES[sides[row]] for row in kept}


@PROPERTY
@given(GROWING, GROWING, st.sets(TEXTS, max_size=6), st.sets(TEXTS, max_size=6), st.booleans())
def test_growth_moves_rows_only_towards_train_whatever_is_doubted(
    rows: list[Row], more: list[Row], before: set[str], after: set[str], by_source: bool
) -> None:
    first, second = ({text for at, (text, *_) in enumerate(rows) if at % 3 == which} for which in range(2))
    one = sides_of_texts(rows, before | first, by_source=by_source)
    other = sides_of_texts(rows + more, after | second, by_source=by_source)
    for text in one.keys() & other.keys():
        assert SIDES.index(other[text]) <= SIDES.index(one[text])
    # What is doubted no more goes back to its group.
    back = sides_of_texts(rows + more, set(), by_source=by_source)
    assert {text: back[text] for text in other} == other
