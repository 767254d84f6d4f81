"""Parquet and Arrow files: column by column, with the same texts as a value would have in JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.errors import DataError
from assets.raw.compressed import refuse_bomb
from assets.raw.parse import Parsed, assemble, canonical, positions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BATCH_ROWS = 1 << 16
BATCH_BYTES = 1 << 26
"""A batch of Parquet has so few rows that repeating the longest value of a dictionary does not exceed this."""
ROW_BYTES = 8
"""What a value takes beside its text: nulls and empty texts are not free."""
REFUSED = (
    pa.types.is_nested, pa.types.is_run_end_encoded, pa.types.is_interval,
    pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary,
)  # fmt: skip
"""Types of which no value is a text or a number."""
LONGEST_NAME = 1_000
"""Longest name of a class, in characters; a list with a longer one is taken for none."""
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def parse_parquet(name: str, data: bytes, wanted: Sequence[str]) -> Parsed:
    """Parse Parquet; a row's line is its number.

    Raises:
        DataError: the file is damaged, a wanted column is missing, there twice, or neither text nor numbers, or the
            rows take more memory than a file of that size may.
    """
    return _parse(name, data, wanted, "Parquet", _parquet_batches)


def parse_arrow(name: str, data: bytes, wanted: Sequence[str]) -> Parsed:
    """Parse an Arrow file or stream (Feather); a row's line is its number.

    Raises:
        DataError: as for Parquet.
    """
    return _parse(name, data, wanted, "Arrow", _arrow_batches)


def _parse(name: str, data: bytes, wanted: Sequence[str], form: str, batches: Any) -> Parsed:
    parsed = [Parsed(pa.table({column: pa.array([], pa.string()) for column in wanted}), np.empty(0, np.int64), [])]
    rows = size = 0
    try:
        for batch in batches(name, data, wanted):
            names = _class_names(batch.schema)
            columns = [_named(batch.column(column), names.get(column)) for column in wanted]
            size += sum(map(_size, columns)) + ROW_BYTES * batch.num_rows * len(columns)
            refuse_bomb(name, len(data), size)
            parsed.append(_batch(columns, wanted, rows))
            rows += batch.num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the {form} file is damaged: {error}", where=name, fix="fetch or write the file again"
        ) from error
    return Parsed(
        pa.concat_tables(each.rows for each in parsed),
        np.concatenate([each.lines for each in parsed]),
        [fault for each in parsed for fault in each.faults],
    )


def _parquet_batches(name: str, data: bytes, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    _refuse_columns(name, file.schema_arrow, wanted)
    texts = [column for column in wanted if _is_text(file.schema_arrow.field(column).type)]
    dictionaries = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)
    for group in range(file.num_row_groups):
        # A dictionary of one long value and a million rows that name it are a small file.
        first = (
            next(dictionaries.iter_batches(batch_size=1, row_groups=[group], columns=texts), None) if texts else None
        )
        longest = 0 if first is None else max(map(_longest, first.columns))
        rows = min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, longest)))
        yield from file.iter_batches(batch_size=rows, row_groups=[group], columns=list(wanted))


def _arrow_batches(name: str, data: bytes, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    source = pa.BufferReader(data)
    if data.startswith(b"ARROW1"):
        file = pa.ipc.open_file(source)
        _refuse_columns(name, file.schema, wanted)
        some = pa.ipc.IpcReadOptions(included_fields=[file.schema.get_field_index(column) for column in wanted])
        file = pa.ipc.open_file(source, options=some)
        yield from _slices(map(file.get_batch, range(file.num_record_batches)))
        return
    if not data.endswith(END_OF_STREAM):
        raise DataError("the Arrow stream is cut off: it has no end", where=name, fix="fetch or write the file again")
    stream = pa.ipc.open_stream(source)
    _refuse_columns(name, stream.schema, wanted)
    yield from _slices(stream)


def _slices(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for at in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(at, BATCH_ROWS)


def _batch(columns: Sequence[pa.Array], wanted: Sequence[str], before: int) -> Parsed:
    """Rows of one batch; value by value only where bytes are not UTF-8."""
    lines = np.arange(before + 1, before + 1 + len(columns[0]))
    texts = [_texts(column) for column in columns]
    if not any(text is None for text in texts):
        return Parsed(pa.table(dict(zip(wanted, texts, strict=True))), lines, [])
    values = [
        _escaped(column) if text is None else text.to_pylist() for column, text in zip(columns, texts, strict=True)
    ]

    def shown(index: int) -> str:
        record = [value[index] for value in values]
        return json.dumps(dict(zip(wanted, record, strict=True)), ensure_ascii=False)

    return assemble(wanted, values, lines.tolist(), [], shown, damaged=True)


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes of each column that `datasets` wrote as numbers (ClassLabel), from the file's own schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        classes = {column: told["names"] for column, told in features.items() if told.get("_type") == "ClassLabel"}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
    # A name is repeated for each of its rows.
    return {
        column: names
        for column, names in classes.items()
        if isinstance(names, list) and all(isinstance(name, str) and len(name) <= LONGEST_NAME for name in names)
    }


def _named(values: pa.Array, names: Sequence[str] | None) -> pa.Array:
    """Numbers of classes as their names, -1 (no class) as null; a number that has no name stays one."""
    if names is None or not pa.types.is_integer(values.type):
        return values
    numbers = values.cast(pa.int64())
    inside = pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, len(names)))
    known = pa.array(names, pa.string()).take(pc.if_else(inside, numbers, pa.scalar(None, pa.int64())))
    none = pa.scalar(None, pa.string())
    return pc.if_else(pc.equal(numbers, -1), none, pc.coalesce(known, numbers.cast(pa.string())))


def _texts(values: pa.Array) -> pa.Array | None:
    """A column as text, or None where bytes of it are not UTF-8."""
    values = _plain(values)
    if _is_text(values.type):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            return None
        return values.cast(pa.string())
    kind = values.type
    if pa.types.is_null(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        return values.cast(pa.string())
    return pa.array([canonical(value) for value in values.to_pylist()], pa.string())


def _escaped(values: pa.Array) -> list[str | None]:
    """A column of text in Python, with surrogates for bytes that are not UTF-8."""
    found = _as_bytes(_plain(values)).to_pylist()
    return [None if value is None else value.decode("utf-8", "surrogateescape") for value in found]


def _plain(values: pa.Array) -> pa.Array:
    """A column without the ways of storing the same value only once."""
    if isinstance(values, pa.ExtensionArray) and _is_text(values.storage.type):
        return values.storage
    if pa.types.is_dictionary(values.type):
        dictionary = values.dictionary
        # Arrow takes from views only by way of their bytes.
        plain = _as_bytes(dictionary).cast(pa.binary()) if pa.types.is_string_view(dictionary.type) else dictionary
        taken = plain.take(values.indices)
        return taken.view(pa.string()) if plain is not dictionary else taken
    return values


def _size(values: pa.Array) -> int:
    """Bytes of a column's texts, each as often as it occurs; checked, as what is outside may point anywhere.

    Raises:
        ArrowInvalid: it does.
    """
    if isinstance(values, pa.ExtensionArray):
        return _size(values.storage)
    if pa.types.is_dictionary(values.type):
        _as_bytes(values.dictionary).validate(full=True)
        lengths = pa.array(_lengths(values.dictionary)).take(values.indices)
        return int(pc.sum(lengths).as_py() or 0)
    _as_bytes(values).validate(full=True)
    return int(_lengths(values).sum())


def _longest(values: pa.Array) -> int:
    """Length of the longest value in a dictionary, in bytes."""
    return int(_lengths(values.dictionary).max(initial=0)) if pa.types.is_dictionary(values.type) else 0


def _lengths(values: pa.Array) -> npt.NDArray[np.int64]:
    """Bytes of each value."""
    if pa.types.is_string_view(values.type):
        views = np.frombuffer(values.buffers()[1], np.int32).reshape(-1, 4)[values.offset : values.offset + len(values)]
        return np.where(values.is_valid().to_numpy(zero_copy_only=False), views[:, 0], 0).astype(np.int64)
    if _is_text(values.type):
        found: npt.NDArray[np.int64] = pc.binary_length(values).fill_null(0).cast(pa.int64()).to_numpy()
        return found
    return np.full(len(values), 8, np.int64)


def _as_bytes(values: pa.Array) -> pa.Array:
    """Texts as the bytes that they are, valid UTF-8 or not; other values as they are."""
    if not _is_text(values.type):
        return values
    kind = pa.binary_view() if pa.types.is_string_view(values.type) else pa.binary()
    return values.view(pa.large_binary() if pa.types.is_large_string(values.type) else kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _refuse_columns(name: str, schema: pa.Schema, wanted: Sequence[str]) -> None:
    positions(name, schema.names, wanted)
    for column in wanted:
        kind = schema.field(column).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if isinstance(kind, pa.BaseExtensionType) and kind != pa.uuid():
            kind = kind.storage_type
        if any(refused(kind) for refused in REFUSED):
            raise DataError(
                f"column {column!r} is of type {kind}, not text", where=name, fix="write the column as text (string)"
            )
