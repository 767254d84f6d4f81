from __future__ import annotations

import copy
import errno
import hashlib
import json
import os
import socket
import uuid
from pathlib import Path

import pytest

from assets.errors import StoreError
from assets.store import storage as module
from assets.store.storage import MANIFEST, BucketStorage, LocalStorage, Storage, open_storage, staging


@pytest.fixture(params=["local", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return LocalStorage(tmp_path / "store")
    return BucketStorage(f"memory://{uuid.uuid4().hex}")


def folder(base: Path, text: str = "hello") -> Path:
    path = base / uuid.uuid4().hex
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "a.txt").write_text(text)
    facts = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "size": len(text)}
    (path / MANIFEST).write_text(json.dumps({"files": {"sub/a.txt": facts}}))
    return path


def test_create_leaves_what_is_there_and_replace_does_not(storage: Storage) -> None:
    assert storage.create("a/b.json", b"1")
    assert not storage.create("a/b.json", b"2")
    assert storage.read("a/b.json") == b"1"
    storage.replace("a/b.json", b"3")
    assert storage.read("a/b.json") == b"3"
    assert storage.children("a") == ["b.json"]
    assert storage.children("nothing") == []
    with pytest.raises(FileNotFoundError):
        storage.read("a/c.json")
    storage.remove("a/b.json")
    storage.remove("a/b.json")
    assert storage.children("a") == []


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> BucketStorage:
    """An object storage whose client is given what befalls it: `monkeypatch.setattr(bucket._system, ...)`."""
    storage = BucketStorage(f"memory://{uuid.uuid4().hex}")
    # fsspec's memory is one for all, and not to be patched.
    monkeypatch.setattr(storage, "_system", copy.copy(storage._system))
    return storage


def test_an_object_storage_knows_its_own_write_again_when_the_answer_was_lost(
    bucket: BucketStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = bucket._system.pipe_file

    def put_twice(path: str, data: bytes, mode: str) -> None:
        put(path, data, mode=mode)
        put(path, data, mode=mode)

    def find_taken(path: str, data: bytes, mode: str) -> None:
        raise FileExistsError(path)

    monkeypatch.setattr(bucket._system, "pipe_file", put_twice)
    assert bucket.create("a", b"mine")
    assert not bucket.create("a", b"another's")
    assert bucket.read("a") == b"mine"
    # What was in the way was removed meanwhile.
    monkeypatch.setattr(bucket._system, "pipe_file", find_taken)
    assert not bucket.create("b", b"mine")


def test_a_file_of_an_object_storage_that_cannot_be_read_is_not_taken_for_gone(
    bucket: BucketStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ClientError(Exception):
        """Of a client whose errors are no OSErrors, as botocore's."""

    get = bucket._system.cat_file

    def fail(path: str, **more: object) -> bytes:
        if path.endswith("/b"):
            raise ClientError("no route to host")
        data: bytes = get(path, **more)
        return data

    bucket.replace("a", b"1")
    bucket.replace("b", b"2")
    assert bucket.read_all(["a", "b", "c"]) == {"a": b"1", "b": b"2"}
    assert bucket.read_all([]) == {}
    monkeypatch.setattr(bucket._system, "cat_file", fail)
    for read in (lambda: bucket.read("b"), lambda: bucket.read_all(["a", "b", "c"])):
        with pytest.raises(OSError, match=f"{bucket.url}: no route to host"):
            read()


def test_a_folder_is_published_whole_and_the_first_one_stands(storage: Storage, tmp_path: Path) -> None:
    storage.publish(folder(tmp_path), "objects/1")
    storage.publish(folder(tmp_path, "other"), "objects/1")
    assert storage.sizes("objects/1") == {"sub/a.txt": 5}
    local = storage.local("objects/1", tmp_path / "cache")
    assert (local / "sub" / "a.txt").read_text() == "hello"
    assert storage.local("objects/1", tmp_path / "cache") == local


@pytest.mark.parametrize("call", ["create", "replace"])
@pytest.mark.parametrize("dies_at", ["link", "replace", "fsync"])
def test_a_local_write_that_dies_leaves_nothing_or_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, dies_at: str
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    storage = LocalStorage(tmp_path)
    monkeypatch.setattr(os, dies_at, die)
    died = False
    try:
        getattr(storage, call)("name", b"all")
    except Killed:
        died = True
    assert died == (dies_at in {"fsync", {"create": "link", "replace": "replace"}[call]})
    assert (tmp_path / "name").exists() != died


def test_staging_is_deleted_and_leftovers_of_dead_processes_are_swept(tmp_path: Path) -> None:
    dead = tmp_path / f"{socket.gethostname()}-4194304-{uuid.uuid4().hex}"
    elsewhere = tmp_path / f"elsewhere-4194304-{uuid.uuid4().hex}"
    dead.mkdir()
    elsewhere.mkdir()
    with staging(tmp_path) as path:
        (path / "a").write_text("x")
        with staging(tmp_path):
            assert path.exists()
    assert not dead.exists()
    assert elsewhere.exists()
    assert not path.exists()


def test_a_full_disk_is_said_in_plain_words(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no space left on the disk.*\n.*free some space"), staging(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), staging(tmp_path):
        raise PermissionError
    assert list(tmp_path.iterdir()) == []


def test_folders_and_urls_are_told_apart(tmp_path: Path) -> None:
    assert isinstance(open_storage(str(tmp_path)), LocalStorage)
    assert isinstance(open_storage(f"file://{tmp_path}"), LocalStorage)
    assert isinstance(open_storage("memory://x/"), BucketStorage)
    assert module.MANIFEST == "manifest.json"
