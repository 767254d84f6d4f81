"""Files compressed by gzip or zstd, unpacked in memory and no further than data do."""

from __future__ import annotations

from types import MappingProxyType

import pyarrow as pa

from assets.errors import DataError

CODECS = MappingProxyType({b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"})
"""First bytes of a compressed file → what compressed it."""
LARGEST_BYTES = 4 << 30
"""No file may be larger than this when it is unpacked."""
LARGEST_RATIO = 250
"""Nor so many times larger than it is packed; text is 3 to 20 times larger."""
FREE_BYTES = 64 << 20
"""Up to this size the ratio does not count: a small file of equal lines is no attack."""
CHUNK_BYTES = 1 << 22


def unpacked(name: str, data: bytes) -> bytes:
    """A file's bytes; those of a compressed one unpacked, once.

    Raises:
        DataError: the file is cut off or damaged, or too large when it is unpacked.
    """
    codec = next((codec for magic, codec in CODECS.items() if data.startswith(magic)), None)
    if codec is None:
        return data
    chunks: list[bytes] = []
    size = 0
    try:
        with pa.CompressedInputStream(pa.BufferReader(data), codec) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                size += len(chunk)
                refuse_bomb(name, len(data), size)
                chunks.append(chunk)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"the file is compressed by {codec}, and cut off or damaged: {error}",
            where=name,
            fix="fetch or write the file again",
        ) from error
    return b"".join(chunks)


def refuse_bomb(name: str, packed: int, size: int) -> None:
    """Refuse what grows beyond all data when it is unpacked.

    Args:
        name: the file's name, for messages.
        packed: its size in bytes as it is on the disk.
        size: how many bytes of it are unpacked so far.

    Raises:
        DataError: if there are too many.
    """
    limit = min(LARGEST_BYTES, max(FREE_BYTES, LARGEST_RATIO * packed))
    if size > limit:
        raise DataError(
            f"{packed:,} bytes of the file unpack to more than {limit:,}; a file may unpack to "
            f"{LARGEST_BYTES >> 30} GiB, and beyond {FREE_BYTES >> 20} MiB to {LARGEST_RATIO} times its size",
            where=name,
            fix="if the file is what you expect, unpack it, or write it in several files",
        )
