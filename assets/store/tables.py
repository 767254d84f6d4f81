"""Tables in shards, and identifiers of rows as numbers.

An identifier is 16 bytes; many of them are an array of shape [rows, 2] of unsigned 64-bit integers, high half first, so
that numbers sort as the identifiers do when they are written in hexadecimal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import feather

from assets.store.links import all_checked, checked

Ids = npt.NDArray[np.uint64]
ID = pa.binary(16)


def write_table(path: Path, table: pa.Table, *, compressed: bool = False) -> None:
    """Write a table as one Feather file, the same bytes however it was chunked.

    Args:
        path: ends in `.feather`.
        table: any.
        compressed: by zstd; else it can be mapped into memory.
    """
    path.parent.mkdir(exist_ok=True)
    # What is mapped is in one piece: columns are used as they lie there.
    kind, rows = ("zstd", None) if compressed else ("uncompressed", max(1, len(table)))
    feather.write_feather(table.combine_chunks(), str(path), compression=kind, chunksize=rows)


def read_tables(folders: Iterable[Path], file: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the same table of several objects, one after another, their bytes checked.

    Args:
        folders: of the objects, at least one.
        file: name of the table in each.
        columns: which of its columns, or None for all.

    Raises:
        DamagedError: if bytes are not those of the manifest.
    """
    names = None if columns is None else list(columns)
    return pa.concat_tables(
        feather.read_table(str(path), columns=names, memory_map=True) for path in all_checked(list(folders), file)
    )


def columns_in(folder: Path, file: str) -> list[str]:
    """Names of the columns of a table.

    Raises:
        DamagedError: if its bytes are not those of the manifest.
    """
    with pa.memory_map(str(checked(folder, file))) as stream:
        names: list[str] = pa.ipc.open_file(stream).schema.names
    return names


def as_ids(column: pa.ChunkedArray) -> Ids:
    """Identifiers of a column of 16-byte values."""
    chunks = [
        np.frombuffer(chunk.buffers()[1], dtype=">u8", count=2 * len(chunk), offset=16 * chunk.offset)
        for chunk in column.chunks
        if len(chunk)
    ]
    # In one pass: they are gone over in nearly every step.
    whole = np.concatenate(chunks, dtype=np.uint64) if chunks else np.empty(0, np.uint64)
    return whole.reshape(-1, 2)


def id_column(ids: Ids) -> pa.Array:
    """A column of 16-byte values."""
    return pa.FixedSizeBinaryArray.from_buffers(ID, len(ids), [None, pa.py_buffer(ids.astype(">u8").tobytes())])


def hexadecimal(ids: Ids) -> pa.Array:
    """Identifiers as people see them: 32 hexadecimal digits each."""
    digits = pa.py_buffer(ids.astype(">u8").tobytes().hex().encode())
    offsets = pa.py_buffer(np.arange(0, 32 * len(ids) + 1, 32, dtype=np.int64))
    return pa.LargeStringArray.from_buffers(len(ids), offsets, digits).cast(pa.string())


def from_hexadecimal(names: Iterable[str]) -> Ids:
    """Identifiers that people see as 32 hexadecimal digits each."""
    return np.frombuffer(bytes.fromhex("".join(names)), ">u8").astype(np.uint64).reshape(-1, 2)


def order_of(ids: Ids) -> npt.NDArray[np.intp]:
    """Indices that sort identifiers; equal ones keep their order."""
    order = np.argsort(ids[:, 0])
    high = ids[:, 0].take(order)
    same = high[1:] == high[:-1]
    if same.any():
        # Few begin alike, so only these are sorted by the rest; they lie together already.
        at = np.flatnonzero(np.append(False, same) | np.append(same, False))
        some = order[at]
        order[at] = some[np.lexsort((some, ids[some, 1], ids[some, 0]))]
    return order


def firsts_in_order(ids: Ids) -> npt.NDArray[np.intp]:
    """Where each distinct identifier occurs first, in the order of identifiers."""
    order = order_of(ids)
    return order[begins(ids.take(order, axis=0))]


def begins(ids: Ids) -> npt.NDArray[np.bool_]:
    """Where in ascending identifiers another one begins."""
    new = np.ones(len(ids), dtype=bool)
    high, low = ids.T
    new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    return new


def places_after(ordered: Ids, some: Ids) -> npt.NDArray[np.intp]:
    """Where in ascending identifiers some others would have to be put in, each behind equal ones."""
    high, low = ordered[:, 0], ordered[:, 1]
    first, last = (np.searchsorted(high, some[:, 0], side) for side in ("left", "right"))
    one = np.flatnonzero(last - first == 1)
    first[one] += low[first[one]] <= some[one, 1]
    # Hardly any begin like two others.
    for at in np.flatnonzero(last - first > 1).tolist():
        first[at] += np.searchsorted(low[first[at] : last[at]], some[at, 1], "right")
    return first


def distinct(ids: Ids) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Find equal identifiers.

    Returns:
        Where each distinct one occurs first, ascending; and for every identifier its place in that list.
    """
    if not len(ids):
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    order = order_of(ids)
    new = begins(ids.take(order, axis=0))
    firsts = order[new]
    place = np.empty(len(firsts), dtype=np.intp)
    by_place = np.argsort(firsts)
    place[by_place] = np.arange(len(firsts))
    which = np.empty(len(ids), dtype=np.intp)
    which[order] = place[np.cumsum(new) - 1]
    return firsts[by_place], which


def maybe_repeated(ids: Ids) -> npt.NDArray[np.intp]:
    """Places of identifiers that may occur more than once, ascending; few others are among them.

    Numbers alone are sorted several times as quickly as their places.
    """
    high = np.sort(ids[:, 0])
    twice = high[1:][high[1:] == high[:-1]]
    return np.flatnonzero(_like(ids, twice)) if len(twice) else np.empty(0, np.intp)


def _like(ids: Ids, high: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """For each identifier whether its first bits are those of one of some high halves.

    Identifiers are digests, so these sort out nearly all others.
    """
    bits = np.uint64(42)
    first_bits = np.zeros(1 << 22, bool)
    first_bits[high >> bits] = True
    # Numpy copies indices without a sign.
    return first_bits.take((ids[:, 0] >> bits).view(np.int64))


def among(ids: Ids, some: Ids) -> npt.NDArray[np.bool_]:
    """For each identifier whether it is one of some others; quick where these are few."""
    maybe = np.flatnonzero(_like(ids, some[:, 0]))
    _, which = distinct(np.concatenate([some, ids[maybe]]))
    known = np.zeros(len(which), bool)
    known[which[: len(some)]] = True
    found = np.zeros(len(ids), bool)
    found[maybe] = known[which[len(some) :]]
    return found


def digest_of_rows(*columns: npt.NDArray[np.generic]) -> str:
    """Hexadecimal SHA-256 of columns of numbers, whatever the machine's byte order; each row of a column in turn."""
    digest = hashlib.sha256()
    for column in columns:
        digest.update(f"{column.shape} {column.dtype.kind}{column.dtype.itemsize};".encode())
        digest.update(np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
