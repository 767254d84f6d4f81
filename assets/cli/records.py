"""Rows to predict, read one after the other from a file or standard input."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from assets.errors import ConfigurationError, DataError
from assets.raw.kinds import COMPRESSED, SUFFIXES
from assets.raw.parse import SURROGATE, escape

Record = dict[str, Any]
Reader = Callable[[BinaryIO, str, "Format", str], Iterator["Record | DataError"]]

STDIN = "-"
PREDICTED = ("predicted", "confidence", "scores")
"""Fields that a prediction adds."""
BATCH = 1024
"""Rows of Parquet and Arrow that become Python's objects at once."""


class Format(StrEnum):
    """Formats of rows to predict; `txt` is one text a line."""

    TXT = "txt"
    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    JSON = "json"
    PARQUET = "parquet"
    ARROW = "arrow"


def format_of(name: str, option: str) -> Format:
    """Format of a file by the ending of its name; `.gz` and `.zst` say nothing of it.

    Raises:
        ConfigurationError: if the ending says nothing; `option` is where the file was named.
    """
    path = Path(name)
    ending = (Path(path.stem) if path.suffix.lower() in COMPRESSED else path).suffix.lower().removeprefix(".")
    if ending not in list(Format) and f".{ending}" not in SUFFIXES:
        raise ConfigurationError(
            f"the format of {name!r} is unknown: its name ends in {ending!r}" if ending else f"{name!r} has no ending",
            where=option,
            fix=f"name it .{', .'.join(Format)}, or say which it is with --format",
        )
    return Format(SUFFIXES.get(f".{ending}", ending))


def read(source: str, kind: Format, column: str) -> Iterator[Record | DataError]:
    """Read rows; blank lines are passed over.

    Args:
        source: path of a file, or `-` for standard input.
        kind: its format.
        column: the column that holds the text.

    Returns:
        Rows, and for each line that cannot be read as one the error that says which and why.

    Raises:
        ConfigurationError: if there is no such file, or no such column.
        DataError: if the rest of the file cannot be read.
    """
    readers: dict[Format, Reader] = {
        Format.TXT: _lines,
        Format.CSV: _separated,
        Format.TSV: _separated,
        Format.JSONL: _objects,
        Format.JSON: _array,
        Format.PARQUET: _parquet,
        Format.ARROW: _arrow,
    }
    where = "standard input" if source == STDIN else source
    with _opened(source) as stream:
        try:
            yield from readers[kind](stream, where, kind, column)
        except (OSError, EOFError, pa.ArrowException) as error:
            raise DataError(
                f"the file is cut off or damaged: {error}", where=where, fix="fetch or write it again"
            ) from error


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    """Bytes, unpacked if the name ends in .gz or .zst."""
    if source == STDIN:
        yield sys.stdin.buffer
        return
    try:
        stream = open(source, "rb")  # noqa: SIM115, PTH123 - closed below; a path as it was typed
    except OSError as error:
        raise ConfigurationError(f"cannot read {source!r}: {error.strerror}", where="--input") from None
    with stream:
        codec = {".gz": "gzip", ".zst": "zstd"}.get(Path(source).suffix.lower())
        if codec is None:
            yield stream
            return
        with pa.CompressedInputStream(stream, codec) as unpacked:
            yield unpacked


@contextmanager
def _text(stream: BinaryIO) -> Iterator[TextIO]:
    """Lines as they come; a byte that is not UTF-8 becomes half a surrogate pair, so that only its line is damaged."""
    # pyarrow's streams lack what a wrapper of text asks of a buffer.
    buffer: Any = io.BufferedReader(stream) if isinstance(stream, pa.NativeFile) else stream
    text = io.TextIOWrapper(buffer, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        # The stream belongs to who opened it.
        text.detach()


def _lines(stream: BinaryIO, where: str, kind: Format, column: str) -> Iterator[Record | DataError]:
    with _text(stream) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _in_utf8({column: line.rstrip("\r\n")}, f"{where}, line {number}")


def _separated(stream: BinaryIO, where: str, kind: Format, column: str) -> Iterator[Record | DataError]:
    csv.field_size_limit(2**31 - 1)
    tabs = kind is Format.TSV
    with _text(stream) as lines:
        rows = csv.reader(
            lines, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL, strict=True
        )
        try:
            header = next((row for row in rows if row), [])
        except csv.Error as error:
            raise DataError(f"not {kind}: {error}", where=f"{where}, line {rows.line_num}") from None
        if column not in header:
            raise _no_column(where, column, header)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield DataError(f"not {kind}: {error}", where=f"{where}, line {rows.line_num}")
                continue
            place = f"{where}, line {rows.line_num}"
            if len(row) == len(header):
                yield _in_utf8(dict(zip(header, row, strict=True)), place)
            elif row:
                more = "more" if len(row) > len(header) else "fewer"
                yield DataError(f"the row has {more} fields than the header line", where=place)


def _objects(stream: BinaryIO, where: str, kind: Format, column: str) -> Iterator[Record | DataError]:
    with _text(stream) as lines:
        known = False
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{where}, line {number}"
            try:
                record = json.loads(line)
            except ValueError as error:
                yield DataError(f"not JSON: {error}", where=place)
                continue
            found = _object(record, place, column, known=known)
            known = known or isinstance(found, dict)
            yield found


def _array(stream: BinaryIO, where: str, kind: Format, column: str) -> Iterator[Record | DataError]:
    try:
        records = json.loads(stream.read())
    except ValueError as error:
        raise DataError(f"not JSON: {error}", where=where, fix="write an array of objects, or JSONL") from None
    if not isinstance(records, list):
        raise DataError("not an array", where=where, fix="write an array of objects, or name it .jsonl")
    known = False
    for number, record in enumerate(records, start=1):
        found = _object(record, f"{where}, row {number}", column, known=known)
        known = known or isinstance(found, dict)
        yield found


def _object(record: Any, place: str, column: str, *, known: bool) -> Record | DataError:
    """What was read as JSON as a row; `known` says whether the column was there before."""
    if not isinstance(record, dict):
        return DataError("not a JSON object", where=place)
    if column not in record:
        missing = _no_column(place, column, list(record))
        if not known:
            raise missing
        return DataError(missing.what, where=place)
    if not isinstance(record[column], str | None):
        return DataError(f"{column!r} is no text: {record[column]!r}", where=place)
    return _in_utf8(record, place)


def _in_utf8(record: Record, place: str) -> Record | DataError:
    for name, value in record.items():
        if isinstance(value, str) and (found := SURROGATE.search(value)):
            return DataError(f"{name!r} is not UTF-8: {escape(found[0])} at character {found.start() + 1}", where=place)
    return record


def _parquet(stream: BinaryIO, where: str, kind: Format, column: str) -> Iterator[Record | DataError]:
    # Its end says where everything is, so a stream has to be read whole.
    file = pq.ParquetFile(stream if stream.seekable() else io.BytesIO(stream.read()))
    yield from _batches(file.schema_arrow, file.iter_batches(BATCH), where, column)


def _arrow(stream: BinaryIO, where: str, kind: Format, column: str) -> Iterator[Record | DataError]:
    content = stream.read()
    if content.startswith(b"ARROW1"):
        file = pa.ipc.open_file(content)
        yield from _batches(file.schema, map(file.get_batch, range(file.num_record_batches)), where, column)
    else:
        some = pa.ipc.open_stream(content)
        yield from _batches(some.schema, some, where, column)


def _batches(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], where: str, column: str
) -> Iterator[Record | DataError]:
    if column not in schema.names:
        raise _no_column(where, column, schema.names)
    if not _is_text(schema.field(column).type):
        raise ConfigurationError(
            f"the column {column!r} holds {schema.field(column).type}, not text",
            where=where,
            fix="name the column that holds the text with --column",
        )
    for batch in batches:
        for at in range(0, batch.num_rows, BATCH):
            yield from batch.slice(at, BATCH).to_pylist()


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _no_column(where: str, column: str, there: Any) -> ConfigurationError:
    return ConfigurationError(
        f"no column {column!r}; there are {', '.join(map(repr, there)) or 'none'}",
        where=where,
        fix="name the column that holds the text with --column",
    )
