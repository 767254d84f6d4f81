"""What becomes of a file: rows, and lines that are none. Blank lines are neither."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SURROGATE = re.compile("[\ud800-\udfff]")
"""A byte that could not be decoded (U+DC80–U+DCFF), or half a surrogate pair out of a JSON escape."""


class Fault(NamedTuple):
    r"""A line that cannot be read as a row.

    Attributes:
        line: where it starts: physical line, counted from 1; in files without lines the number of the row.
        text: the line; what is not text in it is written as `\xNN` or `\uNNNN`.
        reason: `ragged_row`, `invalid_json`, `encoding`, `unreadable`, `not_annotated` or `several_choices`.
        detail: what exactly; says nothing of the place, so that the same line is the same anywhere.
    """

    line: int
    text: str
    reason: str
    detail: str


class Parsed(NamedTuple):
    """What was read of one file.

    Attributes:
        rows: a row for each line that is one; the wanted columns in the order in which they were asked for, all text.
        lines: int64 array of shape [rows]: the line of each, as for a fault.
        faults: lines that are none.
    """

    rows: pa.Table
    lines: npt.NDArray[np.int64]
    faults: list[Fault]


def assemble(
    wanted: Sequence[str],
    columns: Sequence[Sequence[Any]],
    lines: Sequence[int],
    faults: Sequence[Fault],
    shown: Callable[[int], str],
    *,
    damaged: bool,
) -> Parsed:
    """Put together what was read value by value.

    Args:
        wanted: names of the columns.
        columns: values of each: null, text, or what else there is in JSON and in tables.
        lines: line of each row.
        faults: those that were found before.
        shown: the line of the row at an index, as a fault has it.
        damaged: whether texts may hold surrogates.
    """
    texts = []
    bad: dict[int, tuple[str, str]] = {}
    for name, values in zip(wanted, columns, strict=True):
        if set(map(type, values)) <= {str, type(None)}:
            texts.append(values)
            continue
        texts.append([canonical(value) for value in values])
        for index, (text, value) in enumerate(zip(texts[-1], values, strict=True)):
            if text is None and value is not None:
                bad.setdefault(index, ("unreadable", f"column {name!r} holds {kind(value)}, not a text"))
    if damaged:
        for name, values in zip(wanted, texts, strict=True):
            for index, value in enumerate(values):
                if value and (match := SURROGATE.search(value)):
                    what = f"{_escaped(match[0])} at character {match.start() + 1}"
                    bad.setdefault(index, ("encoding", f"column {name!r}: {what} is not in the encoding"))
    if bad:
        good = [index for index in range(len(lines)) if index not in bad]
        texts = [[values[index] for index in good] for values in texts]
        faults = [*faults, *(Fault(lines[index], escape(shown(index)), *bad[index]) for index in sorted(bad))]
        lines = [lines[index] for index in good]
    rows = pa.table({name: pa.array(values, pa.string()) for name, values in zip(wanted, texts, strict=True)})
    return Parsed(rows, np.array(lines, np.int64), list(faults))


def canonical(value: Any) -> str | None:
    """Write a value as text, in one form wherever it comes from: `1`, `0.5`, `true`; None for null and for no text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, dict | list):
        return None
    return str(value)


def kind(value: Any) -> str:
    """What a value out of JSON is, in a word."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def escape(text: str) -> str:
    r"""Write what is not text as `\xNN` (a byte that could not be decoded) or `\uNNNN` (half a surrogate pair)."""
    return SURROGATE.sub(lambda match: _escaped(match[0]), text)


def positions(name: str, found: Sequence[str], wanted: Sequence[str], *, or_else: str = "") -> list[int]:
    """Where the wanted columns are among those of a file.

    Args:
        name: the file's name, for messages.
        found: its columns.
        wanted: those to take.
        or_else: what else the fix may be where one is missing.

    Raises:
        DataError: one is missing, or there twice.
    """
    missing = [column for column in wanted if column not in found]
    if missing:
        refuse_missing(name, missing, found, or_else=or_else)
    repeated = [column for column in wanted if list(found).count(column) > 1]
    if repeated:
        raise DataError(
            f"more than one column is called {', '.join(map(repr, repeated))}; columns: {_listed(found)}",
            where=name,
            fix="rename the columns in the file so that each of source.columns means one",
        )
    return [list(found).index(column) for column in wanted]


def refuse_missing(name: str, missing: Sequence[str], found: Sequence[str], *, or_else: str = "") -> NoReturn:
    """Say which columns a file lacks, which it has, and what may be meant.

    Raises:
        DataError: always.
    """
    some = [column[:60] for column in found[:1000]]
    close = [match for column in missing for match in difflib.get_close_matches(column, some, n=1)]
    meant = f" (is it {close[0]!r}?)" if close else ""
    fix = f"set source.columns (text, label, keep) to columns that every file has{meant}"
    for delimiter, form in {"\t": "tsv", ";": "csv", ",": "csv", "|": "csv"}.items():
        if len(found) == 1 and delimiter in found[0]:
            fix = f"the header is divided by {delimiter!r}: set source.format: {form}"
            break
    raise DataError(
        f"no column {', '.join(map(repr, missing))}; columns found: {_listed(found)}",
        where=name,
        fix=fix + or_else,
    )


def _listed(found: Sequence[str]) -> str:
    shown = ", ".join(repr(column[:60]) for column in found[:20])
    return f"{shown} and {len(found) - 20:,} more" if len(found) > 20 else shown


def _escaped(surrogate: str) -> str:
    code = ord(surrogate)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
