"""Writes rows with what was predicted of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from assets.cli.records import Format, Record, format_of
from assets.errors import ConfigurationError, DataError
from assets.raw.kinds import COMPRESSED

Write = Callable[[Sequence[Record]], None]


def writable(name: str, option: str) -> Format:
    """Format of a file by its name, if it can be written.

    Raises:
        ConfigurationError: it can only be read, is packed or unknown; `option` is where the file was named.
    """
    kind = format_of(name, option)
    packed = Path(name).suffix
    if packed.lower() in COMPRESSED:
        raise ConfigurationError(
            f"{name!r} would not be packed: files are written as they are",
            where=option,
            fix=f"name it {name.removesuffix(packed)}; Parquet is small by itself",
        )
    if kind in {Format.JSON, Format.ARROW}:
        raise ConfigurationError(f"{kind} is not written", where=option, fix="name it .jsonl or .parquet")
    return kind


@contextmanager
def writer(stream: IO[Any], kind: Format, labels: Sequence[str]) -> Iterator[Write]:
    """A function that writes rows; columns are the first row's. CSV and TSV have no scores.

    Args:
        stream: of bytes for Parquet, else of text.
        kind: what is written.
        labels: names of the scores.

    Raises (when the function is called):
        DataError: if a field holds a tab or a line break in TSV, which cannot say it; if a value is of another type
            than those before in Parquet.
    """
    if kind is Format.JSONL:
        yield lambda rows: stream.writelines(f"{json.dumps(row, ensure_ascii=False, default=str)}\n" for row in rows)
    elif kind is Format.PARQUET:
        with _Parquet(stream, labels) as parquet:
            yield parquet.write
    else:
        yield _Separated(stream, kind).write


class _Separated:
    def __init__(self, stream: IO[str], kind: Format) -> None:
        # As it is read: no quotes in TSV.
        tabs: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
        self.dialect = tabs if kind is Format.TSV else {}
        self.stream, self.kind = stream, kind
        self.table: csv.DictWriter[str] | None = None

    def write(self, rows: Sequence[Record]) -> None:
        for row in rows:
            if self.table is None:
                columns = [name for name in row if name != "scores"]
                self.table = csv.DictWriter(
                    self.stream, columns, extrasaction="ignore", lineterminator="\n", **self.dialect
                )
                self.table.writeheader()
            try:
                self.table.writerow(row)
            except csv.Error as error:
                raise DataError(
                    f"cannot be written as {self.kind}: {error}: {dict(row)}", fix="write CSV or JSONL"
                ) from None


class _Parquet:
    def __init__(self, stream: IO[bytes], labels: Sequence[str]) -> None:
        self.stream = stream
        scores = pa.struct([(label, pa.float64()) for label in labels])
        self.predicted = pa.schema([("predicted", pa.string()), ("confidence", pa.float64()), ("scores", scores)])
        self.file: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is None:
            # Nothing to predict is a table without rows.
            self.file = pq.ParquetWriter(self.stream, self.predicted)
        self.file.close()

    def write(self, rows: Sequence[Record]) -> None:
        if not rows:
            return
        try:
            if self.file is None:
                self.file = pq.ParquetWriter(self.stream, self._schema(rows), compression="zstd")
            table = pa.Table.from_pylist(list(rows), schema=self.file.schema)
        except (pa.ArrowException, TypeError) as error:
            raise DataError(
                f"a column holds values of several types, which Parquet does not have: {error}", fix="write JSONL"
            ) from error
        self.file.write_table(table)

    def _schema(self, rows: Sequence[Record]) -> pa.Schema:
        found = pa.Table.from_pylist(list(rows)).schema
        fields = [
            # A column that is empty at first most likely holds text.
            pa.field(field.name, pa.string() if pa.types.is_null(field.type) else field.type)
            for field in found
            if field.name not in self.predicted.names
        ]
        return pa.schema([*fields, *self.predicted])


@contextmanager
def written(path: Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    """A file to write to, that takes the place of `path` only when it is whole."""
    part = path.with_name(f"{path.name}.part")
    text: dict[str, Any] = {} if binary else {"encoding": "utf-8", "newline": ""}
    try:
        with part.open("wb" if binary else "w", **text) as stream:
            yield stream
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
