from __future__ import annotations

import gzip
from collections.abc import Callable

import pyarrow as pa
import pytest

from assets.errors import DataError
from assets.raw import compressed
from assets.raw.compressed import unpacked


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, "zstd", asbytes=True)
    return packed


PACKERS = pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])


@PACKERS
def test_files_are_unpacked_once(pack: Callable[[bytes], bytes]) -> None:
    data = b"".join(b"%d,x\n" % number for number in range(600_000))
    assert unpacked("f", pack(data)) == data
    assert unpacked("f", pack(b"a") + pack(b"b")) == b"ab"
    assert unpacked("f", pack(b"")) == b""
    assert unpacked("f", pack(pack(b"a"))) == pack(b"a")
    assert unpacked("f", b"a") == b"a"


@PACKERS
@pytest.mark.parametrize("cut", [5, 15, -1])
def test_a_file_that_is_cut_off(pack: Callable[[bytes], bytes], cut: int) -> None:
    with pytest.raises(
        DataError, match=r"f: the file is compressed by g?z.*, and cut off or damaged: .*\n  fix: fetch"
    ):
        unpacked("f", pack(b"".join(b"%d," % number for number in range(100)))[:cut])


@PACKERS
def test_a_damaged_file(pack: Callable[[bytes], bytes]) -> None:
    data = bytearray(pack(b"".join(b"%d," % (number**3) for number in range(1000))))
    data[10] ^= 255
    with pytest.raises(DataError, match="cut off or damaged"):
        unpacked("f", bytes(data))
    with pytest.raises(DataError, match="cut off or damaged"):
        unpacked("f", pack(b"a") + b"something else")


@PACKERS
def test_a_bomb_is_stopped_while_it_is_unpacked(
    pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    def watched(name: str, packed: int, size: int) -> None:
        told.append(size)
        refuse(name, packed, size)

    refuse = compressed.refuse_bomb
    monkeypatch.setattr(compressed, "refuse_bomb", watched)
    bomb = pack(bytes(80 << 20))
    message = (
        r"f: [\d,]+ bytes of the file unpack to more than [\d,]+; a file may unpack to 4 GiB, and beyond 64 MiB to 250 "
    )
    with pytest.raises(DataError, match=message):
        unpacked("f", bomb)
    assert max(told) <= max(64 << 20, 250 * len(bomb)) + compressed.CHUNK_BYTES
    # A small file of equal lines is none.
    assert len(unpacked("f", pack(bytes(60 << 20)))) == 60 << 20


def test_no_file_is_larger_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "LARGEST_BYTES", 1000)
    compressed.refuse_bomb("f", 900, 1000)
    with pytest.raises(DataError, match=r"f: 900 bytes of the file unpack to more than 1,000; .*\n  fix: .*unpack it"):
        compressed.refuse_bomb("f", 900, 1001)
