from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from assets.cleaned.superseded import repeated, superseded

EARLY, LATE = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2))


def test_rows_that_share_an_id() -> None:
    ids = pa.chunked_array([["1", "2", None], [" 1 ", "", " ", "3", "2"]])
    assert repeated(ids).tolist() == [0, 1, 3, 7]
    assert repeated(pa.chunked_array([["1", None, None]])).tolist() == []
    assert repeated(pa.chunked_array([[None]], pa.string())).tolist() == []


@pytest.mark.parametrize(
    ("times", "says", "lost"),
    [
        ([EARLY, LATE], [(1,), (2,)], [0]),
        ([LATE, EARLY], [(1,), (1,)], [1]),
        # One without a time is older than one with a time.
        ([None, EARLY], [(1,), (2,)], [0]),
        ([EARLY, LATE, LATE], [(1,), (2,), (2,)], [0]),
        # Nothing tells which counts.
        ([EARLY, LATE, LATE], [(1,), (2,), (3,)], [0, 1, 2]),
        ([None, None], [(1,), (2,)], [0, 1]),
        ([None, None], [(1,), (1,)], []),
    ],
)
def test_the_newest_counts(times: list[datetime | None], says: list[tuple[int]], lost: list[int]) -> None:
    found = superseded(range(len(times)), ["7"] * len(times), times, says)
    assert list(found) == lost
    assert all(told.startswith(f"{len(times)} rows have the id 7; ") for told in found.values())


def test_why_none_counts_is_said() -> None:
    found = superseded([4, 9], ["7", "7"], [LATE, LATE], [(1,), (2,)])
    assert found[4] == "2 rows have the id 7; 2 of them are of 2026-02-01T00:00:00+00:00, and they do not say the same"
    found = superseded([4, 9], ["7", "7"], [None, None], [(1,), (2,)])
    assert found[9] == "2 rows have the id 7; none has a time, and they do not say the same"
