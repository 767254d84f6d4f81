from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from assets.store import index as module
from assets.store.digests import digest_file
from assets.store.index import FileIndex


def old(path: Path, text: str) -> Path:
    """A file that was last changed long enough ago to be remembered."""
    path.write_text(text)
    os.utime(path, (time.time() - 100, time.time() - 100))
    return path


def test_an_unchanged_file_is_read_once_even_across_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = old(tmp_path / "a", "one")
    first = FileIndex(tmp_path / "cache" / "files.json")
    digest = first.sha256(path)
    first.save()
    monkeypatch.setattr(module, "digest_file", lambda path: pytest.fail(f"read {path} again"))
    assert FileIndex(tmp_path / "cache" / "files.json").sha256(path) == digest


def test_a_long_look_loses_little_when_its_process_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = FileIndex(tmp_path / "files.json")
    paths = [old(tmp_path / name, name) for name in "abc"]
    clock = time.monotonic()
    for seconds, path in zip((0.0, 11.0, 12.0), paths, strict=True):
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: clock + seconds)
        first.sha256(path)
    # Killed here: nobody saves.
    read: list[Path] = []

    def noted(path: Path) -> str:
        read.append(path)
        return digest_file(path)

    monkeypatch.setattr(module, "digest_file", noted)
    second = FileIndex(tmp_path / "files.json")
    assert [second.sha256(path) for path in paths] == [digest_file(path) for path in paths]
    assert read == paths[2:]


def test_a_long_look_elsewhere_loses_little_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = FileIndex(tmp_path / "files.json")
    clock = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: clock + 11.0)
    index.sha256_at("s3://a/b", [1, "etag"], lambda: "digest")
    again = FileIndex(tmp_path / "files.json")
    assert again.sha256_at("s3://a/b", [1, "etag"], lambda: pytest.fail("read again")) == "digest"


def test_a_change_of_size_time_or_inode_is_seen(tmp_path: Path) -> None:
    index = FileIndex(tmp_path / "files.json")
    path = old(tmp_path / "a", "one")
    index.sha256(path)
    old(path, "two")
    os.utime(path, (time.time() - 50, time.time() - 50))
    assert index.sha256(path) == digest_file(path)
    status = path.stat()
    replacement = tmp_path / "b"
    replacement.write_text("six")
    os.utime(replacement, ns=(status.st_atime_ns, status.st_mtime_ns))
    replacement.replace(path)
    assert index.sha256(path) == digest_file(path)


def test_a_file_that_was_copied_over_another_with_its_time_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RACY_SECONDS", -1.0)
    index = FileIndex(tmp_path / "files.json")
    path, other = old(tmp_path / "a", "one"), tmp_path / "b"
    before = path.stat()
    assert index.sha256(path, strictly=True) == digest_file(path)
    other.write_text("two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.copyfile(other, path)
    shutil.copystat(other, path)
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert index.sha256(path, strictly=True) == digest_file(path)
    # Who asks in another way is not given what was remembered in this one.
    assert index.sha256(path) == digest_file(path)


def test_a_file_that_just_changed_is_not_remembered(tmp_path: Path) -> None:
    index = FileIndex(tmp_path / "files.json")
    path = tmp_path / "a"
    path.write_text("one")
    status = path.stat()
    index.sha256(path)
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert index.sha256(path) == digest_file(path)


def test_a_torn_index_is_an_empty_one_and_gone_files_leave_it(tmp_path: Path) -> None:
    path = tmp_path / "files.json"
    path.write_text('{"a": [1')
    index = FileIndex(path)
    kept, gone = old(tmp_path / "kept", "1"), old(tmp_path / "gone", "2")
    index.sha256(kept)
    index.sha256(gone)
    gone.unlink()
    index.save()
    assert "kept" in path.read_text()
    assert "gone" not in path.read_text()
