from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import DataError
from assets.splits.by_time import NO_TIME, microseconds, read_times, sides_since
from assets.splits.rows import read_side
from assets.splits.sides import SIDES
from assets.splits.split import split
from assets.store.digests import digest_content
from assets.store.step import Measurements
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.splits.conftest import Clean, Row, row_id
from tests.splits.test_split import SETTINGS

BY_TIME = {"column": "source", "validation_from": "2026-03-01T00:00:00+00:00", "test_from": "2026-04-01T00:00:00+00:00"}
MONTHS = {"train": "2026-02-10", "validation": "2026-03-10", "test": "2026-04-10"}


def made(side: str, number: int) -> Row:
    """A row that is from the time of a side, unlike any other."""
    return (f"{side}{number}", ("ham", "spam")[number % 2], f"{MONTHS[side]}T{number:02}:00")


ROWS = [made(side, number) for side in SIDES for number in range(6)]


def run(store: Store, build: Any, **settings: Any) -> tuple[dict[str, str], Measurements]:
    """Text → side, and what was measured."""
    measured = split(build, **{**SETTINGS, "by_time": BY_TIME, **settings})
    folder = store.open("objects", store.publish("objects", build.content))
    found = {text: side for side in SIDES for text in read_side(folder, side)["text"].to_pylist()}
    return found, measured


@pytest.fixture
def sides(make_build: MakeBuild, clean: Clean, store: Store) -> Any:
    """`sides(batches)` runs the step; text → side, and what was measured."""
    return lambda *batches, **settings: run(store, make_build({"cleaned": clean(batches)}), **settings)


@pytest.mark.parametrize(
    ("time", "side"),
    [
        ("2026-02-28T23:59:59.999999Z", "train"),
        ("2026-03-01", "validation"),
        ("2026-03-01T00:30+01:00", "train"),
        ("2026-03-31T23:00-01:00", "test"),
        ("0001-01-01", "train"),
        ("9999-12-31", "test"),
    ],
)
def test_the_line_of_time_is_divided(time: str, side: str) -> None:
    times = read_times([time])
    found = sides_since(times, validation_from=BY_TIME["validation_from"], test_from=BY_TIME["test_from"])
    assert [SIDES[each] for each in found] == [side]


@settings(deadline=None, derandomize=True)
@given(st.datetimes(), st.datetimes())
def test_numbers_are_in_the_order_of_times(one: Any, other: Any) -> None:
    assert (microseconds(one.isoformat()) < microseconds(other.isoformat())) == (one < other)


def test_what_is_no_time_is_marked() -> None:
    assert read_times([None, " ", "soon", "1970-01-01"]).tolist() == [NO_TIME] * 3 + [0]
    assert read_times([]).dtype == np.int64


def test_rows_are_on_the_side_of_their_time(sides: Any) -> None:
    found, measured = sides(ROWS[9:], ROWS[:9])
    assert found == {text: text.rstrip("0123456789") for text, _, _ in ROWS}
    assert measured["rows"] == dict.fromkeys(SIDES, 6)


def test_shares_and_salt_mean_nothing(sides: Any) -> None:
    assert sides(ROWS) == sides(ROWS, validation=0.5, test=0.4, salt="pepper")


def older(row: Row, text: str = "", label: str = "") -> Row:
    return (text or row[0], label or row[1], MONTHS["train"])


# Some of their identifiers are lower than those of the older rows, and some are higher.
LATE = [made("test", number) for number in range(10)]
EARLY = [made("train", number) for number in range(10)] + [made("validation", number) for number in range(10)]
LIKE: list[Row] = [(f"{text} alike", label, time) for text, label, time in LATE]


@pytest.mark.parametrize(
    "more",
    [
        [older(row) for row in LATE],
        [older(row, f"{row[0]} alike more") for row in LATE],
        [older(row, f"{row[0]} alike more", label) for row in LATE for label in ("ham", "spam")],
        [
            found
            for row in LATE
            for found in (older(row, f"{row[0]} alike more", "ham"), (f"{row[0]} alike more", "spam", row[2]))
        ],
    ],
    ids=["an older row of the text", "an older near-duplicate", "two in quarantine", "one of two in quarantine"],
)
def test_a_group_is_on_the_side_of_its_oldest_row(sides: Any, more: list[Row]) -> None:
    late = LATE if more[0][0] == LATE[0][0] else LIKE
    more = [*more, *(made("test", number) for number in range(20, 24))]
    before, _ = sides([*EARLY, *late])
    after, _ = sides(EARLY, more, late)
    for text, _, _ in late:
        assert (before[text], after[text]) == ("test", "train")


def test_values_of_a_column_are_on_one_side_by_time_too(sides: Any) -> None:
    # The column of times as that of the values: rows of one instant stay together anyway.
    found, measured = sides([*ROWS, ("late", "ham", made("train", 1)[2])], group_by="source")
    assert found["late"] == found["train1"] == "train"
    assert measured["values_across_sides"] == 0


def test_the_times_of_a_shard_are_read_once(make_build: MakeBuild, clean: Clean, store: Store) -> None:
    def records() -> set[Path]:
        return set((Path(store.url) / "records").rglob("*.json"))

    before, after = (make_build({"cleaned": clean(batches)}) for batches in ([ROWS], [ROWS[:5], ROWS]))
    run(store, before)
    known = records()
    run(store, after)
    # And those of the further shard; moved limits read nothing again.
    assert len(records() - known) == 1
    again = make_build({"cleaned": after.inputs["cleaned"]})
    run(store, again, by_time={**BY_TIME, "validation_from": "2026-03-01T01:00:00+00:00"})
    assert len(records() - known) == 1


def test_batches_do_not_matter_and_limits_do(make_build: MakeBuild, clean: Clean) -> None:
    def content(batches: Any, **changed: str) -> str:
        build = make_build({"cleaned": clean(batches)})
        split(build, **{**SETTINGS, "min_rows_per_label": 1, "by_time": {**BY_TIME, **changed}})
        return digest_content(build.content)

    as_it_was = content([ROWS])
    assert content([ROWS[:8:-1], [], ROWS[:10]]) == as_it_was
    # Another limit between the same rows is the same result.
    assert content([ROWS], test_from="2026-04-02") == as_it_was
    assert content([ROWS], test_from="2026-04-10T01:30") != as_it_was


def test_a_row_without_a_time_is_named(sides: Any) -> None:
    rows: list[Row] = [("no time", "ham", None), ("none either", "ham", "soon"), ("late", "ham", "2026-05-01")]
    with pytest.raises(DataError) as caught:
        sides(ROWS, rows)
    lines = sorted(f"    {row_id(row)}: {told}" for row, told in zip(rows, ("nothing", "'soon'"), strict=False))
    first, *named = str(caught.value).split("\n")[:3]
    assert first == ("splits.by_time: 2 of 21 rows have no time in column source, so they have no side (first 2):")
    assert sorted(named) == lines
    assert "kwargs: {column: source, regex: '^[0-9]{4}-'}" in caught.value.fix


def test_a_time_without_rows(sides: Any) -> None:
    rows = [row for row in ROWS if not row[0].startswith("validation")]
    with pytest.raises(DataError, match="spam has 0 in validation; ham has 0 in validation") as caught:
        sides(rows)
    assert caught.value.fix == (
        "add rows of spam, ham of the times that lack them, or move `splits.by_time.validation_from` (now "
        "2026-03-01T00:00:00+00:00) or `test_from` (now 2026-04-01T00:00:00+00:00)"
    )
