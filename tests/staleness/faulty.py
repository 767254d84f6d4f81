"""Runs the tiny chain again and again, each time with a fault at the next operation of the store.

`python -m tests.staleness.faulty FAULT` prints one JSON object for each operation: what was struck, and what the next
run found and did. The first one is of a run that is not disturbed and tells all operations; the last one would strike
behind them. A process of its own, since it forks, and since an audit hook cannot be taken back. Faults are made at what
the operating system (or fsspec) is asked for, whatever the store's code looks like.

Between two changes of the disk it makes no difference where a process dies, so `kill` counts changes only. `raise`
counts what is read, listed and looked at too, but the same way to it through the store's code only once.
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import fsspec

from assets.config.home import Home
from assets.config.pipeline import Pipeline
from assets.progress import Sink, discard
from assets.store import ingredients, lease
from assets.store import storage as storage_module
from assets.store.runner import Runner
from assets.store.storage import MANIFEST, BucketStorage
from assets.store.store import Store
from tests.project import store_faults
from tests.store import tiny_chain

CHANGES = {"os.rename": (0, 2), "os.link": (0, 2), "os.remove": (0, 1), "os.mkdir": (0, 2), "os.rmdir": (0, 1)}
"""Audited changes of the disk: at which places of the event's arguments the path and its folder's descriptor are."""
CODE = str(Path(storage_module.__file__).parent)
DEPTH = 4
"""Calls of the store's own code that make two ways to an operation different."""
LOOKS = ("os.listdir", "os.scandir")
FSSPEC_CHANGES = ("pipe_file", "put_file", "rm")
FSSPEC_LOOKS = ("cat_file", "find", "ls", "get_file")
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where the stores are: a disk that others write to as well takes three times as long."""
OWN = re.compile(r"(-\d+-)?\b[0-9a-f]{32}\b")
"""What names of temporary files have of a process and of chance."""


class Striker:
    """Counts operations below a folder and strikes one of them.

    Attributes:
        kill: whether the process dies there; else the operation fails.
        at: number of the operation that is struck, counted from 1.
        said: file in which it is said what was struck, in the moment before.
        seen: what was counted.
    """

    def __init__(self, folder: Path, at: int, said: Path, *, kill: bool) -> None:
        self.folder, self.at, self.said, self.kill = str(folder), at, said, kill
        self.seen: list[str] = []
        self._places: set[tuple[str, tuple[tuple[str, int], ...]]] = set()

    def count(self, what: str, path: Any, half: Callable[[], object] | None = None, *, changes: bool = True) -> None:
        if (self.kill and not changes) or self._known(what):
            return
        self.seen.append(OWN.sub("*", f"{what} {path}".replace(self.folder, "")))
        if len(self.seen) != self.at:
            return
        self.said.write_text(self.seen[-1])
        if half is not None:
            half()
        if self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.EIO, "injected")

    def _known(self, what: str) -> bool:
        """Whether the operation was counted before on the same way through the code; of changes, each one counts."""
        if self.kill:
            return False
        way: list[tuple[str, int]] = []
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
            if frame.f_code.co_filename.startswith(CODE):
                way.append((frame.f_code.co_filename, frame.f_lineno))
        place = (what, tuple(way[:DEPTH]))
        known = place in self._places
        self._places.add(place)
        return known

    def holds(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and os.fsdecode(path).startswith(self.folder)

    def audit(self, event: str, given: tuple[Any, ...]) -> None:
        if event in CHANGES:
            path, descriptor = (given[at] for at in CHANGES[event])
            # Folders are deleted by names relative to a descriptor; nothing else is.
            made_already = event == "os.mkdir" and Path(path).is_dir()
            if self.holds(path) or descriptor != -1:
                self.count(event, path, changes=not made_already)
        elif event == "open" and self.holds(given[0]):
            changes = bool(given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            self.count("open to write" if changes else "open to read", given[0], changes=changes)
        elif event in LOOKS and self.holds(given[0]):
            self.count(event, given[0], changes=False)

    def watch_disk(self) -> None:
        opened, stat = io.open, os.stat

        def open_(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            found = opened(file, mode, *rest, **more)
            return _Written(self, file, found) if "w" in mode and self.holds(file) else found

        def stat_(path: Any, *rest: Any, **more: Any) -> Any:
            if self.holds(path):
                self.count("stat", path, changes=False)
            return stat(path, *rest, **more)

        def fsync(descriptor: int) -> None:
            # Not done: a killed process loses nothing that was written, and a disk takes its time.
            self.count("fsync", self.folder, changes=False)

        io.open, os.stat, os.fsync = open_, stat_, fsync  # type: ignore[assignment]
        sys.addaudithook(self.audit)

    def watch_bucket(self, storage: BucketStorage, *, late: bool) -> None:
        """Strike before an operation is asked for, or `late`: after a change was done and before the answer is here."""
        for name in FSSPEC_CHANGES if late else (*FSSPEC_CHANGES, *FSSPEC_LOOKS):
            setattr(storage._system, name, self._struck(name, getattr(storage._system, name), storage._root, late))

    def _struck(self, name: str, operation: Callable[..., Any], root: str, late: bool) -> Callable[..., Any]:
        def struck(*given: Any, **more: Any) -> Any:
            half = (lambda: operation(*given, **more)) if late else None
            there = str(given[1] if name == "put_file" else given[0]).replace(root, "")
            self.count(name, there, half, changes=name in FSSPEC_CHANGES)
            return operation(*given, **more)

        return struck


class _Written:
    """A file that is being written; when its write is struck, half of the data is on the disk."""

    def __init__(self, striker: Striker, path: Any, file: Any) -> None:
        self._striker, self._path, self._file = striker, path, file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> int:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._striker.count("write", self._path, half)
        return int(self._file.write(data))


def in_a_child(work: Callable[[], Any]) -> Any:
    """What work gives in a process of its own, or None if that was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            data = json.dumps(work()).encode()
        except BaseException as error:  # noqa: BLE001 - the parent shows it
            data = json.dumps({"failed": repr(error)}).encode()
        while data:
            data = data[os.write(writing, data) :]
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return json.loads(data) if data else None


class Scenario:
    """A chain that is built, or repaired and partly reused, on one kind of storage.

    Attributes:
        folder: of this scenario.
        url: of the store; None: in the folder.
        repair: whether everything was built before, and a setting was changed and an object damaged since.
    """

    def __init__(self, folder: Path, url: str | None, *, repair: bool) -> None:
        self.folder, self.repair = folder, repair
        self.store = url or str(folder / "home" / "store")

    def runner(self, salt: str = "", sink: Sink = discard) -> Runner:
        home = Home(self.folder / "home", self.store, "default", "", None, self.folder / "dagster")
        config = {"task": {"labels": ["a", "b"]}, "source": {"files": ["x"]}, "base_model": {"name": "m"}}
        return Runner(
            store=Store(self.store, home.path / "cache"),
            chain=tiny_chain.chain(self.folder / "source"),
            name="tiny",
            config=Pipeline.model_validate({**config, "splits": {"salt": salt}}),
            home=home,
            sink=sink,
        )

    def prepare(self) -> None:
        """Make what the run that is struck starts from."""
        (self.folder / "source").mkdir()
        for word in ("one", "two", "six"):
            (self.folder / "source" / word).write_text(word)
        if self.repair:
            runner = self.runner("old")
            run(runner)
            digest = content(runner, "letters")
            name = f"objects/{digest[:2]}/{digest}"
            storage = runner.store.storage
            (damaged,) = (file for file in storage.children(name) if file != MANIFEST)
            storage.remove(f"{name}/{damaged}")

    def prepare_like(self, other: Scenario) -> None:
        """Make what the run that is struck starts from, from what another scenario made in a store like this one."""
        shutil.copytree(other.folder, self.folder, dirs_exist_ok=True)
        if self.repair:
            source, target = BucketStorage(other.store), BucketStorage(self.store)
            files = source._system.cat(source._system.find(source._root))
            target._system.pipe({target._root + path.removeprefix(source._root): files[path] for path in files})

    def struck(self, at: int, *, kill: bool, late: bool) -> dict[str, Any]:
        """Run with a fault; what was counted, and what became of the run."""
        striker = Striker(self.folder / "home", at, self.folder / "struck", kill=kill)
        if "://" not in self.store:
            striker.watch_disk()
        try:
            runner = self.runner()
            if isinstance(runner.store.storage, BucketStorage):
                striker.watch_bucket(runner.store.storage, late=late)
            run(runner)
            end = "succeeded"
        except OSError as error:
            end = f"failed: {error}"
        # fsspec keeps its file systems, so the next run in this process has the same one.
        striker.at = 0
        return {"seen": list(striker.seen), "end": end}

    def next(self) -> dict[str, Any]:
        """Look at what was left, run again, and clear away what is not in the folder."""
        struck = self.folder / "struck"
        found: dict[str, Any] = {"struck": struck.read_text() if struck.exists() else None}
        faults, complete = self.look()
        tiny_chain.calls.clear()
        run(self.runner())
        runner = self.runner()
        found |= {
            "faults": faults,
            "complete": complete,
            "called": list(tiny_chain.calls),
            "left": list(runner.plan().to_run),
            "contents": {step: content(runner, step) for step in ("letters", "upper", "release")},
            "log": [entry.fields["decision"] for entry in runner.store.log("default", "tiny")],
            "faults_then": self.look()[0],
        }
        if isinstance(runner.store.storage, BucketStorage):
            runner.store.storage._system.rm(runner.store.storage._root, recursive=True)
        return found

    def look(self) -> tuple[list[str], list[str]]:
        """What is not whole in the store but for what was damaged on purpose; and what is `complete`."""
        runner = self.runner()
        store, storage = runner.store, runner.store.storage
        damaged = content(runner, "letters") if self.repair else "nothing"
        faults = {
            digest: store.fault(kind, digest)
            for kind in ("objects", "traces")
            # Files without a manifest are no object yet, and are in nobody's way.
            for _, digest, name in (file.name.split("/") for file in storage.tree(kind) if file.name.count("/") == 2)
            if name == MANIFEST
        }
        whole = {digest for digest, fault in faults.items() if fault is None}
        said = [f"{digest}: {fault}" for digest, fault in faults.items() if fault is not None and digest != damaged]
        if "://" not in self.store:
            said += [fault for fault in store_faults(Path(self.store)) if damaged[:12] not in fault]
        return said, self.complete(store, whole)

    def complete(self, store: Store, whole: set[str]) -> list[str]:
        """Functions whose result is recorded and whole, with today's settings; a decision, if the log has it."""
        keys = {file.name.split("/")[1] for file in store.storage.tree("records")}
        records = [record for record in map(store.record, keys) if record and {record.content, record.trace} <= whole]
        names = {
            record.ingredients["step"].rpartition(":")[2]
            for record in records
            if record.ingredients["configuration"].get("splits.salt", "") == ""
        }
        return sorted(names - {"release"} | ({"decide"} if len(store.log("default", "tiny")) > self.repair else set()))


def run(runner: Runner) -> None:
    for step in runner.plan().to_run:
        runner.run_step(step)


def content(runner: Runner, step: str) -> str:
    record = runner.stands_for(runner.step(step))
    assert record is not None
    return record.content


def main() -> None:
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    parser = argparse.ArgumentParser()
    parser.add_argument("fault", choices=["kill", "raise", "late"])
    parser.add_argument("--store", help="fsspec URL; a memory:// store lives in one process, so that cannot be killed")
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--every", type=int, default=1, help="strike each so many operations only")
    parser.add_argument("--first", type=int, default=1, help="number of the first operation that is struck")
    given = parser.parse_args()
    # Leases that a living process lost are taken over at once; no beat is counted among the operations.
    lease.PATIENCE_SECONDS, lease.POLL_SECONDS, lease.BEAT_SECONDS = 0.05, 0.01, 1000.0
    vars(ingredients)["code_pieces"] = lambda roots: dict.fromkeys(roots, "1")
    if given.store:
        fsspec.get_filesystem_class(given.store.partition(":")[0])
    tempfile.tempdir = MEMORY
    with tempfile.TemporaryDirectory() as warm, tempfile.TemporaryDirectory() as ready:
        # Whatever is imported on the way is imported once, here, and not in every child.
        imported = Scenario(Path(warm), "memory://warm", repair=True)
        imported.prepare()
        run(imported.runner())
        start = Scenario(Path(ready), "memory://start", repair=given.repair)
        start.prepare()
        operations = _attempt(start, given, 0)
        for at in range(given.first, operations + 2, given.every):
            _attempt(start, given, at)


def _attempt(start: Scenario, given: argparse.Namespace, at: int) -> int:
    """Strike one operation, look at what comes of it, and print it; how many operations there were."""
    with tempfile.TemporaryDirectory() as folder:
        # Processes that share the operations never share a store.
        url = f"{given.store}/{given.first}/{at}" if given.store else None
        scenario = Scenario(Path(folder), url, repair=given.repair)

        def disturbed() -> dict[str, Any]:
            if url is None:
                scenario.prepare()
            else:
                scenario.prepare_like(start)
            return scenario.struck(at, kill=given.fault == "kill", late=given.fault == "late")

        if scenario.store.startswith("memory://"):
            found: dict[str, Any] = in_a_child(lambda: disturbed() | scenario.next())
        else:
            found = (in_a_child(disturbed) or {"end": "killed"}) | in_a_child(scenario.next)
    sys.stdout.write(json.dumps({"at": at, **found}) + "\n")
    return len(found.get("seen", []))


if __name__ == "__main__":
    main()
