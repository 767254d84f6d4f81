"""What was compared with the manifest a short time ago is not read again, unless anything may have altered it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.errors import DamagedError
from assets.store import links
from assets.store.digests import digest_file
from assets.store.links import all_checked, checked


@pytest.fixture
def shard(publish: Callable[[Path], Path], tmp_path: Path) -> Path:
    content = tmp_path / "content"
    content.mkdir()
    (content / "t.bin").write_bytes(b"rows")
    return publish(content)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes are read; files count as written long ago."""
    read: list[str] = []
    facts = links._facts

    def digest(path: Path) -> str:
        read.append(path.name)
        return digest_file(path)

    # The time of the last change cannot be set, so what is seen of it is moved.
    def moved(path: str) -> tuple[int, int, int, int]:
        size, written, changed, inode = facts(path)
        return size, written - 10**10, changed - 10**10, inode

    monkeypatch.setattr(links, "digest_file", digest)
    monkeypatch.setattr(links, "_facts", moved)
    monkeypatch.setattr(links, "_compared", {})
    return read


def test_a_file_that_nobody_touched_is_read_once(shard: Path, reads: list[str]) -> None:
    assert checked(shard, "t.bin") == checked(shard, "t.bin") == shard / "t.bin"
    assert reads == ["t.bin"]


def test_after_some_minutes_it_is_read_again(shard: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    checked(shard, "t.bin")
    later = time.monotonic() + links.COMPARED_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    checked(shard, "t.bin")
    assert reads == ["t.bin"] * 2


def test_a_file_that_was_just_written_may_change_within_the_resolution_of_its_time(
    shard: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns() - 10**10
    monkeypatch.setattr(time, "time_ns", lambda: now)
    checked(shard, "t.bin")
    checked(shard, "t.bin")
    assert reads == ["t.bin"] * 2


def in_place(path: Path) -> None:
    path.write_bytes(b"sowr")


def with_its_time_set_back(path: Path) -> None:
    seen = path.stat()
    path.write_bytes(b"sowr")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def by_another_file(path: Path) -> None:
    seen = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"sowr")
    os.utime(other, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    other.replace(path)


def through_memory(path: Path) -> None:
    import mmap

    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:] = b"sowr"


def to_another_length(path: Path) -> None:
    path.write_bytes(b"row")


@pytest.mark.parametrize(
    "alter", [in_place, with_its_time_set_back, by_another_file, through_memory, to_another_length, Path.unlink]
)
def test_whatever_alters_it_is_found(shard: Path, reads: list[str], alter: Callable[[Path], None]) -> None:
    path = checked(shard, "t.bin")
    path.chmod(0o644)
    # The change of its mode is not what is to be noticed.
    checked(shard, "t.bin")
    time.sleep(0.02)
    alter(path)
    with pytest.raises(DamagedError, match=r"t\.bin"):
        checked(shard, "t.bin")


def test_what_is_remembered_is_bounded(shard: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MOST_COMPARED", 1)
    (links._compared)["another"] = ((0, 0, 0, 0), 0.0)
    checked(shard, "t.bin")
    assert list(links._compared) == [f"{shard}/t.bin"]


@pytest.mark.parametrize("large", [1, 1 << 20])
def test_files_of_several_objects_come_in_their_order_and_each_is_compared(
    publish: Callable[[Path], Path], tmp_path: Path, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "LARGE_BYTES", large)
    shards = []
    for number in range(5):
        content = tmp_path / f"content-{number}"
        content.mkdir()
        (content / "t.bin").write_bytes(bytes([number]))
        shards.append(publish(content))
    assert [path.read_bytes()[0] for path in all_checked(shards, "t.bin")] == [0, 1, 2, 3, 4]
    (shards[3] / "t.bin").chmod(0o644)
    (shards[3] / "t.bin").write_bytes(b"x")
    with pytest.raises(DamagedError, match=r"t\.bin, bytes altered"):
        all_checked(shards, "t.bin")
    (shards[3] / "t.bin").unlink()
    with pytest.raises(DamagedError, match=r"t\.bin"):
        all_checked(shards, "t.bin")
