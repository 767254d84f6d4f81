"""What it costs to collect garbage from a store of 100,000 objects.

    python -m benchmarks.garbage --json

The store is that of 14,286 runs of the seven steps in twenty pipelines: 100,002 objects and as many traces and records,
500,000 files in 300,000 folders. One run in a hundred is garbage; the promotion logs name what the others made. Its
files are written directly, for speed; that they are what the store itself writes is shown by writing a few runs in both
ways, which must come out the same, byte for byte.

Measured is `freshtune store gc` as a whole process: looking; removing that one per cent, as a weekly collection would;
and, when the logs are gone, removing everything, beside `rm -rf` of the same store written once more in the same order.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assets.chain import CHAIN as EVERY
from assets.store.code import code_pieces
from assets.store.digests import canonical_json, digest_json
from assets.store.step import LogEntry, Step
from assets.store.storage import MANIFEST
from assets.store.store import FORMAT, MEASUREMENTS, Kind, Record, Store

ROOT = Path(__file__).resolve().parents[1]
RUNS, PIPELINES = 14_286, 20
GARBAGE = 100
"""Every so-manieth run is garbage."""
BETWEEN_SECONDS, SINCE_SECONDS = 600.0, 7200.0
"""Between one run and the next, and since the last one: past all grace."""


@dataclass(frozen=True)
class Result:
    """What one step of a run made.

    Attributes:
        record: as it is stored.
        content: files by name.
        trace: files by name.
    """

    record: Record
    content: Mapping[str, bytes]
    trace: Mapping[str, bytes]


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        number: 0, 1, 2, …
        results: by step, in the order of the chain.
        ended: Unix time, in seconds.
    """

    number: int
    results: Mapping[str, Result]
    ended: float

    @property
    def pipeline(self) -> str:
        """The pipeline's name."""
        return f"pipeline_{self.number % PIPELINES:02d}"

    @property
    def entry(self) -> LogEntry | None:
        """What the run appended to its promotion log; None if it is garbage."""
        if self.number % GARBAGE == GARBAGE - 1:
            return None
        *before, (_, release) = self.results.items()
        model = self.results["model"].record.content
        return LogEntry(
            sum(earlier % GARBAGE != GARBAGE - 1 for earlier in range(self.number % PIPELINES, self.number, PIPELINES)),
            {
                "kind": "decision",
                "key": release.record.key,
                "release": {"content": release.record.content, "trace": release.record.trace},
                "decision": "promoted",
                "challenger": model,
                "champion": model,
                "inputs": {name: result.record.content for name, result in before},
            },
        )


CHAIN = tuple(step for step in EVERY if step.wanted is None)
"""The steps that every pipeline has."""


def runs(count: int) -> Iterator[Run]:
    """So many runs, the last one two hours ago."""
    last = time.time() - SINCE_SECONDS
    code = {step.name: code_pieces([step.function]) for step in CHAIN}
    for number in range(count):
        ended = last - (count - 1 - number) * BETWEEN_SECONDS
        results: dict[str, Result] = {}
        for step in CHAIN:
            results[step.name] = result(step, code[step.name], number, ended, results)
        yield Run(number, results, ended)


def result(step: Step, code: Mapping[str, str], number: int, ended: float, before: Mapping[str, Result]) -> Result:
    """What a step makes in a run: small files that no other run makes."""
    content = {"result.json": canonical_json({"step": step.name, "run": number, "rows": list(range(20))})}
    trace = {MEASUREMENTS: canonical_json({"rows": 20, "run": number, "seconds": 1.0, "step": step.name})}
    ingredients = {
        "step": step.name,
        "code": code,
        "configuration": {f"{step.name}.seed": number},
        "environment": {},
        "inputs": {name: before[name].record.content for name in step.inputs} or {"source": f"{number:016x}"},
    }
    record = Record(
        key=digest_json(ingredients),
        content=digest_json({name: _sha256(data) for name, data in content.items()}),
        trace=digest_json({name: _sha256(data) for name, data in trace.items()}),
        ingredients=ingredients,
        files={},
        seconds=1.0,
        time=ended,
        by="someone@somewhere",
    )
    return Result(record, content, trace)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Two ways of writing


def write(store: Path, made: Iterator[Run]) -> int:
    """Write runs to a new store, file by file, with their times; returns how many objects there are."""
    Store(str(store), store / "cache")
    objects = 0
    for run in made:
        for step, each in run.results.items():
            record = each.record
            _folder(store, "objects", record.content, each.content, run.ended)
            _folder(store, "traces", record.trace, each.trace, run.ended)
            data = canonical_json(asdict(record))
            _file(f"{store}/records/{record.key[:2]}/{record.key}", "0000.json", data, run.ended)
            if run.entry is not None and step != "release":
                _file(f"{store}/references/production/{run.pipeline}", f"{step}.json", data, run.ended)
            objects += 1
        if run.entry is not None:
            name, data = f"{run.entry.number:08d}.json", canonical_json(dict(run.entry.fields))
            _file(f"{store}/promotions/production/{run.pipeline}", name, data, run.ended)
    return objects


def _folder(store: Path, kind: Kind, digest: str, files: Mapping[str, bytes], when: float) -> None:
    folder = f"{store}/{kind}/{digest[:2]}/{digest}"
    facts = {name: {"sha256": _sha256(data), "size": len(data)} for name, data in files.items()}
    manifest = canonical_json({"format": FORMAT, "digest": digest, "files": facts})
    for name, data in {**files, MANIFEST: manifest}.items():
        _file(folder, name, data, when, mode=0o444)


def _file(folder: str, name: str, data: bytes, when: float, *, mode: int = 0o644) -> None:
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - a path object costs more than the file
    descriptor = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    os.write(descriptor, data)
    os.utime(descriptor, (when, when))
    os.close(descriptor)


def write_by_store(store: Store, made: Iterator[Run]) -> None:
    """Write runs by the store's own means."""
    for run in made:
        for step, each in run.results.items():
            for kind, files in (("objects", each.content), ("traces", each.trace)):
                with store.staged() as folder:
                    (folder / "it").mkdir()
                    for name, data in files.items():
                        (folder / "it" / name).write_bytes(data)
                    store.publish("objects" if kind == "objects" else "traces", folder / "it")
            store.add_record(each.record, after=None)
            if run.entry is not None and step != "release":
                store.refer("production", run.pipeline, step, each.record)
        if run.entry is not None:
            store.append("production", run.pipeline, run.entry)


def prove(folder: Path) -> None:
    """Write a few runs in both ways; they must be the same, with the same permissions."""
    made = list(runs(GARBAGE + 1))
    write(folder / "directly", iter(made))
    write_by_store(Store(str(folder / "by-store"), folder / "cache"), iter(made))
    directly, by_store = (
        {
            path.relative_to(folder / name): (path.stat().st_mode, path.read_bytes())
            for path in (folder / name).rglob("*")
            if path.is_file()
        }
        for name in ("directly", "by-store")
    )
    assert directly == by_store


def prove_sample(store: Store) -> None:
    """Read one object and one trace of every prefix of a store; they must be whole."""
    for kind in ("objects", "traces"):
        prefixes = store.storage.children(kind)
        assert len(prefixes) == 256
        for prefix in prefixes:
            digest = store.storage.children(f"{kind}/{prefix}")[0]
            assert store.fault("objects" if kind == "objects" else "traces", digest, reading=True) is None, digest


# Measuring


def timed(*command: str, home: Path) -> tuple[float, str]:
    """Seconds of a command as a whole process, and its standard output."""
    # What was written before is on the disk, so that nobody waits for another's writes.
    os.sync()
    started = time.perf_counter()
    environment = {**os.environ, "FRESHTUNE_HOME": str(home), "FRESHTUNE_STORE": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - started, done.stdout


def gc(home: Path, *arguments: str) -> tuple[float, dict[str, Any]]:
    """Seconds of `freshtune store gc` as a whole process, and what it found."""
    seconds, said = timed(sys.executable, "-m", "assets.cli.main", "store", "gc", *arguments, "--json", home=home)
    return seconds, json.loads(said.splitlines()[-1])


def measure(folder: Path) -> dict[str, Any]:
    """Write the store twice; collect from one, and remove the other."""
    prove(folder / "proof")
    objects = write(folder / "home" / "store", runs(RUNS))
    prove_sample(Store(str(folder / "home" / "store"), folder / "home" / "cache"))
    looking, found = gc(folder / "home")
    again, _ = gc(folder / "home")
    weekly, removed = gc(folder / "home", "--yes")
    assert removed == {**found, "deleted": True}
    for name in ("references", "promotions"):
        shutil.rmtree(folder / "home" / "store" / name)
    write(folder / "other", runs(RUNS))
    for name in ("references", "promotions"):
        shutil.rmtree(folder / "other" / name)
    everything, gone = gc(folder / "home", "--keep", "0", "--yes")
    assert gone["kept"] == {}
    plain, _ = timed("rm", "-rf", str(folder / "other"), home=folder / "home")
    figures = (
        ("store gc over 100,000 objects, looking, seconds", max(looking, again), 30.0),
        ("store gc over 100,000 objects, removing 1 %, seconds", weekly, 30.0),
    )
    return {
        "machine": {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "objects": objects,
        "garbage_objects": found["garbage"]["objects"]["count"],
        "looking_seconds": [looking, again],
        "removing_garbage_seconds": weekly,
        "removing_everything_seconds": everything,
        "rm_seconds": plain,
        "targets": [
            {"name": name, "value": value, "target": goal, "met": value <= goal} for name, value, goal in figures
        ],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line only")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder))
    if not given.json:
        for target in result["targets"]:
            met = "met" if target["met"] else "MISSED"
            print(f"{met:6} {target['name']}: {target['value']:.4g} ({target['target']:g})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
