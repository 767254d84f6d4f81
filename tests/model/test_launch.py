"""Starting one process for each device: what goes wrong in any of them stops all, and is said once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.errors import ConfigurationError, DataError, FreshtuneError, StoreError, TransientError
from assets.model import launch
from assets.model.devices import LOST
from assets.progress import Event
from assets.store.program import PARENT, Launcher, result_file, run_program, start_program
from assets.store.step import Build, Measurements, Step
from tests.conftest import MakeBuild

ROOTS = ["assets.store.digests:digest_json"]
PROGRAM = """
from assets.model.launch import together
from assets.store.program import main
raise SystemExit(main(together))
"""


@pytest.fixture
def build(make_build: MakeBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), str(tmp_path)]))
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    (tmp_path / "tiny_program.py").write_text(PROGRAM)
    return make_build()


def run(build: Build, mode: str, launcher: Launcher = start_program) -> Measurements:
    step = Step("tiny", "works", "tests.model.tiny_work:work", program="tiny_program")
    return run_program(step, build, {"mode": mode, "devices": 2}, ROOTS, launcher)


def gone(build: Build) -> bool:
    return not any(alive(int((build.work / f"started-{rank}").read_text())) for rank in range(2))


def alive(process: int) -> bool:
    import psutil

    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE


def test_a_process_for_each_device_and_the_first_speaks(build: Build, events: list[Event]) -> None:
    assert run(build, "works") == {"mode": "works"}
    assert [event["text"] for event in events] == ["0 of 2, 2 threads"]
    assert (build.content / "a.txt").exists()


def test_what_any_of_them_raises_is_raised_here_and_said_once(build: Build, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="a.csv: row 3 is bad\n  fix: mend it"):
        run(build, "fails")

    assert gone(build)
    assert "".join(capfd.readouterr()) == ""


def test_one_that_is_killed_stops_all(build: Build, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TransientError, match="process 1 of the 2 that train together was ended by SIGKILL, so all "):
        run(build, "killed")

    assert gone(build)
    assert "".join(capfd.readouterr()) == ""


def test_they_stop_when_whoever_started_the_program_is_gone(build: Build) -> None:
    code = (
        "import sys, time, subprocess, os\n"
        f"subprocess.Popen([sys.executable, '-m', 'tiny_program', sys.argv[1]], env={{**os.environ, {PARENT!r}: "
        "str(os.getpid())})\n"
        "time.sleep(60)"
    )
    with pytest.raises(StoreError, match="ended without a result"):
        run(build, "waits", lambda command, environment: None)
    path = build.work / "spec.json"
    parent = subprocess.Popen([sys.executable, "-c", code, str(path)])
    deadline = time.monotonic() + 120
    while len(list(build.work.glob("started-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()

    while not gone(build):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("devices", "gpus", "count"), [(None, 4, 1), (1, 0, 1), ("all", 4, 4), ("all", 0, 1), (3, 4, 3), (2, 0, 2)]
)
def test_how_many_processes(monkeypatch: pytest.MonkeyPatch, devices: Any, gpus: int, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(launch, "cores", lambda: 2)

    assert launch.number_of(devices) == count


@pytest.mark.parametrize(("gpus", "there"), [(2, "2 GPUs"), (0, "2 cores and no GPU")])
def test_more_devices_than_there_are(monkeypatch: pytest.MonkeyPatch, gpus: int, there: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(launch, "cores", lambda: 2)

    with pytest.raises(
        ConfigurationError,
        match=rf"training.devices: 3 devices, but this machine has {there} \(accepted: 1 to 2, or",
    ):
        launch.number_of(3)


def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed: dict[int, int], said: dict[int, Any]) -> bool:
    """What `together` makes of exit codes and results."""

    def ran(command: list[str], count: int) -> dict[int, int]:
        for rank, result in said.items():
            result_file(tmp_path, rank).write_text(json.dumps(result))
        return failed

    monkeypatch.setattr(launch, "_run", ran)
    monkeypatch.setattr(launch, "number_of", lambda devices: 3)
    return launch.together({"arguments": {}, "work": str(tmp_path)}, ["program"])


def error(kind: type[FreshtuneError]) -> dict[str, Any]:
    return {"error": {"type": kind.__name__, "what": f"a {kind.__name__}", "where": "", "fix": ""}}


def test_why_it_failed_goes_before_who_was_told_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError):
        left(tmp_path, monkeypatch, {0: 1, 1: LOST, 2: 1}, {0: error(TransientError), 2: error(DataError)})


def test_those_who_lost_the_others_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TransientError, match="process 2 of the 3 that train together was ended by SIGKILL"):
        left(tmp_path, monkeypatch, {0: LOST, 1: -signal.SIGTERM, 2: -signal.SIGKILL}, {})
    with pytest.raises(TransientError, match="the 3 processes that train together lost each other"):
        left(tmp_path, monkeypatch, dict.fromkeys(range(3), LOST), {})


def test_a_result_counts_only_if_none_has_crashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert left(tmp_path, monkeypatch, {}, {0: {"measurements": {}}})
    assert result_file(tmp_path, 0).exists()
    assert left(tmp_path, monkeypatch, {1: 1, 2: -signal.SIGKILL}, {0: {"measurements": {}}})
    assert not result_file(tmp_path, 0).exists()


def test_a_result_of_an_earlier_try_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result_file(tmp_path, 1).write_text(json.dumps(error(StoreError)))
    assert left(tmp_path, monkeypatch, {}, {0: {"measurements": {}}})
