"""The store's promises on a server that speaks S3, over HTTP and through all layers of the client with their retries.

The server loses answers on demand: it does what it is asked, or not, and closes the connection, as a bad network does.
"""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from assets.progress import Event
from assets.store import ingredients, lease
from assets.store.lease import live
from assets.store.step import Build, Measurements
from assets.store.storage import BucketStorage
from tests.project import PATIENCE, ROOT
from tests.staleness.faulty import Scenario, run
from tests.staleness.test_faults import FUNCTIONS, attempts, check
from tests.store import tiny_chain
from tests.system.buckets import Server, served

pytestmark = pytest.mark.system

BUCKET = "freshtune"
BEAT, STANDSTILL = 0.1, 2.0
"""Seconds between the beats of a lease, and without one after which it is taken over; for processes of these tests."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of our own, which `s3://` means."""
    with served() as server:
        fsspec.filesystem("s3").mkdir(BUCKET)
        yield server


@pytest.fixture
def url(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where nothing is yet."""
    # The client waits a random part of a second before it asks again.
    monkeypatch.setattr(random, "random", lambda: 0.0)
    server.lost.clear()
    yield f"s3://{BUCKET}/{uuid.uuid4().hex}"
    server.network = "whole"


@pytest.fixture(params=["whole", "lossy"])
def storage(request: pytest.FixtureRequest, server: Server, url: str) -> BucketStorage:
    """A storage on the server, behind a network that is whole, and behind one that loses answers."""
    server.network = request.param
    return BucketStorage(url)


def together(work: Callable[[int], None], count: int) -> None:
    """Call a function in so many threads, with numbers from 0."""
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_of_many_that_create_a_name_at_once_one_does(storage: BucketStorage) -> None:
    created: list[int] = []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        if storage.create("leases/key/000000.json", json.dumps(number).encode()):
            created.append(number)

    together(create, 8)
    assert [json.loads(storage.read("leases/key/000000.json"))] == created


def test_replaced_and_removed_files_are_seen_so_at_once(storage: BucketStorage) -> None:
    assert storage.children("references") == []
    storage.replace("references/a.json", b"1")
    storage.replace("references/a.json", b"2")
    assert (storage.children("references"), storage.read("references/a.json")) == (["a.json"], b"2")
    assert not storage.create("references/a.json", b"3")
    storage.remove("references")
    storage.remove("references")
    assert storage.children("references") == []
    with pytest.raises(FileNotFoundError):
        storage.read("references/a.json")


def test_a_published_folder_is_fetched_whole(storage: BucketStorage, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "a.txt").write_bytes(b"abc")
    files = {"below/a.txt": {"sha256": "ab" * 32, "size": 3}}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))
    storage.publish(folder, "objects/ab/abab")
    assert storage.sizes("objects/ab/abab") == {"below/a.txt": 3}
    assert (storage.local("objects/ab/abab", tmp_path / "cache") / "below" / "a.txt").read_bytes() == b"abc"


def test_what_cannot_be_reached_is_not_taken_for_gone(server: Server, url: str) -> None:
    storage = BucketStorage(url)
    storage.replace("records/a.json", b"1")
    server.network = "down"
    looks: list[Callable[[], object]] = [
        lambda: storage.read("records/a.json"),
        lambda: storage.read_all(["records/a.json", "records/b.json"]),
        lambda: storage.children("records"),
        lambda: storage.create("records/a.json", b"2"),
    ]
    for look in looks:
        with pytest.raises(OSError, match=url) as raised:
            look()
        assert not isinstance(raised.value, FileNotFoundError)


# Leases


def wait_for(condition: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < PATIENCE
        time.sleep(0.05)


def beats(url: str) -> int:
    """How often the holder of the only lease has beaten."""
    storage = BucketStorage(url)
    names = [file.name for file in storage.tree("leases") if file.name.endswith(".beat")]
    return sum(json.loads(storage.read(f"leases/{name}"))["count"] for name in names)


@pytest.mark.timeout(60)
def test_of_many_threads_that_want_a_lease_at_once_one_holds_it(
    storage: BucketStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.01)
    start = threading.Barrier(4)
    holders: list[int] = []
    seen: list[list[int]] = []

    def hold(number: int) -> None:
        start.wait()
        with lease.lease(storage, "key", lambda _: None, []):
            holders.append(number)
            time.sleep(0.2)
            seen.append(list(holders))
            holders.remove(number)

    together(hold, 4)
    assert sorted(seen) == [[number] for number in range(4)]


def test_a_holder_that_cannot_reach_the_server_for_a_while_beats_on(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    storage = BucketStorage(url)
    with lease.lease(storage, "key", pytest.fail, []):
        wait_for(lambda: beats(url) > 0)
        server.network = "down"
        # Longer than the client goes on asking for one beat.
        for _ in range(2):
            with pytest.raises(OSError, match=url):
                beats(url)
        server.lost.clear()
        wait_for(lambda: any(lost.startswith("PUT ") for lost in server.lost))
        server.network = "whole"
        counted = beats(url)
        wait_for(lambda: beats(url) > counted)
    assert storage.children("leases") == []


def build_letters(folder: str, url: str) -> None:
    """Build `letters` in a process of its own, saying what happens a line each; goes on when it is told."""

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def hear(event: Event) -> None:
        if "another run" in event.get("text", ""):
            say(event["text"])

    def letters(build: Build, *, sample: int | None) -> Measurements:
        say("computing")
        sys.stdin.readline()
        return made(build, sample=sample)

    made = tiny_chain.letters
    vars(tiny_chain)["letters"] = letters
    vars(ingredients)["code_pieces"] = lambda roots: dict.fromkeys(roots, "1")
    lease.BEAT_SECONDS, lease.PATIENCE_SECONDS, lease.POLL_SECONDS = BEAT, STANDSTILL, 0.05
    result = Scenario(Path(folder), url, repair=False).runner(sink=hear).run_step("letters")
    say(f"{result.action} {result.record.content}")


class Builder:
    """A process that builds `letters`, as on a machine of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        for line in self.process.stdout:
            self._lines.put(line.strip())
        self._lines.put(f"ended: {self.process.stderr.read()}")

    def said(self) -> str:
        """The next line that it says."""
        return self._lines.get(timeout=PATIENCE)

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self._reader.join()
        with self.process:
            pass


@pytest.fixture
def start(server: Server, url: str, tmp_path: Path) -> Iterator[Callable[[], Builder]]:
    """Start a builder: `start()`."""
    builders: list[Builder] = []

    def start() -> Builder:
        folder = tmp_path / str(len(builders))
        folder.mkdir()
        Scenario(folder, url, repair=False).prepare()
        code = "import sys; from tests.system.test_s3 import build_letters; build_letters(*sys.argv[1:])"
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder), url],
            cwd=ROOT,
            env={**os.environ, **server.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        builders.append(Builder(process))
        return builders[-1]

    yield start
    for builder in builders:
        builder.end()


def waiting(holder: Builder) -> str:
    said = f"process {holder.process.pid} on {socket.gethostname()}"
    return f"another run computes this already ({said}); waiting"


def assert_built_once(url: str, tmp_path: Path) -> None:
    scenario = Scenario(tmp_path / "0", url, repair=False)
    storage = BucketStorage(url)
    assert scenario.look() == ([], ["letters"])
    assert len(list(storage.tree("records"))) == 1
    assert list(live(storage)) == []


def test_of_two_processes_one_computes_and_the_other_reuses(
    url: str, start: Callable[[], Builder], tmp_path: Path
) -> None:
    one = start()
    assert one.said() == "computing"
    other = start()
    assert other.said() == waiting(one)
    # Longer than a standstill: the beat keeps the lease.
    wait_for(lambda: beats(url) > 1.5 * STANDSTILL / BEAT)
    one.go_on()
    action, digest = one.said().split()
    assert action == "built"
    assert other.said() == f"reused {digest}"
    assert_built_once(url, tmp_path)


def test_a_killed_process_is_followed_by_the_one_that_waits(
    url: str, start: Callable[[], Builder], tmp_path: Path
) -> None:
    one = start()
    assert one.said() == "computing"
    other = start()
    assert other.said() == waiting(one)
    one.process.kill()
    one.process.wait()
    assert other.said() == "computing"
    other.go_on()
    assert other.said().startswith("built ")
    assert_built_once(url, tmp_path)


def test_a_process_that_stood_still_is_followed_and_adopts_what_its_follower_built(
    url: str, start: Callable[[], Builder], tmp_path: Path
) -> None:
    one = start()
    assert one.said() == "computing"
    # As a machine that sleeps: alive, but without a beat.
    one.process.send_signal(signal.SIGSTOP)
    other = start()
    assert other.said() == waiting(one)
    assert other.said() == "computing"
    other.go_on()
    built = other.said()
    one.process.send_signal(signal.SIGCONT)
    one.go_on()
    assert one.said() == built
    assert_built_once(url, tmp_path)


# Runs


@pytest.mark.timeout(60)
def test_a_run_whose_writes_all_lose_their_first_answer_does_everything_once(
    server: Server, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingredients, "code_pieces", lambda roots: dict.fromkeys(roots, "1"))
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", STANDSTILL)
    scenario = Scenario(tmp_path, url, repair=False)
    scenario.prepare()
    tiny_chain.calls.clear()
    events: list[Event] = []
    server.network = "lossy"
    runner = scenario.runner(sink=events.append)
    run(runner)
    assert len(server.lost) > len(FUNCTIONS)
    assert sorted(tiny_chain.calls) == sorted(FUNCTIONS)
    # It never waited for itself.
    assert [event["text"] for event in events if event["kind"] == "message"] == ["3 words"]
    assert [entry.fields["decision"] for entry in runner.store.log("default", "tiny")] == ["promoted"]
    assert scenario.look() == ([], sorted(FUNCTIONS))
    assert len(list(runner.store.storage.tree("records"))) == len(FUNCTIONS)
    assert list(runner.store.storage.tree("leases")) == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("repair", [False, True], ids=["from nothing", "repairing"])
@pytest.mark.parametrize("fault", ["kill", "raise", "late"])
def test_a_run_outlives_a_fault_at_every_operation(server: Server, url: str, fault: str, *, repair: bool) -> None:
    """`late`: the operation was done, but its answer was lost."""
    options = [fault, "--store", url, *(["--repair"] if repair else [])]
    check(attempts(*options, processes=2, environment=server.environment), repair=repair)
