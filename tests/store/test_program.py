from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from assets.errors import ConfigurationError, DataError, StoreError, TransientError
from assets.progress import Event, Progress
from assets.store import program
from assets.store.parts import Parts
from assets.store.program import PARENT, STOP, THREADS, cores, run_program, start_program, threads_each
from assets.store.step import Build, Measurements, Observation, ObservedFile, Step
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.store.tiny_work import PART
from tests.tiny import make_object

ROOTS = ["assets.store.digests:digest_json"]

PROGRAM = """
import sys
from assets.store.program import main
raise SystemExit(main())
"""


@pytest.fixture
def build(make_build: MakeBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    (tmp_path / "b.txt").write_text("before ")
    source = tmp_path / "s.txt"
    source.write_text("source")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), str(tmp_path)]))
    (tmp_path / "tiny_program.py").write_text(PROGRAM)
    seen = Observation("source", "s", "1", (ObservedFile("s.txt", str(source), "2", 6),))
    return make_build(inputs={"before": tmp_path}, externals={"source": seen})


def step() -> Step:
    return Step("tiny", "works", "tests.store.tiny_work:work", program="tiny_program")


def test_a_program_fills_the_folders_and_its_progress_is_followed(build: Build, events: list[Event]) -> None:
    assert run_program(step(), build, {"mode": "works"}, ROOTS, start_program) == {"mode": "works"}
    assert (build.content / "a.txt").read_text() == "before source"
    assert [event["kind"] for event in events] == ["start", "advance", "advance", "end"]
    assert {event["step"] for event in events} == {"tiny"}
    assert events[2]["values"] == {"loss": 0.5}


def test_a_program_reads_the_objects_that_were_observed_and_no_others(build: Build, tmp_path: Path) -> None:
    (tmp_path / "o.txt").write_text("an object")
    seen = {"seen": Observation("input", "promotion log", "1", objects=("d",), lost=("e",))}
    given = replace(build, externals=seen, stored=lambda _: tmp_path)
    assert run_program(step(), given, {"mode": "reads"}, ROOTS, start_program) == {"objects": ["d"]}
    assert (build.content / "a.txt").read_text() == "an object"
    spec = json.loads((build.trace / "spec.json").read_text())
    assert spec["stored"] == {"d": str(tmp_path)}


def test_what_the_function_raises_is_raised_here(build: Build) -> None:
    with pytest.raises(DataError, match="a.csv: row 3 is bad\n  fix: mend it"):
        run_program(step(), build, {"mode": "fails"}, ROOTS, start_program)


def test_a_file_tells_a_program_to_stop(build: Build) -> None:
    (build.work / STOP).touch()  # of another time
    sink = lambda event: (build.work / STOP).touch() if event["kind"] == "message" else None  # noqa: E731
    with pytest.raises(TransientError, match="stopped"):
        run_program(step(), replace(build, progress=Progress("tiny", sink)), {"mode": "stops"}, ROOTS, start_program)


def test_a_killed_program_is_said(build: Build) -> None:
    with pytest.raises(StoreError, match="the program of step tiny ended without a result"):
        run_program(step(), build, {"mode": "killed"}, ROOTS, start_program)


def test_a_result_of_an_earlier_try_is_not_taken_for_this_one(build: Build) -> None:
    run_program(step(), build, {"mode": "works"}, ROOTS, start_program)
    with pytest.raises(StoreError, match="ended without a result"):
        run_program(step(), build, {"mode": "killed"}, ROOTS, start_program)


def test_code_other_than_the_specs_is_refused(build: Build) -> None:
    def launch(command: Sequence[str], environment: Mapping[str, str]) -> None:
        path = Path(command[-1])
        spec = json.loads(path.read_text())
        path.write_text(json.dumps(spec | {"code": "0" * 64}))
        start_program(command, environment)

    with pytest.raises(StoreError, match="the code of this program is not the code that its spec names"):
        run_program(step(), build, {"mode": "works"}, ROOTS, launch)
    assert not (build.content / "a.txt").exists()


def test_the_spec_in_the_trace_runs_by_hand(build: Build, tmp_path: Path) -> None:
    run_program(step(), build, {"mode": "works"}, ROOTS, start_program)
    spec = build.trace / "spec.json"
    command = [sys.executable, "-m", "tiny_program", str(spec), "--output", str(tmp_path / "try")]
    subprocess.run(command, check=True, cwd=Path.cwd())
    assert (tmp_path / "try" / "content" / "a.txt").read_text() == "before source"


def test_a_program_makes_and_finds_parts_in_the_store_of_who_started_it(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "own"), tmp_path / "own-cache")
    words = make_object(store, {"texts.feather": pa.table({"text": ["a", "b"]})})
    build = replace(build, inputs={"words": store.open("objects", words)})

    def asked() -> tuple[Measurements, Path, int]:
        measured = run_program(step(), build, {"mode": "asks"}, ROOTS, start_program, store)
        part = Path((build.content / "part.txt").read_text())
        return measured, part, (part / "positions.feather").stat().st_mtime_ns

    made = asked()
    assert asked() == made
    assert made[0] == {"rows": 2}
    # So does whoever asks in another process.
    monkeypatch.delattr("assets.splits.shard.positions")
    parts = Parts(store, build.work.parent, build.progress)
    assert parts(*PART, inputs={"prepared": words}).content == made[1]


def test_by_hand_it_has_no_parts(build: Build, store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="ended without a result"):
        run_program(step(), build, {"mode": "by hand"}, ROOTS, start_program, store)
    command = [sys.executable, "-m", "tiny_program", str(build.work / "spec.json"), "--output", str(tmp_path / "try")]
    subprocess.run(command, check=True, cwd=Path.cwd())
    assert (tmp_path / "try" / "content" / "a.txt").read_text() == "before source"


def test_a_program_stops_when_the_process_that_started_it_is_gone(build: Build, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from assets.store.program import run_program, start_program
from assets.store.step import Build
from assets.progress import Progress
from assets.store.step import Step
path = Path({str(tmp_path)!r})
build = Build(inputs={{}}, externals={{}}, content=path, trace=path, work=path / "w", progress=Progress("tiny"))
build.work.mkdir()
step = Step("tiny", "works", "tests.store.tiny_work:work", program="tiny_program")
run_program(step, build, {{"mode": "waits"}}, {ROOTS}, start_program)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path.cwd())
    started = tmp_path / "w" / "started"
    deadline = time.time() + 60
    while not started.exists() and time.time() < deadline:
        time.sleep(0.05)
    (child,) = _children(parent.pid)
    parent.kill()
    parent.wait()
    while _alive(child) and time.time() < deadline:
        time.sleep(0.05)
    assert not _alive(child)


def _children(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children()]


def _alive(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_by_hand_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PARENT, raising=False)
    before = {thread.name for thread in threading.enumerate()}
    program._stop_with_parent()
    assert {thread.name for thread in threading.enumerate()} == before


def test_a_half_written_line_of_progress_is_read_when_it_is_whole(tmp_path: Path) -> None:
    seen: list[Event] = []
    path = tmp_path / "progress.jsonl"
    with program._followed(path, seen.append):
        path.write_text('{"kind": "a"}\n{"ki')
        time.sleep(0.25)
        with path.open("a") as file:
            file.write('nd": "b"}\n')
    assert seen == [{"kind": "a"}, {"kind": "b"}]


def test_programs_share_the_cores_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(THREADS, raising=False)
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    assert cores() == 8
    assert [threads_each(count) for count in (1, 3, 9)] == ["8", "2", "1"]


def test_programs_share_the_threads_that_the_environment_gives_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, each in (("4", "2"), ("1", "1"), ("6,2", "3")):
        monkeypatch.setenv(THREADS, given)
        assert threads_each(2) == each
    monkeypatch.setenv(THREADS, "many")
    with pytest.raises(ConfigurationError, match=r"OMP_NUM_THREADS: 'many' is no number of threads \(accepted: 1 or m"):
        threads_each(2)
