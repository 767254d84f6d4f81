from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from assets.times import parse_time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        (" 2026-03-01T12:30 ", datetime(2026, 3, 1, 12, 30, tzinfo=UTC)),
        ("2026-03-01 12:30:01.5Z", datetime(2026, 3, 1, 12, 30, 1, 500_000, tzinfo=UTC)),
        ("2026-03-01T12:30+01:00", datetime(2026, 3, 1, 12, 30, tzinfo=timezone(timedelta(hours=1)))),
    ],
)
def test_a_time_without_a_zone_is_in_utc(text: str, time: datetime) -> None:
    assert parse_time(text) == time
    assert parse_time(text).tzinfo is not None


@pytest.mark.parametrize("text", ["", "soon", "1.3.2026", "1772323200"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid isoformat string"):
        parse_time(text)
