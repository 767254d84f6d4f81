from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from assets.store import lease as module
from assets.store.digests import canonical_json
from assets.store.lease import lease, live
from assets.store.storage import BucketStorage, LocalStorage, Storage


@pytest.fixture(params=["local", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    for name, seconds in (("BEAT_SECONDS", 0.05), ("PATIENCE_SECONDS", 0.5), ("POLL_SECONDS", 0.01)):
        monkeypatch.setattr(module, name, seconds)
    return LocalStorage(tmp_path) if request.param == "local" else BucketStorage(f"memory://{uuid.uuid4().hex}")


def test_a_lease_is_held_by_one_and_leaves_nothing_behind(storage: Storage) -> None:
    said: list[str] = []
    order: list[str] = []

    def second() -> None:
        with lease(storage, "key", said.append, []):
            order.append("second")

    with lease(storage, "key", said.append, ["a", "b"]):
        assert list(live(storage)) == [["a", "b"]]
        thread = threading.Thread(target=second)
        thread.start()
        # Longer than the patience: the beat keeps the lease.
        time.sleep(1.0)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert said == [f"another run computes this already (process {os.getpid()} on {socket.gethostname()}); waiting"]
    assert list(live(storage)) == []


def test_a_holder_whose_beat_stands_still_is_followed_by_the_next_epoch(storage: Storage) -> None:
    elsewhere = {"host": "elsewhere", "pid": 1, "started": 0.0, "uses": []}
    storage.create("leases/key/000000.json", canonical_json(elsewhere))
    started = time.monotonic()
    with lease(storage, "key", lambda _: None, []):
        assert time.monotonic() - started >= module.PATIENCE_SECONDS
        assert storage.children("leases/key")[0] == "000000.json"
        assert "000001.json" in storage.children("leases/key")


def test_a_dead_process_of_this_machine_is_followed_at_once(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 1000.0)
    process = subprocess.Popen([sys.executable, "-c", ""])
    dead = {"host": socket.gethostname(), "pid": process.pid, "started": 0.0, "uses": []}
    process.wait()
    storage.create("leases/key/000000.json", canonical_json(dead))
    with lease(storage, "key", pytest.fail, []):
        pass


def test_a_lease_is_given_back_when_the_work_fails(storage: Storage) -> None:
    with pytest.raises(ZeroDivisionError), lease(storage, "key", pytest.fail, []):
        raise ZeroDivisionError
    with lease(storage, "key", pytest.fail, []):
        pass


def test_a_late_holder_does_not_take_the_lease_of_its_follower(storage: Storage) -> None:
    with lease(storage, "key", pytest.fail, []):
        storage.create("leases/key/000001.json", canonical_json({"host": "elsewhere", "uses": ["x"]}))
    assert list(live(storage)) == [["x"]]
