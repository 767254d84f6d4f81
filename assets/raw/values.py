"""Values of a database as JSON has them: the same text wherever a value comes from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from assets.raw.parse import canonical

SHOWN_BYTES = 32
"""So many bytes of a value that is no text are shown in quarantine."""


def as_json(value: Any) -> Any:
    """A value as it stands in a window: text or null; an object or a list where it is neither text nor a number.

    Times are in ISO 8601, those with a time zone in UTC; decimals have no zeros at their end.
    """
    if isinstance(value, dict):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return {"bytes": len(data), "begin": data[:SHOWN_BYTES].hex()}
    return _text(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str | bool | int | float):
        return canonical(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    return value.isoformat() if isinstance(value, date | time) else str(value)


def as_text(value: Any) -> str | None:
    """A key or a watermark as text: what tells values apart, bytes too; None for null."""
    if type(value) in {int, str}:
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    found = as_json(value)
    return found if found is None or isinstance(found, str) else repr(found)


def stored(value: Any) -> list[str] | None:
    """A watermark as JSON, which `restored` takes back; None for what no look can begin at."""
    if type(value) in {date, datetime}:
        return [type(value).__name__, value.isoformat()]
    return [type(value).__name__, str(value)] if type(value) in {str, int, float, Decimal} else None


def restored(written: list[str]) -> Any:
    """A watermark that `stored` wrote."""
    kind, text = written
    kinds: dict[str, Callable[[str], Any]] = {
        "datetime": datetime.fromisoformat,
        "date": date.fromisoformat,
        "str": str,
        "int": int,
        "float": float,
        "Decimal": Decimal,
    }
    return kinds[kind](text)


def _decimal(value: Decimal) -> str:
    if not value or not value.is_finite():
        return str(value) if value else "0"
    written = format(value, "f")
    return written.rstrip("0").rstrip(".") if "." in written else written
