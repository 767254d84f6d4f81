"""What a parser made of a file, as plain values in the order of lines."""

from __future__ import annotations

from typing import Any

from assets.raw.decoding import Text
from assets.raw.parse import Fault, Parsed

Item = tuple[Any, ...] | Fault


def items(parsed: Parsed) -> list[Item]:
    """Rows as (line, values) and faults."""
    values = zip(*(column.to_pylist() for column in parsed.rows.columns), strict=True)
    rows: list[Item] = list(zip(parsed.lines.tolist(), values, strict=True))
    return sorted([*rows, *parsed.faults], key=lambda item: item[0])


def text_of(content: str) -> Text:
    """A text file's content; surrogates stand for bytes that are not in its encoding."""
    try:
        return Text(content.encode())
    except UnicodeEncodeError:
        return Text(None, content)
