from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any, Literal

import pytest

from assets.errors import DamagedError, StoreError
from assets.store import index
from assets.store import store as store_module
from assets.store.digests import digest_file
from assets.store.step import LogEntry
from assets.store.store import Record, Store


@pytest.fixture(params=["local", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    url = str(tmp_path / "store") if request.param == "local" else f"memory://{uuid.uuid4().hex}"
    return Store(url, tmp_path / "cache")


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), tmp_path / "cache")


def publish(store: Store, text: str = "hello") -> str:
    with store.staged() as folder:
        (folder / "content").mkdir()
        (folder / "content" / "a.txt").write_text(text)
        return store.publish("objects", folder / "content")


def record(key: str = "ab" * 32, content: str = "1", **more: object) -> Record:
    facts = {"trace": "2", "ingredients": {}, "files": {}, "seconds": 1.0, "time": 2.0, "by": "me", **more}
    return Record(key=key, content=content, **facts)  # type: ignore[arg-type]


def test_what_is_published_is_read_back_checked_and_once(store: Store) -> None:
    digest = publish(store)
    assert publish(store) == digest
    assert store.fault("objects", digest) is None
    folder = store.open("objects", digest)
    assert (folder / "a.txt").read_text() == "hello"
    assert (folder / "a.txt").stat().st_mode & 0o222 == 0
    assert store.manifest("objects", digest)["digest"] == digest


def test_what_another_published_between_look_and_publication_is_never_taken_away(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads or processes publish the same at once, and the first reads it while the second publishes."""
    look, removed = store.fault, list[str]()

    def slow(*given: Any, **more: Any) -> str | None:
        found = look(*given, **more)
        monkeypatch.setattr(store, "fault", look)
        publish(store)
        return found

    monkeypatch.setattr(store, "fault", slow)
    monkeypatch.setattr(store.storage, "remove", removed.append)
    digest = publish(store)
    assert store.fault("objects", digest) is None
    assert removed == []


def damage(path: Path, how: str) -> None:
    path.chmod(0o644)
    if how == "removed":
        path.unlink()
    elif how == "short":
        path.write_text("hell")
    elif how == "long":
        path.write_text("hello!")
    else:
        status = path.stat()
        path.write_text("hallo")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("removed", "a.txt is missing"),
        ("short", "a.txt, 1 bytes short"),
        ("long", "a.txt, 1 bytes too long"),
        ("flipped", "a.txt, bytes altered"),
    ],
)
def test_every_damage_is_named_refused_and_mended_by_publishing_again(local: Store, how: str, says: str) -> None:
    digest = publish(local)
    damage(local.open("objects", digest) / "a.txt", how)
    assert local.fault("objects", digest) == says
    with pytest.raises(DamagedError, match=says):
        local.open("objects", digest)
    assert publish(local) == digest
    assert local.fault("objects", digest) is None


def test_a_missing_or_torn_manifest_is_damage(local: Store) -> None:
    digest = publish(local)
    manifest = local.open("objects", digest) / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text("{")
    assert "manifest.json is damaged" in str(local.fault("objects", digest))
    manifest.unlink()
    assert "is not in the store" in str(local.fault("objects", digest))


def test_a_fetched_copy_that_was_altered_is_fetched_again(tmp_path: Path) -> None:
    store = Store(f"memory://{uuid.uuid4().hex}", tmp_path / "cache")
    digest = publish(store)
    copy = store.open("objects", digest) / "a.txt"
    damage(copy, "flipped")
    with pytest.raises(DamagedError, match="bytes altered"):
        store.open("objects", digest)
    assert (store.open("objects", digest) / "a.txt").read_text() == "hello"


def test_records_are_numbered_and_the_last_one_stands(store: Store) -> None:
    assert store.record("ab" * 32) is None
    first = store.add_record(record(content="1"), after=None)
    adopted = store.add_record(record(content="2"), after=None)
    assert adopted == first
    forced = store.add_record(record(content="3"), after=first)
    assert store.record("ab" * 32) == forced
    assert (forced.number, forced.content) == (1, "3")


def test_references_are_kept_for_each_environment_pipeline_and_step(store: Store) -> None:
    store.refer("default", "p", "raw", record(content="1"))
    store.refer("default", "p", "raw", record(content="2"))
    found = store.reference("default", "p", "raw")
    assert found is not None
    assert found.content == "2"
    assert store.reference("other", "p", "raw") is None
    assert store.reference("default", "p", "model") is None


def test_a_number_of_the_promotion_log_is_taken_once(store: Store) -> None:
    assert store.log("default", "p") == ()
    assert store.append("default", "p", LogEntry(0, {"champion": "a"}))
    assert not store.append("default", "p", LogEntry(0, {"champion": "b"}))
    assert store.append("default", "p", LogEntry(1, {"champion": "c"}))
    assert store.settled("default", "p") is None
    store.settle("default", "p", 1, {"versions": {"a": 1}})
    assert store.settled("default", "p") == {"number": 1, "versions": {"a": 1}}
    assert [entry.fields["champion"] for entry in store.log("default", "p")] == ["a", "c"]


def test_a_store_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(StoreError, match="has format 99; this version of freshtune reads format 1"):
        Store(str(tmp_path), tmp_path / "cache")


def rot(path: Path) -> None:
    """Flip a bit as a failing disk does: size, time and inode stay."""
    status = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("kind", ["objects", "traces"])
def test_whoever_reads_checks_bytes_even_where_a_digest_is_remembered(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Literal["objects", "traces"]
) -> None:
    monkeypatch.setattr(index, "RACY_SECONDS", -1e9)
    with store.staged() as folder:
        (folder / "part").mkdir()
        (folder / "part" / "a.txt").write_text("hello")
        digest = store.publish(kind, folder / "part")
    path = store.open(kind, digest) / "a.txt"
    store.index.save()
    rot(path)
    later = Store(store.url, tmp_path / "cache")
    with pytest.raises(DamagedError, match="a.txt, bytes altered"):
        later.open(kind, digest)
    # What reading found out outlives the process: the next plan knows, or fetches the object again.
    again = Store(store.url, tmp_path / "cache")
    if "memory" in store.url:
        assert (again.open(kind, digest) / "a.txt").read_text() == "hello"
    else:
        assert again.fault(kind, digest) == "a.txt, bytes altered"


def test_a_plan_does_not_read_again_what_was_just_published_but_sees_whatever_alters_it(
    local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LARGE_BYTES", 5)
    read: list[str] = []

    def reading(path: Path) -> str:
        read.append(path.name)
        return digest_file(path)

    monkeypatch.setattr(index, "digest_file", reading)
    large, small = publish(local, "hello"), publish(local, "hi")
    assert local.fault("objects", large) is None
    assert read == []
    assert local.fault("objects", small) is None
    assert read == ["a.txt"]
    path = local.open("objects", large) / "a.txt"
    path.chmod(0o644)
    time.sleep(0.02)
    path.write_text("olleh")
    assert local.fault("objects", large) == "a.txt, bytes altered"
