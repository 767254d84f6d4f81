"""Times as people and programs write them: ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_time(text: str) -> datetime:
    """Read a date, or a date and a time, in ISO 8601; in UTC where it names no time zone.

    Raises:
        ValueError: it is no such time.
    """
    time = datetime.fromisoformat(text.strip())
    return time if time.tzinfo else time.replace(tzinfo=UTC)
