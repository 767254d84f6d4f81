"""Rows to predict: read one after the other from a file or standard input, and written with what was predicted."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

from assets.errors import ConfigurationError, DataError

Record = dict[str, Any]
Write = Callable[[Mapping[str, Any]], None]

STDIN = "-"
PREDICTED = ("predicted", "confidence", "scores")
"""Fields that a prediction adds."""


class Format(StrEnum):
    """Formats of rows to predict; `txt` is one text a line."""

    TXT = "txt"
    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"


def format_of(name: str, option: str) -> Format:
    """Format of a file by the ending of its name.

    Raises:
        ConfigurationError: if the ending says nothing; `option` is where the file was named.
    """
    ending = Path(name).suffix.lower().removeprefix(".")
    if ending not in list(Format):
        raise ConfigurationError(
            f"the format of {name!r} is unknown: its name ends in {ending!r}" if ending else f"{name!r} has no ending",
            where=option,
            fix=f"name it .{', .'.join(Format)}, or say which it is with --format",
        )
    return Format(ending)


def read(source: str, kind: Format, column: str) -> Iterator[Record]:
    """Read rows; blank lines are passed over.

    Args:
        source: path of a file, or `-` for standard input.
        kind: its format.
        column: the column that holds the text.

    Raises:
        ConfigurationError: if there is no such file, or no such column.
        DataError: if a line cannot be read as a row; file and line are named.
    """
    reader = {Format.TXT: _lines, Format.CSV: _separated, Format.TSV: _separated, Format.JSONL: _objects}[kind]
    where = "standard input" if source == STDIN else source
    with _opened(source) as stream:
        try:
            yield from reader(stream, where, kind, column)
        except UnicodeDecodeError as error:
            raise DataError(f"not UTF-8: {error}", where=where, fix="convert it to UTF-8") from None


@contextmanager
def _opened(source: str) -> Iterator[TextIO]:
    if source == STDIN:
        yield sys.stdin
        return
    try:
        stream = open(source, encoding="utf-8-sig", newline="")  # noqa: SIM115, PTH123 - closed below; a path as it was typed
    except OSError as error:
        raise ConfigurationError(f"cannot read {source!r}: {error.strerror}", where="--input") from None
    with stream:
        yield stream


def _lines(stream: TextIO, where: str, kind: Format, column: str) -> Iterator[Record]:
    for line in stream:
        if line.strip():
            yield {column: line.rstrip("\r\n")}


def _separated(stream: TextIO, where: str, kind: Format, column: str) -> Iterator[Record]:
    csv.field_size_limit(2**31 - 1)
    tabs = kind is Format.TSV
    rows = csv.DictReader(
        stream, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL, strict=True
    )
    try:
        if column not in (rows.fieldnames or ()):
            raise _no_column(where, column, rows.fieldnames or ())
        for row in rows:
            if None in row or None in row.values():
                raise DataError(
                    f"the row has {'more' if None in row else 'fewer'} fields than the header line",
                    where=f"{where}, line {rows.line_num}",
                    fix="quote fields that hold the separator, or use JSONL",
                )
            yield row
    except csv.Error as error:
        raise DataError(f"not {kind}: {error}", where=f"{where}, line {rows.reader.line_num}") from None


def _objects(stream: TextIO, where: str, kind: Format, column: str) -> Iterator[Record]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        place = f"{where}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"not JSON: {error}", where=place, fix="write one JSON object a line") from None
        if not isinstance(record, dict):
            raise DataError("not a JSON object", where=place, fix=f'write {{"{column}": …}} on each line')
        if column not in record:
            raise _no_column(place, column, list(record))
        if not isinstance(record[column], str | None):
            raise DataError(f"{column!r} is no text: {record[column]!r}", where=place)
        yield record


def _no_column(where: str, column: str, there: Any) -> ConfigurationError:
    return ConfigurationError(
        f"no column {column!r}; there are {', '.join(map(repr, there)) or 'none'}",
        where=where,
        fix="name the column that holds the text with --column",
    )


def writer(stream: TextIO, kind: Format) -> Write:
    """A function that writes rows; the first one's columns are the header line of CSV and TSV, without the scores.

    Raises (when called):
        DataError: if a field holds a tab or a line break in TSV, which cannot say it.
    """
    if kind is Format.JSONL:
        return lambda record: print(json.dumps(record, ensure_ascii=False), file=stream)
    # As it is read: no quotes in TSV.
    tabs: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
    dialect = tabs if kind is Format.TSV else {}
    table: csv.DictWriter[str] | None = None

    def write(record: Mapping[str, Any]) -> None:
        nonlocal table
        if table is None:
            columns = [name for name in record if name != "scores"]
            table = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n", **dialect)
            table.writeheader()
        try:
            table.writerow(record)
        except csv.Error as error:
            raise DataError(f"cannot be written as {kind}: {error}: {dict(record)}", fix="write CSV or JSONL") from None

    return write


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """A file to write to, that takes the place of `path` only when it is whole."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
