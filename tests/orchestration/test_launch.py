"""Tests of runs that the command line launches in its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml

from assets.orchestration import execution, launch, runs
from assets.orchestration.launch import RunOutcome
from tests.orchestration.pipeline import Tiny

ALL = ("raw", "model", "release")
ROOT = Path(__file__).parents[2]


def launched(tiny: Tiny, *steps: str, sample: int | None = None, forced: tuple[str, ...] = ()) -> RunOutcome:
    return launch.launch(
        tiny.opener, tiny.home, steps=steps or ALL, sample=sample, forced=forced, sink=tiny.events.append
    )


@contextmanager
def opened(tiny: Tiny) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(tiny.home.dagster)) as instance:
        yield instance


def test_run_is_recorded_and_its_results_are_returned(tiny: Tiny, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = launched(tiny)
    assert (outcome.success, outcome.error, outcome.exit_code) == (True, None, 0)
    assert [(result.step, result.action) for result in outcome.results] == [(step, "built") for step in ALL]
    assert {event["step"] for event in tiny.events} >= {"raw", "model"}
    assert capfd.readouterr() == ("", "")
    with opened(tiny) as instance:
        run = instance.get_run_by_id(outcome.run_id)
        assert run is not None
        assert (run.job_name, run.status) == ("tiny_job", dg.DagsterRunStatus.SUCCESS)
        assert run.tags[".dagster/repository"] == "__repository__@freshtune"
        assert instance.get_latest_materialization_event(dg.AssetKey(["tiny", "model"])) is not None
    settings = yaml.safe_load((tiny.home.dagster / "dagster.yaml").read_text())
    assert settings["telemetry"] == {"enabled": False}
    assert settings["concurrency"]["pools"] == {"granularity": "op", "default_limit": 1}


def test_only_selected_steps_run(tiny: Tiny) -> None:
    assert [result.step for result in launched(tiny, "raw").results] == ["raw"]
    forced = launched(tiny, "raw", "model", forced=("raw",))
    assert [(result.step, result.action) for result in forced.results] == [("raw", "built"), ("model", "built")]


def test_sample_runs_apart(tiny: Tiny) -> None:
    outcome = launched(tiny, "raw", "model", sample=2)
    assert outcome.success
    assert [result.step for result in outcome.results] == ["raw", "model"]
    assert outcome.results[0].measurements["rows"] == 2
    assert tiny.runner().standing("raw") is None
    with opened(tiny) as instance:
        run = instance.get_run_by_id(outcome.run_id)
        assert run is not None
        assert (run.job_name, run.tags[execution.SAMPLE_TAG]) == ("tiny_sample", "2")


def test_error_is_told_once_in_plain_words(tiny: Tiny, capfd: pytest.CaptureFixture[str]) -> None:
    tiny.write("rows.txt", "a broken")
    outcome = launched(tiny)
    assert not outcome.success
    assert (outcome.error, outcome.exit_code) == ("rows.txt, line 1: a broken row\n  fix: mend it", 1)
    assert outcome.results == ()
    assert capfd.readouterr() == ("", "")


def test_exit_code_is_that_of_the_error(tiny: Tiny) -> None:
    outcome = launched(tiny, "raw", forced=("modell",))
    assert outcome.exit_code == 2


def test_failed_check_is_told_in_plain_words(tiny: Tiny) -> None:
    tiny.changed = {"splits": {"min_rows_per_label": 9}}
    outcome = launched(tiny)
    assert outcome.error is not None
    assert outcome.error.startswith("raw: check enough failed: 3 of 9 rows\n  fix: mend the data or the configuration")
    assert outcome.exit_code == 1
    assert [result.step for result in outcome.results] == ["raw"]


def test_bug_is_told_with_its_step(tiny: Tiny) -> None:
    tiny.write("rows.txt", "a bug")
    outcome = launched(tiny)
    assert outcome.error == "tiny: step raw failed: ZeroDivisionError: a bug"
    assert outcome.exit_code == 1


def test_settings_of_the_instance_are_kept(tiny: Tiny) -> None:
    tiny.home.dagster.mkdir(parents=True)
    (tiny.home.dagster / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    launch.dagster_home(tiny.home)
    assert (tiny.home.dagster / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_ui_command_serves_the_same_instance_on_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHTUNE_HOME", str(tmp_path / "home"))
    command, environment = launch.ui_command(4000)
    assert command[1:] == ["-m", "dagster", "dev", "-w", str(ROOT / "workspace.yaml"), "-h", "127.0.0.1", "-p", "4000"]
    assert environment["DAGSTER_HOME"] == str(tmp_path / "home" / "dagster")
    assert (tmp_path / "home" / "dagster" / "dagster.yaml").exists()


SCRIPT = """
import sys
from pathlib import Path
from assets.orchestration import launch
from assets.store import ingredients, program
from tests.chains import pieces
from tests.orchestration import chain
ingredients.code_pieces = program.code_pieces = pieces
from functools import partial
home = chain.settings(Path(sys.argv[1]) / "home")
opener = partial(chain.opened, home, chain.configuration(Path(sys.argv[1]) / "source", training={"epochs": 99}))
sink = partial(print, flush=True)
outcome = launch.launch(opener, home, steps=("raw", "model"), sample=None, forced=(), sink=sink)
print(outcome.run_id, outcome.success, outcome.exit_code, outcome.error, [result.step for result in outcome.results])
"""


@contextmanager
def training(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process in the midst of a training that takes for ever."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "training for ever" in line:
                break
        else:
            raise AssertionError(process.communicate()[1])
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_is_cancelled_and_told(tiny: Tiny, tmp_path: Path, number: signal.Signals) -> None:
    with training(tmp_path) as process:
        [program] = [
            each for each in psutil.Process(process.pid).children() if "tests.orchestration.program" in each.cmdline()
        ]
        process.send_signal(number)
        said, errors = process.communicate(timeout=60)
    run_id, success, code, error = said.strip().splitlines()[-1].split(" ", 3)
    assert (success, code) == ("False", "130")
    assert error == "stopped; what was finished is kept, and the next run goes on from there ['raw']"
    assert process.returncode == 0
    assert errors == ""
    _gone(program)
    with opened(tiny) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.CANCELED
    assert launched(tiny).success


def _gone(process: psutil.Process) -> None:
    process.wait(timeout=30)


def test_killed_run_is_cancelled_by_the_next_and_holds_nothing(tiny: Tiny, tmp_path: Path) -> None:
    with training(tmp_path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    started = time.monotonic()
    assert launched(tiny).success
    assert time.monotonic() - started < 60
    with opened(tiny) as instance:
        statuses = [run.status for run in instance.get_runs()]
    assert statuses == [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED]


def test_run_that_waits_for_the_accelerator_says_so(tiny: Tiny, tmp_path: Path) -> None:
    with training(tmp_path) as process:
        waiting: list[str] = []

        def sink(event: dict[str, object]) -> None:
            if "waiting" in str(event.get("text")):
                waiting.append(f"{event['step']}: {event['text']}")
                process.send_signal(signal.SIGTERM)

        outcome = launch.launch(tiny.opener, tiny.home, steps=ALL, sample=None, forced=(), sink=sink)
    assert outcome.success
    with opened(tiny) as instance:
        [cancelled] = [run.run_id for run in instance.get_runs() if run.status == dg.DagsterRunStatus.CANCELED]
    assert waiting[0].startswith(f"model: waiting for run {cancelled}, which holds the accelerator")


def test_run_of_a_living_process_is_left_alone(tiny: Tiny) -> None:
    launched(tiny, "raw")
    with opened(tiny) as instance:
        job = tiny.definitions().resolve_job_def("tiny_job")
        run = instance.create_run_for_job(
            job, status=dg.DagsterRunStatus.STARTED, run_id="00000000-0000-0000-0000-000000000001"
        )
        instance.add_run_tags(run.run_id, {runs.PROCESS_TAG: runs.process_of(run.run_id)})
        # A run that was launched again from the UI copies the tags of a dead one.
        copied = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        instance.add_run_tags(copied.run_id, {runs.PROCESS_TAG: runs.process_of("gone").replace(str(os.getpid()), "1")})
        runs.end_orphans(instance)
        for each in (run, copied):
            found = instance.get_run_by_id(each.run_id)
            assert found is not None
            assert found.status == dg.DagsterRunStatus.STARTED
