"""The rule that gives each group its side by time.

The line of time is divided as

    ── train ── validation from ── validation ── test from ── test ──

and a group stands where its oldest row stands. What comes in later is a row with any time: it can only make the oldest
one older, so groups that grow move only towards train, as with the hash.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.errors import DataError
from assets.store.tables import Ids, hexadecimal, read_tables, write_table
from assets.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from assets.splits.rule import Sides
    from assets.store.step import Build, Measurements

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHOWN = 10
"""Rows that an error lists."""

Times = npt.NDArray[np.int64]
"""Microseconds since 1970 in UTC for each row, or `NO_TIME`."""
NO_TIME = np.iinfo(np.int64).min


def microseconds(text: str) -> int:
    """Microseconds since 1970 in UTC of a time in ISO 8601.

    Raises:
        ValueError: it is no such time.
    """
    return (parse_time(text) - EPOCH) // timedelta(microseconds=1)


def read_times(values: Sequence[str | None]) -> Times:
    """Times of values in ISO 8601; `NO_TIME` for what is no time."""
    found = np.full(len(values), NO_TIME, np.int64)
    for row, value in enumerate(values):
        try:
            found[row] = NO_TIME if value is None else microseconds(value)
        except ValueError:
            # Told of by `refuse_untimed`, which knows whether the row counts.
            continue
    return found


def times(build: Build, *, column: str) -> Measurements:
    """A part of the step `splits`: read the time of every row of a shard.

    Content:
        times.feather: `time` of each row, see `Times`.

    Args:
        build: input `shard`, a shard of the step `raw`.
        column: further column that holds times in ISO 8601.

    Returns:
        rows.
    """
    values = read_tables([build.inputs["shard"]], "rows.feather", [column])[column].to_pylist()
    write_table(build.content / "times.feather", pa.table({"time": read_times(values)}))
    return {"rows": len(values)}


def sides_since(times: Times, *, validation_from: str, test_from: str) -> Sides:
    """Side that each time falls on; where there is none, as of a row that is gone, it may have been train."""
    sides = (times >= microseconds(validation_from)).astype(np.int8)
    return sides + (times >= microseconds(test_from))


def refuse_untimed(times: Times, rows: npt.NDArray[np.intp], *, ids: Ids, shards: Sequence[Path], column: str) -> None:
    """See that rows have a time.

    Args:
        times: of each row of the shards.
        rows: those that need one.
        ids: identifier of each row of the shards.
        shards: folders of the shards, for messages.
        column: what was to hold the times.

    Raises:
        DataError: one has none; names some of them with what they have instead.
    """
    without = rows[times[rows] == NO_TIME]
    if not len(without):
        return
    some = without[:SHOWN]
    values = read_tables(shards, "rows.feather", [column])[column].take(some).to_pylist()
    listed = "\n".join(
        f"    {row_id}: {'nothing' if value is None else repr(value[:80])}"
        for row_id, value in zip(hexadecimal(ids[some]).to_pylist(), values, strict=True)
    )
    raise DataError(
        f"{len(without):,} of {len(rows):,} rows have no time in column {column}, so they have no side (first "
        f"{len(some)}):\n{listed}",
        where="splits.by_time",
        fix="write times as 2026-03-01 or 2026-03-01T12:00:00+01:00, or keep such rows out by an expectation: "
        f"{{type: expect_column_values_to_match_regex, kwargs: {{column: {column}, regex: '^[0-9]{{4}}-'}}}} and "
        f"{{type: expect_column_values_to_not_be_null, kwargs: {{column: {column}}}}}",
    )
