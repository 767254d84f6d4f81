"""Values that fields of several sections accept."""

from __future__ import annotations

import codecs


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a list that names something twice.

    Raises:
        ValueError: it does.
    """
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"repeated: {', '.join(repeated)}; fix: name each once")
    return values


def known_encoding(value: str) -> str:
    """Refuse an encoding that Python does not know; `auto` is one.

    Raises:
        ValueError: it is unknown.
    """
    try:
        codecs.lookup("utf-8" if value == "auto" else value)
    except LookupError:
        raise ValueError(
            f"{value!r} is no encoding that Python knows; auto, or for instance utf-8, latin-1, cp1252"
        ) from None
    return value
