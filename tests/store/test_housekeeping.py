from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import StoreError
from assets.progress import Event
from assets.store import housekeeping as module
from assets.store import store as stored
from assets.store.digests import canonical_json
from assets.store.housekeeping import Amount, Garbage, gc, migrate, verify
from assets.store.step import LogEntry
from assets.store.storage import BucketStorage, LocalStorage, Storage
from assets.store.store import Kind, Record, Store

pytestmark = pytest.mark.usefixtures("no_grace")


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was written before the collection began is old enough, and every look is new."""
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)


def opened(kind: str, base: Path) -> Store:
    url = str(base / "store") if kind == "local" else f"memory://{uuid.uuid4().hex}"
    return Store(url, base / "cache")


@pytest.fixture(params=["local", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return opened(request.param, tmp_path)


def publish(store: Store, text: str, kind: Kind = "objects") -> str:
    with store.staged() as folder:
        (folder / "it" / "sub").mkdir(parents=True)
        (folder / "it" / "sub" / "a.txt").write_text(text)
        (folder / "it" / "b.txt").write_text(text)
        return store.publish(kind, folder / "it")


def build(store: Store, name: str, *, step: str = "step", inputs: tuple[str, ...] = (), content: str = "") -> Record:
    """Publish content and trace under a key of their own."""
    record = Record(
        key=(name.encode().hex() * 64)[:64],
        content=publish(store, content or f"content {name}"),
        trace=publish(store, f"trace {name}", "traces"),
        ingredients={"step": step, "inputs": dict(enumerate(inputs))},
        files={},
        seconds=1.0,
        time=0.0,
        by="me",
    )
    record = json.loads(canonical_json(record.__dict__))
    return store.add_record(Record(**record), after=None)


def there(store: Store, record: Record) -> bool:
    """Whether a result is wholly there; if not, that nothing of it is, but what others share."""
    if store.record(record.key) is None:
        assert store.fault("traces", record.trace) is not None
        return False
    assert store.whole(record)
    return True


def collect(store: Store, tmp_path: Path, **options: Any) -> Garbage:
    # Times of files are coarser than the clock.
    time.sleep(0.02)
    return gc(store, work=tmp_path / "work", **{"keep": 0, "delete": True, **options})


def test_what_is_referred_to_stays_and_the_rest_goes(store: Store, tmp_path: Path) -> None:
    kept, lost = build(store, "kept"), build(store, "lost")
    store.refer("default", "p", "step", kept)
    before = collect(store, tmp_path, delete=False)
    assert there(store, lost)
    assert not before.deleted
    after = collect(store, tmp_path)
    assert after == Garbage(before.garbage, before.kept, deleted=True)
    assert (there(store, kept), there(store, lost)) == (True, False)
    assert {kind: found.count for kind, found in after.garbage.items()} == dict.fromkeys(
        ("records", "traces", "objects"), 1
    )
    assert collect(store, tmp_path).garbage == {}
    assert verify(store).faults == ()


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    store = opened("local", tmp_path)
    lost = build(store, "lost")
    folder = tmp_path / "store" / "objects" / lost.content[:2] / lost.content
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    found = collect(store, tmp_path)
    assert found.garbage["objects"] == Amount(1, size)
    assert found.bytes == sum(amount.bytes for amount in found.garbage.values())
    assert found.json()["garbage"]["objects"] == {"count": 1, "bytes": size}
    assert not folder.exists()
    assert not (tmp_path / "store" / "records" / lost.key[:2] / lost.key).exists()


def test_what_a_promotion_log_names_stays_with_the_record_that_leads_to_it(store: Store, tmp_path: Path) -> None:
    names = ["challenger", "champion", "splits", "release", "lost"]
    made = {name: build(store, name) for name in names}
    fields = {
        "challenger": made["challenger"].content,
        "champion": made["champion"].content,
        "inputs": {"splits": made["splits"].content},
        "key": made["release"].key,
        "release": {"content": made["release"].content, "trace": made["release"].trace},
    }
    store.append("production", "p", LogEntry(0, fields))
    collect(store, tmp_path)
    assert [there(store, made[name]) for name in names] == [True, True, True, True, False]


def test_the_newest_records_of_steps_stay(store: Store, tmp_path: Path) -> None:
    made = []
    for name in "abcd":
        time.sleep(0.02)
        made.append(build(store, name))
    build(store, "part", step="room:function", inputs=("gone",))
    # Used again, so it is newer than the two after it.
    assert store.whole(made[0])
    collect(store, tmp_path, keep=2)
    assert [there(store, each) for each in made] == [True, False, False, True]


def test_parts_stay_while_what_they_were_made_of_stays(store: Store, tmp_path: Path) -> None:
    kept, lost = build(store, "kept"), build(store, "lost")
    store.refer("default", "p", "step", kept)
    of_kept = build(store, "part of kept", step="room:function", inputs=(kept.content,))
    of_lost = build(store, "part of lost", step="room:function", inputs=(kept.content, lost.content))
    of_nothing = build(store, "shard", step="room:function")
    collect(store, tmp_path)
    assert [there(store, each) for each in (of_kept, of_lost, of_nothing)] == [True, False, True]


def test_what_was_written_lately_stays(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.4)
    early = build(store, "early")
    reused = build(store, "reused")
    time.sleep(0.5)
    late, unrecorded = build(store, "late"), publish(store, "unrecorded")
    # A run found it, or built the same once more, and refers to it in a moment.
    assert store.whole(reused)
    again = publish(store, f"content {'early'}")
    collect(store, tmp_path)
    assert there(store, late)
    assert there(store, reused)
    assert store.fault("objects", unrecorded) is None
    assert store.fault("objects", again) is None
    assert store.fault("traces", early.trace) is not None
    assert store.record(early.key) is None


def test_what_a_running_build_reads_and_what_came_since_it_began_stays(store: Store, tmp_path: Path) -> None:
    read, lost = build(store, "read"), build(store, "lost")
    # The lease's own grace: a beat is younger than that.
    time.sleep(0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GRACE_SECONDS", 0.03)
        with store.lease("ab" * 32, pytest.fail, [read.content]):
            part = build(store, "part", step="room:function", inputs=("elsewhere",))
            gc(store, work=tmp_path / "work", keep=0, delete=True)
    assert store.fault("objects", read.content) is None
    assert there(store, part)
    assert not there(store, lost)


def test_what_came_into_use_after_the_first_look_stays(store: Store, tmp_path: Path) -> None:
    saved, lost = build(store, "saved"), build(store, "lost")
    collection = module._Collection
    look, looks = collection._look, 0

    def refer_after_the_first(self: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 2:
            store.refer("default", "p", "step", saved)
        return look(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collection, "_look", refer_after_the_first)
        collect(store, tmp_path)
    assert there(store, saved)
    assert not there(store, lost)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(data=st.data())
def test_nothing_reachable_goes_and_nothing_else_stays(data: st.DataObject, tmp_path_factory: Any) -> None:
    base = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GRACE_SECONDS", 0.0)
        store = opened("bucket", base)
        made: list[Record] = []
        for number in range(data.draw(st.integers(1, 6))):
            part = data.draw(st.booleans())
            inputs = tuple(each.content for each in made if data.draw(st.booleans()))
            step = "room:function" if part else "step"
            shared = data.draw(st.sampled_from(["", "shared"]))
            made.append(build(store, f"{number}", step=step, inputs=inputs or ("elsewhere",), content=shared))
        any_of = st.sets(st.sampled_from(range(len(made))))
        referred, logged = data.draw(any_of), data.draw(any_of)
        for number in referred:
            store.refer("default", "p", f"step_{number}", made[number])
        for place, number in enumerate(sorted(logged)):
            store.append("default", "p", LogEntry(place, {"champion": made[number].content}))
        objects = {made[number].content for number in referred | logged}
        traces = {made[number].trace for number in referred}
        newest = {record.content: record for record in made}
        traces |= {newest[made[number].content].trace for number in logged}
        for record in made:
            if ":" in record.ingredients["step"] and objects.issuperset(record.ingredients["inputs"].values()):
                objects.add(record.content)
                traces.add(record.trace)
        collect(store, base)
        for record in made:
            assert (store.fault("objects", record.content) is None) == (record.content in objects)
            assert (store.fault("traces", record.trace) is None) == (record.trace in traces)
            whole = record.content in objects and record.trace in traces
            assert (store.record(record.key) is not None) == whole


class Killed(BaseException):
    """Stands for SIGKILL."""


class Mortal:
    """A storage that dies at the n-th removal of a file or folder."""

    def __init__(self, patch: pytest.MonkeyPatch, store: Store, dies_at: int) -> None:
        self.left = dies_at
        storage: Any = store.storage
        places = (
            [(os, "unlink"), (os, "rmdir"), (Path, "unlink"), (Path, "rename")]
            if isinstance(storage, LocalStorage)
            else [(type(storage._system), "rm_file")]
        )
        for owner, name in places:
            patch.setattr(owner, name, self._dying(getattr(owner, name)))

    def _dying(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise Killed
            return call(*arguments, **options)

        return instead


@pytest.mark.parametrize("kind", ["local", "bucket"])
def test_a_killed_collection_leaves_nothing_that_looks_whole_and_is_not(kind: str, tmp_path: Path) -> None:
    deaths = 0
    for dies_at in range(1, 200):
        base = tmp_path / str(dies_at)
        store = opened(kind, base)
        kept, lost = build(store, "kept"), build(store, "lost")
        store.refer("default", "p", "step", kept)
        time.sleep(0.02)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_size_and_time", lambda _: (0, time.time()))
            mortal = Mortal(patch, store, dies_at)
            try:
                gc(store, work=base / "work", keep=0, delete=True)
            except Killed:
                deaths += 1
        found = verify(store)
        assert found.faults == ()
        assert all("no manifest" in note.what for note in found.notes)
        assert there(store, kept)
        if store.record(lost.key) is not None:
            assert store.whole(lost)
        # The next collection finishes the work, and what was lost can be published again.
        # The lease of a process that is really dead would be taken over at once.
        store.storage.remove("leases/gc")
        collect(store, base)
        assert not there(store, lost)
        assert build(store, "lost").content == lost.content
        if mortal.left > 0:
            break
    assert deaths >= 5


def test_leftovers_of_dead_processes_go(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 60.0)
    record = build(store, "kept")
    store.refer("default", "p", "step", record)
    old = time.time() - 3600
    gone = [
        tmp_path / "cache" / "staging" / f"{socket.gethostname()}-4194304-{uuid.uuid4().hex}",
        tmp_path / "cache" / "staging" / f"elsewhere-1-{uuid.uuid4().hex}",
        tmp_path / "work" / record.key,
    ]
    stays = [
        tmp_path / "cache" / "staging" / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}",
        tmp_path / "work" / ("cd" * 32),
    ]
    for path in (*gone, *stays):
        path.mkdir(parents=True)
    for path in (*gone[1:], stays[1]):
        os.utime(path, (old, old))
    found = gc(store, work=tmp_path / "work", delete=True)
    assert [path.exists() for path in gone] == [False] * 3
    assert [path.exists() for path in stays] == [True] * 2
    assert (found.garbage["staging"].count, found.garbage["work"].count) == (2, 1)


def test_the_lease_of_a_dead_holder_goes_and_holds_nothing_back(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.storage.create("leases/dead/000000.json", canonical_json({"host": "elsewhere", "pid": 1, "uses": []}))
    lost = build(store, "lost")
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.02)
    time.sleep(0.05)
    found = collect(store, tmp_path)
    assert found.garbage["leases"].count == 1
    assert store.storage.children("leases/dead") == []
    assert not there(store, lost)


def test_fetched_copies_of_what_is_gone_go(tmp_path: Path) -> None:
    store = opened("bucket", tmp_path)
    kept, lost = build(store, "kept"), build(store, "lost")
    store.refer("default", "p", "step", kept)
    copies = [store.open("objects", record.content) for record in (kept, lost)]
    collect(store, tmp_path)
    collect(store, tmp_path)
    assert [copy.exists() for copy in copies] == [True, False]


def test_a_record_that_cannot_be_read_stops_the_collection(store: Store, tmp_path: Path) -> None:
    store.storage.create(f"records/ab/{'ab' * 32}/0000.json", b"{")
    with pytest.raises(StoreError, match="0000.json: it is no record; its bytes are damaged"):
        collect(store, tmp_path)
    assert [fault.what for fault in verify(store).faults] == ["it is no record; its bytes are damaged"]


# Verification


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


# Formats


@pytest.fixture
def next_format(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, Callable[[Storage], None]]]:
    """This version reads format 3; one can come from 1 and 2."""
    made: dict[int, Callable[[Storage], None]] = {
        1: lambda storage: storage.replace("two.json", b"2"),
        2: lambda storage: storage.replace("three.json", storage.read("two.json") + b"3"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(stored, "FORMAT", 3)
        patch.setattr(stored, "MIGRATIONS", made)
        yield made


def older(tmp_path: Path) -> str:
    (tmp_path / "format.json").write_text('{"format": 1}')
    return str(tmp_path)


@pytest.mark.usefixtures("next_format")
def test_a_store_of_an_earlier_format_is_brought_to_the_present_one(tmp_path: Path) -> None:
    url = older(tmp_path)
    with pytest.raises(StoreError, match="has format 1; this version.*format 3\n.*`freshtune store migrate`"):
        Store(url, tmp_path / "cache")
    assert migrate(url) == (1, 3)
    assert (tmp_path / "three.json").read_bytes() == b"23"
    assert Store(url, tmp_path / "cache").record("ab" * 32) is None
    assert migrate(url) == (3, 3)


def test_a_killed_migration_goes_on_from_the_format_that_was_reached(
    tmp_path: Path, next_format: dict[int, Callable[[Storage], None]]
) -> None:
    url = older(tmp_path)

    def die(_: Storage) -> None:
        raise Killed

    second, next_format[2] = next_format[2], die
    with pytest.raises(Killed):
        migrate(url)
    assert json.loads((tmp_path / "format.json").read_text()) == {"format": 2}
    next_format[2] = second
    assert migrate(url) == (2, 3)


def test_there_is_no_way_from_a_newer_or_an_unknown_format(
    tmp_path: Path, next_format: dict[int, Callable[[Storage], None]]
) -> None:
    url = older(tmp_path)
    del next_format[2]
    with pytest.raises(StoreError, match="use the version of freshtune that wrote it"):
        Store(url, tmp_path / "cache")
    (tmp_path / "format.json").write_text('{"format": 99}')
    with pytest.raises(StoreError, match="no way from format 99 to format 3"):
        migrate(url)
    with pytest.raises(StoreError, match="there is no store here"):
        migrate(str(tmp_path / "nothing"))
