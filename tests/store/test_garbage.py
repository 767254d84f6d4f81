from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import StoreError
from assets.store import garbage as module
from assets.store import marks
from assets.store.digests import canonical_json
from assets.store.garbage import Garbage, gc
from assets.store.listing import Amount
from assets.store.step import LogEntry
from assets.store.storage import Listed, LocalStorage
from assets.store.store import Record, Store
from assets.store.verification import verify
from tests.store.results import build, opened, publish, there

pytestmark = pytest.mark.usefixtures("no_grace")


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was written before the collection began is old enough, and every look is new."""
    monkeypatch.setattr(marks, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(marks, "LOOK_SECONDS", 0.0)


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


def test_parts_stay_while_what_they_were_made_of_stays_and_they_are_used(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, lost = build(store, "kept"), build(store, "lost")
    store.refer("default", "p", "step", kept)
    of_kept = build(store, "part of kept", step="room:function", inputs=(kept.content,))
    of_lost = build(store, "part of lost", step="room:function", inputs=(kept.content, lost.content))
    of_nothing = build(store, "shard", step="room:function")
    collect(store, tmp_path)
    assert [there(store, each) for each in (of_kept, of_lost, of_nothing)] == [True, False, True]
    monkeypatch.setattr(marks, "UNUSED_SECONDS", 0.0)
    collect(store, tmp_path)
    assert [there(store, each) for each in (of_kept, of_nothing)] == [False, True]


def test_what_was_written_lately_stays(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "GRACE_SECONDS", 0.4)
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
        patch.setattr(marks, "GRACE_SECONDS", 0.03)
        with store.lease("ab" * 32, pytest.fail, [read.content]):
            part = build(store, "part", step="room:function", inputs=("elsewhere",))
            gc(store, work=tmp_path / "work", keep=0, delete=True)
    assert store.fault("objects", read.content) is None
    assert there(store, part)
    assert not there(store, lost)


@pytest.mark.parametrize("use", ["reference", "record", "log"])
def test_what_came_into_use_after_the_first_look_stays(store: Store, tmp_path: Path, use: str) -> None:
    saved, before, lost = build(store, "saved"), build(store, "before"), build(store, "lost")
    store.refer("default", "p", "step", before)
    look, looks = marks.Marks.look, 0

    def use_it_after_the_first(self: Any) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            if use == "reference":
                store.refer("default", "p", "step", saved)
            elif use == "record":
                assert store.whole(saved)
            else:
                store.append("default", "p", LogEntry(0, {"champion": saved.content}))
        look(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marks.Marks, "look", use_it_after_the_first)
        collect(store, tmp_path)
    assert there(store, saved)
    assert not there(store, lost)
    # Nothing refers to it any more, but its record was left: it may not point to nothing.
    assert there(store, before)
    assert verify(store).notes == ()


@settings(deadline=None, derandomize=True, max_examples=30)
@given(data=st.data())
def test_nothing_reachable_goes_and_nothing_else_stays(data: st.DataObject, tmp_path_factory: Any) -> None:
    base = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marks, "GRACE_SECONDS", 0.0)
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


def sample(store: Store, environment: str, name: str) -> Record:
    """Build and decide as `freshtune run --sample 5` does."""
    record = build(store, name, configuration={"run.sample": 5})
    store.refer(environment, "p", "raw", record)
    store.append(environment, "p", LogEntry(0, {"champion": record.content}))
    return record


@pytest.mark.parametrize("kind", ["local", "bucket"])
def test_a_killed_collection_leaves_nothing_that_looks_whole_and_is_not(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "UNUSED_SECONDS", 0.0)
    deaths = 0
    for dies_at in range(1, 200):
        base = tmp_path / str(dies_at)
        store = opened(kind, base)
        kept, lost, forgotten = build(store, "kept"), build(store, "lost"), sample(store, "default-sample-5", "tried")
        store.refer("default", "p", "step", kept)
        time.sleep(0.02)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_listed", lambda path: [Listed(str(path), 0, time.time())])
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
        assert not there(store, forgotten)
        assert store.storage.children("promotions/default-sample-5/p") == []
        assert build(store, "lost").content == lost.content
        if mortal.left > 0:
            break
    assert deaths >= 5


def test_samples_are_forgotten_when_nobody_changed_them_for_long(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "UNUSED_SECONDS", 0.5)
    old = sample(store, "default-sample-5", "old")
    # An environment may be called like a sample's.
    whole = build(store, "whole")
    store.refer("sea-sample-5", "p", "raw", whole)
    store.append("sea-sample-5", "p", LogEntry(0, {"champion": whole.content}))
    time.sleep(0.6)
    new = sample(store, "default-sample-6", "new")
    shown = collect(store, tmp_path, delete=False)
    with store.lease("ab" * 32, pytest.fail, [old.content]):
        collect(store, tmp_path)
    assert store.reference("default-sample-5", "p", "raw") == old
    removed = collect(store, tmp_path)
    assert removed == Garbage(shown.garbage, shown.kept, deleted=True)
    assert removed.garbage["samples"].count == 1
    assert [there(store, each) for each in (old, new, whole)] == [False, True, True]
    assert store.reference("default-sample-5", "p", "raw") is None
    assert store.log("default-sample-5", "p") == ()
    assert verify(store).faults == ()


def test_what_is_published_under_the_same_name_meanwhile_stays(tmp_path: Path) -> None:
    store = opened("local", tmp_path)
    lost = build(store, "lost")
    folder = f"objects/{lost.content[:2]}/{lost.content}"
    unlink = os.unlink

    def publish_again(path: Any, **options: Any) -> None:
        patch.undo()
        unlink(path, **options)
        build(store, "lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", publish_again)
        store.storage.clear({folder: ["manifest.json", "b.txt", "sub/a.txt"]})
    assert store.fault("objects", lost.content, reading=True) is None
    store.storage.clear({folder: ["manifest.json", "b.txt", "sub/a.txt"]})
    assert not (tmp_path / "store" / folder).exists()


def test_leftovers_of_dead_processes_go(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "GRACE_SECONDS", 60.0)
    record = build(store, "kept")
    store.refer("default", "p", "step", record)
    hour, month = 3600.0, 31 * 86400.0
    killed, given_up, resumed = "cd" * 32, "de" * 32, "ef" * 32
    # Folders, how old they are, and whether they go.
    left: list[tuple[Path, float, bool]] = [
        (tmp_path / "cache" / "staging" / f"{socket.gethostname()}-4194304-{uuid.uuid4().hex}", 0.0, True),
        (tmp_path / "cache" / "staging" / f"elsewhere-1-{uuid.uuid4().hex}", hour, True),
        (tmp_path / "cache" / "staging" / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}", 0.0, False),
        (tmp_path / "work" / record.key, hour, True),
        (tmp_path / "work" / killed, hour, False),
        (tmp_path / "work" / given_up, month, True),
        (tmp_path / "work" / resumed, month, False),
    ]
    for path, age, _ in left:
        path.mkdir(parents=True)
        os.utime(path, (time.time() - age, time.time() - age))
    with store.lease(resumed, pytest.fail, []):
        found = gc(store, work=tmp_path / "work", delete=True)
    assert [not path.exists() for path, _, _ in left] == [goes for _, _, goes in left]
    assert (found.garbage["staging"].count, found.garbage["work"].count) == (2, 2)


def test_the_lease_of_a_dead_holder_goes_and_holds_nothing_back(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.storage.create("leases/dead/000000.json", canonical_json({"host": "elsewhere", "pid": 1, "uses": []}))
    lost = build(store, "lost")
    monkeypatch.setattr(marks, "GRACE_SECONDS", 0.02)
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
