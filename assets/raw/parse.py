"""From a file's bytes to rows and to lines that are none. Blank lines are neither."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from assets.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SURROGATE = re.compile("[\ud800-\udfff]")
"""A byte that could not be decoded (U+DC80–U+DCFF), or half a surrogate pair out of a JSON escape."""


class Row(NamedTuple):
    """One row.

    Attributes:
        line: where it starts: physical line, counted from 1; in Parquet the number of the row.
        values: text or null for each wanted column, in the order in which they were asked for.
    """

    line: int
    values: tuple[str | None, ...]


class Fault(NamedTuple):
    r"""A line that cannot be read as a row.

    Attributes:
        line: as for a row.
        text: the line; what is not text in it is written as `\xNN` or `\uNNNN`.
        reason: `ragged_row`, `invalid_json`, `encoding` or `unreadable`.
        detail: what exactly; says nothing of the place, so that the same line is the same anywhere.
    """

    line: int
    text: str
    reason: str
    detail: str


def parse_delimited(
    name: str,
    text: str,
    wanted: Sequence[str],
    *,
    delimiter: str,
    quoted: bool,
    names: Sequence[str] | None,
    damaged: bool,
) -> Iterator[Row | Fault]:
    """Parse CSV or TSV.

    Args:
        name: the file's name, for messages.
        text: the whole file.
        wanted: columns to take, at least two.
        delimiter: between fields.
        quoted: whether `"` quotes fields.
        names: the columns of a file without a header line.
        damaged: whether the text may hold surrogates.

    Raises:
        DataError: the header cannot be read, or a wanted column is missing or there twice.
    """
    # newline="" keeps line ends as they are, so that the lines counted here are those that an editor shows.
    lines = io.StringIO(text, newline="").readlines()
    reader = csv.reader(
        iter(lines), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True
    )
    header = list(names) if names else _header(name, reader)
    take = itemgetter(*_positions(name, header, wanted))
    done = reader.line_num
    while done < len(lines):
        try:
            record = next(reader, [])
        except csv.Error as error:
            # Each line that an unclosed quote swallowed counts by itself: one stray quote must not hide many rows.
            why = (
                f"a field is longer than {csv.field_size_limit():,} characters; is a quote not closed?"
                if "field limit" in str(error)
                else "quotes are not closed or not escaped"
            )
            for number in range(done, reader.line_num):
                yield Fault(number + 1, escape(lines[number].rstrip("\r\n")), "unreadable", why)
            done = reader.line_num
            continue
        start, done = done, reader.line_num
        if not record:
            continue
        fault = _record_fault(record, len(header), damaged, take, wanted)
        if fault:
            yield Fault(start + 1, escape("".join(lines[start:done]).rstrip("\r\n")), *fault)
        else:
            yield Row(start + 1, take(record))


def parse_jsonl(name: str, text: str, wanted: Sequence[str], *, damaged: bool) -> Iterator[Row | Fault]:
    """Parse JSON Lines; a column that an object lacks is null.

    Raises:
        DataError: no object of the file has a wanted column.
    """
    decode = json.JSONDecoder(parse_constant=_no_constant).decode
    missing, found = set(wanted), None
    # Not str.splitlines: it would split at U+2028 and others, which JSON strings may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.isspace():
            continue
        try:
            record = decode(line.strip())
        except (ValueError, RecursionError):
            # The parser's own words and positions differ between versions of Python, and content must not.
            yield Fault(number, escape(line.rstrip("\r")), "invalid_json", "not valid JSON")
            continue
        if not isinstance(record, dict):
            yield Fault(number, escape(line.rstrip("\r")), "invalid_json", f"{_kind(record)}, not an object")
            continue
        found = found or list(record)
        if missing:
            missing -= record.keys()
        values, fault = as_texts([record.get(column) for column in wanted], wanted, damaged or "\\u" in line)
        yield Fault(number, escape(line.rstrip("\r")), *fault) if fault else Row(number, values)
    if found is not None and missing:
        _refuse_missing(name, sorted(missing), found)


def parse_parquet(name: str, data: bytes, wanted: Sequence[str]) -> Iterator[Row | Fault]:
    """Parse Parquet, batch by batch.

    Raises:
        DataError: the file is damaged, or a wanted column is missing, there twice, or neither text nor numbers.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        schema = file.schema_arrow
        _positions(name, schema.names, wanted)
        for column in wanted:
            _refuse_type(name, column, schema.field(column).type)
        number = 0
        for batch in file.iter_batches(columns=list(wanted)):
            decoded = [_column(batch.column(column)) for column in wanted]
            damaged = any(dirty for _, dirty in decoded)
            for record in zip(*(values for values, _ in decoded), strict=True):
                number += 1
                values, fault = as_texts(record, wanted, damaged)
                if fault:
                    shown = json.dumps(dict(zip(wanted, record, strict=True)), ensure_ascii=False, default=str)
                    yield Fault(number, escape(shown), *fault)
                else:
                    yield Row(number, values)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"the Parquet file is damaged: {error}", where=name, fix="fetch or write the file again"
        ) from error


def as_texts(
    record: Sequence[Any], wanted: Sequence[str], damaged: bool
) -> tuple[tuple[str | None, ...], tuple[str, str] | None]:
    """Write a record's values as text, in one form wherever they come from: `1`, `0.5`, `true`; null stays null.

    Returns:
        The texts, and reason and detail of the fault if they are none.
    """
    values = tuple(value if value is None or isinstance(value, str) else _canonical(value) for value in record)
    for column, value, original in zip(wanted, values, record, strict=True):
        if value is None and original is not None:
            return values, ("unreadable", f"column {column!r} holds {_kind(original)}, not a text")
    return values, _damage(values, wanted) if damaged else None


def escape(text: str) -> str:
    r"""Write what is not text as `\xNN` (a byte that could not be decoded) or `\uNNNN` (half a surrogate pair)."""
    return SURROGATE.sub(lambda match: _escaped(match[0]), text)


def _escaped(surrogate: str) -> str:
    code = ord(surrogate)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _damage(values: Sequence[str | None], wanted: Sequence[str]) -> tuple[str, str] | None:
    for column, value in zip(wanted, values, strict=True):
        if value and (match := SURROGATE.search(value)):
            what = _escaped(match[0])
            return "encoding", f"column {column!r}: {what} at character {match.start() + 1} is not in the encoding"
    return None


def _record_fault(
    record: list[str], width: int, damaged: bool, take: Any, wanted: Sequence[str]
) -> tuple[str, str] | None:
    if len(record) != width:
        return "ragged_row", f"{len(record)} fields instead of {width}"
    return _damage(take(record), wanted) if damaged else None


def _header(name: str, reader: Any) -> list[str]:
    try:
        header: list[str] = next(record for record in reader if record)
    except csv.Error as error:
        raise DataError(
            f"the header line cannot be read: {error}",
            where=name,
            fix="correct its quotes, or set source.quoting: none if quotes are plain characters in this file",
        ) from error
    return header


def _positions(name: str, found: Sequence[str], wanted: Sequence[str]) -> list[int]:
    missing = [column for column in wanted if column not in found]
    if missing:
        _refuse_missing(name, missing, found)
    repeated = [column for column in wanted if list(found).count(column) > 1]
    if repeated:
        raise DataError(
            f"more than one column is called {', '.join(map(repr, repeated))}; columns: {_listed(found)}",
            where=name,
            fix="rename the columns in the file so that each of source.columns means one",
        )
    return [list(found).index(column) for column in wanted]


def _refuse_missing(name: str, missing: Sequence[str], found: Sequence[str]) -> NoReturn:
    close = [match for column in missing for match in difflib.get_close_matches(column, found, n=1)]
    fix = f"set source.columns to the columns that hold text and label{f' (is it {close[0]!r}?)' if close else ''}"
    others = {"\t": "tsv", ";": "csv with commas", ",": "csv"}
    for delimiter, form in others.items():
        if len(found) == 1 and delimiter in found[0]:
            fix = f"the header is divided by {delimiter!r}: set source.format or write the file as {form}"
            break
    raise DataError(
        f"no column {', '.join(map(repr, missing))}; columns found: {_listed(found)}",
        where=name,
        fix=f"{fix}; if the file has no header line, set source.names",
    )


def _listed(found: Sequence[str]) -> str:
    shown = ", ".join(repr(column[:60]) for column in found[:20])
    return f"{shown} and {len(found) - 20} more" if len(found) > 20 else shown


def _refuse_type(name: str, column: str, kind: pa.DataType) -> None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise DataError(
            f"column {column!r} is of type {kind}, not text", where=name, fix="write the column as text (string)"
        )


def _column(values: pa.Array) -> tuple[list[Any], bool]:
    """Values of a column in Python, and whether some hold surrogates for bytes that are not UTF-8."""
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.string())
    try:
        return values.to_pylist(), False
    except UnicodeDecodeError:
        raw = values.cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in raw], True


def _canonical(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, dict | list):
        return None
    return str(value)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
