"""A search for a word through everything below a folder that shares nothing with the one that freshtune has."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq


def grep(folder: Path, word: str) -> list[str]:
    """Files below a folder that hold a word of ASCII letters in any case, also packed or in a table or database."""
    needle = word.lower()
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in files if any(needle in text for text in _texts(path)))


def _texts(path: Path) -> Iterator[str]:
    data = path.read_bytes()
    yield data.decode("utf-8", "replace").lower()
    yield data.decode("utf-16-le", "replace").lower()
    for unpack in (gzip.decompress, bz2.decompress, lzma.decompress, zlib.decompress):
        with suppress(OSError, EOFError, ValueError, lzma.LZMAError, zlib.error):
            yield unpack(data).decode("utf-8", "replace").lower()
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as unpacked:
            yield unpacked.read().decode("utf-8", "replace").lower()
    if data.startswith(b"ARROW1"):
        yield str(pa.ipc.open_file(data).read_all().to_pylist()).lower()
    if data.startswith(b"PAR1"):
        yield str(pq.read_table(path).to_pylist()).lower()
    if data.startswith(b"SQLite format 3"):
        with closing(sqlite3.connect(path)) as database:
            yield "\n".join(database.iterdump()).lower()
