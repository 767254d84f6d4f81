"""Digests: of JSON, of files, of tables by their values, and of whole folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

TABLE_SUFFIXES = (".parquet", ".arrow")


LAYOUT = "layout"
"""Folder of an object that is not digested: see `assets.store.links`."""


def canonical_json(value: Any) -> bytes:
    """Write a JSON value in the one form that is digested: sorted keys, no spaces, UTF-8.

    Raises:
        ValueError: if it holds NaN or an infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value for people and programs: sorted keys, one item a line, UTF-8."""
    path.write_text(json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1), encoding="utf-8")


def digest_json(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_content(folder: Path) -> str:
    """Content digest of a folder: its relative paths with the values of its tables and the bytes of its other files.

    What is under `layout/` does not count.
    """
    return digest_json(
        {
            path.relative_to(folder).as_posix(): digest_table(path)
            if path.suffix in TABLE_SUFFIXES
            else digest_file(path)
            for path in files_under(folder)
            if path.relative_to(folder).parts[0] != LAYOUT
        }
    )


def files_under(folder: Path) -> list[Path]:
    """Every file under a folder, in the order of its relative path."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def digest_table(path: Path) -> str:
    """Digest of a Parquet file or Arrow stream by its values: column names, types, rows in their order.

    Chunks, compression, dictionary encoding, 32- or 64-bit offsets and metadata of the file do not count.
    """
    digest = hashlib.sha256()
    schema, batches = _read(path)
    names = [(field.name, str(_plain(field.type))) for field in schema]
    digest.update(canonical_json(names))
    columns = [hashlib.sha256() for _ in names]
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        for column, hasher in zip(batch.columns, columns, strict=True):
            _update(hasher, column.cast(_plain(column.type)))
    digest.update(canonical_json([rows, *(hasher.hexdigest() for hasher in columns)]))
    return digest.hexdigest()


def _read(path: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        table = pq.ParquetFile(path)
        return table.schema_arrow, table.iter_batches()
    reader = pa.ipc.open_stream(pa.memory_map(str(path)))
    return reader.schema, iter(reader)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type that stands for all layouts of the same values."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary(kind) or pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.large_list(pa.field("item", _plain(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in kind])
    return kind


def _update(hasher: hashlib._Hash, array: pa.Array) -> None:
    """Feed an array's values, row by row independent of how they were chunked."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_large_list(kind) or pa.types.is_struct(kind):
        for value in array.to_pylist():
            hasher.update(canonical_json(_exact(value)) + b"\n")
    elif pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        # One row after another, lengths first, so that any chunking gives the same stream of bytes.
        values = array.cast(pa.large_binary())
        lengths = pc.binary_length(values).cast(pa.large_string()).cast(pa.large_binary())
        told = pc.coalesce(
            pc.binary_join_element_wise(lengths, values, pa.scalar(b":", pa.large_binary())),
            pa.scalar(b"-", pa.large_binary()),
        )
        # What lies in its buffer is that stream.
        if len(told):
            _, offsets, data = told.buffers()
            ends = memoryview(offsets).cast("q")
            hasher.update(memoryview(data)[ends[told.offset] : ends[told.offset + len(told)]])
    else:
        valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
        if pa.types.is_null(kind):
            hasher.update(b"-" * len(array))
            return
        numbers = array.cast(pa.int8()) if pa.types.is_boolean(kind) else array
        if pa.types.is_temporal(kind):
            numbers = numbers.cast(pa.int64() if kind.bit_width == 64 else pa.int32())
        values = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)
        width = values.dtype.itemsize
        import numpy as np

        interleaved = np.empty((len(values), width + 1), dtype=np.uint8)
        interleaved[:, 0] = valid
        interleaved[:, 1:] = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), width)
        hasher.update(interleaved.tobytes())


def _exact(value: Any) -> Any:
    """Floats by their exact value: NaN has no JSON form."""
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, list):
        return [_exact(item) for item in value]
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    return value
