from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.progress import Event
from assets.store import verification as module
from assets.store.digests import canonical_json
from assets.store.step import LogEntry
from assets.store.storage import BucketStorage, LocalStorage, Storage
from assets.store.store import Record, Store
from assets.store.verification import verify
from tests.store.results import build, opened


def blob(store: Store, record: Record) -> str:
    """Name of a file of an object, as the storage knows it."""
    folder = f"objects/{record.content[:2]}/{record.content}"
    return next(
        f"{folder}/{file.name}"
        for file in store.storage.tree(folder)
        if file.name.rpartition("/")[2] != "manifest.json"
    )


def overwrite(storage: Storage, name: str, data: bytes) -> None:
    """Change bytes behind the store's back; locally size, time and inode stay as they were if the size does."""
    if isinstance(storage, BucketStorage):
        storage.replace(name, data)
        return
    assert isinstance(storage, LocalStorage)
    path = storage.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    status = path.stat() if path.exists() else None
    if status:
        path.chmod(0o644)
    path.write_bytes(data)
    if status:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flipped(store: Store, record: Record) -> None:
    name = blob(store, record)
    data = store.storage.read(name)
    overwrite(store.storage, name, bytes([data[0] ^ 1]) + data[1:])


def missing(store: Store, record: Record) -> None:
    store.storage.remove(blob(store, record))


def longer(store: Store, record: Record) -> None:
    overwrite(store.storage, blob(store, record), b"much longer than it was before")


def extra(store: Store, record: Record) -> None:
    overwrite(store.storage, f"objects/{record.content[:2]}/{record.content}/extra.txt", b"x")


def torn(store: Store, record: Record) -> None:
    overwrite(store.storage, f"objects/{record.content[:2]}/{record.content}/manifest.json", b'{"files": {"a.t')


def other_manifest(store: Store, record: Record) -> None:
    overwrite(
        store.storage, f"objects/{record.content[:2]}/{record.content}/manifest.json", b'{"digest": "x", "files": {}}'
    )


def forged(store: Store, record: Record) -> None:
    """Files and manifest agree, but not with the name of the folder."""
    folder = f"objects/{record.content[:2]}/{record.content}"
    manifest = json.loads(store.storage.read(f"{folder}/manifest.json"))
    for file in [file.name for file in store.storage.tree(folder) if file.name != "manifest.json"]:
        store.storage.remove(f"{folder}/{file}")
    overwrite(store.storage, f"{folder}/manifest.json", canonical_json({**manifest, "files": {}}))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (flipped, "bytes altered"),
        (missing, "is missing"),
        (longer, "bytes, not"),
        (extra, "extra.txt does not belong to it"),
        (torn, "manifest.json is damaged"),
        (other_manifest, "manifest.json is that of x"),
        (forged, "its values are not those that it is named by"),
    ],
)
def test_every_damage_is_found_and_mended_by_building_again(
    store: Store, damage: Callable[[Store, Record], None], says: str
) -> None:
    record = build(store, "it")
    store.refer("default", "p", "model", record)
    store.open("objects", record.content)
    events: list[Event] = []
    whole = verify(store, sink=events.append)
    assert (whole.faults, whole.notes) == ((), ())
    assert whole.checked["objects"].count == whole.checked["traces"].count == 1
    assert [event["completed"] for event in events if event["kind"] == "advance"] == [1, 1]
    damage(store, record)
    found = verify(store)
    (fault,) = [fault for fault in found.faults if fault.name.startswith("objects/")]
    assert says in fault.what
    assert fault.affected == ("default/p/model",)
    # From now on every plan sees it, whatever digests it remembers.
    assert not store.whole(record)
    assert "it points to object" in verify(store).faults[0].what
    assert build(store, "it").content == record.content
    assert verify(store).faults == ()


def test_what_points_to_nothing_is_reported(store: Store) -> None:
    record = build(store, "it")
    store.append("default", "p", LogEntry(0, {"champion": record.content, "key": record.key, "lost": "ef" * 32}))
    store.storage.remove(f"traces/{record.trace[:2]}/{record.trace}")
    found = verify(store)
    assert [(fault.name, fault.what, fault.affected) for fault in found.faults] == [
        (
            "promotions/default/p/00000000.json",
            f"it names {'ef' * 6}, which is not in the store",
            ("promotion log of default/p",),
        )
    ]
    assert [note.what for note in found.notes] == [f"it points to trace {record.trace[:12]}, which is not in the store"]
    store.refer("default", "p", "model", record)
    assert [fault.affected for fault in verify(store).faults] == [
        ("default/p/model",),
        ("promotion log of default/p",),
    ]


def test_a_record_that_cannot_be_read_is_said(store: Store) -> None:
    store.storage.create(f"records/ab/{'ab' * 32}/0000.json", b"{")
    assert [fault.what for fault in verify(store).faults] == ["it is no record; its bytes are damaged"]


def test_a_file_that_cannot_be_read_is_said_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened("local", tmp_path)
    record = build(store, "it")

    def unreadable(_: Path) -> str:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(module, "digest_file", unreadable)
        assert "cannot be read: [Errno 5]" in verify(store).faults[0].what
    assert verify(store).faults == ()
    assert store.whole(record)
