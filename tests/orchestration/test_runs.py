"""Tests of what became of runs, and of runs whose process is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.events import EngineEventData

from assets.errors import (
    BlockedError,
    ConfigurationError,
    DamagedError,
    DataError,
    FreshtuneError,
    StoreError,
    TransientError,
)
from assets.orchestration import runs
from assets.orchestration.runs import PROCESS_TAG, asked_for, end_orphans, process_of
from assets.store.runner import Runner
from tests.orchestration.pipeline import Tiny

STARTED, FAILURE, CANCELED = (
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)
AGAIN = {"dagster/max_retries": "2"}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """One that launches runs as processes of this machine."""
    (tmp_path / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\nrun_retries: {enabled: true, max_retries: 0}\n"
    )
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


@pytest.fixture
def gone() -> int:
    """A number that no process has any more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def begun(tiny: Tiny, instance: dg.DagsterInstance, pid: int | None, tags: dict[str, str]) -> str:
    """A run that said which process it runs in."""
    job = tiny.definitions().resolve_job_def("tiny_job")
    run = instance.create_run_for_job(job, status=STARTED, tags=tags)
    if pid is not None:
        instance.report_engine_event("Started process for run.", run, EngineEventData.in_process(pid))
    return run.run_id


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


@pytest.mark.parametrize(("tags", "ended"), [(AGAIN, FAILURE), ({}, CANCELED)])
def test_a_run_whose_process_was_killed_with_all_others_is_ended(
    tiny: Tiny, instance: dg.DagsterInstance, gone: int, tags: dict[str, str], ended: dg.DagsterRunStatus
) -> None:
    """Nobody else does: who watched the run was killed too, and everything would wait for it for ever."""
    run_id = begun(tiny, instance, gone, tags)
    alive, silent = begun(tiny, instance, os.getpid(), tags), begun(tiny, instance, None, tags)
    end_orphans(instance)
    assert status(instance, run_id) == ended
    assert status(instance, alive) == status(instance, silent) == STARTED


def test_another_process_of_the_same_number_is_no_sign_of_life(
    tiny: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begun(tiny, instance, os.getpid(), AGAIN)
    created = psutil.Process().create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: created + 1e6)
    end_orphans(instance)
    assert status(instance, run_id) == FAILURE


def test_processes_of_other_machines_are_not_looked_for(tiny: Tiny, gone: int) -> None:
    with dg.DagsterInstance.ephemeral() as elsewhere:
        run_id = begun(tiny, elsewhere, gone, AGAIN)
        end_orphans(elsewhere)
        assert status(elsewhere, run_id) == STARTED


def test_a_run_of_the_command_line_is_known_by_its_tag(tiny: Tiny, instance: dg.DagsterInstance, gone: int) -> None:
    here, there = (begun(tiny, instance, gone, {}) for _ in range(2))
    value = process_of(here)
    instance.add_run_tags(here, {PROCESS_TAG: value})
    instance.add_run_tags(there, {PROCESS_TAG: process_of(there).replace(value.split(" ")[0], "elsewhere")})
    end_orphans(instance)
    assert status(instance, here) == status(instance, there) == STARTED
    instance.add_run_tags(here, {PROCESS_TAG: value.replace(str(os.getpid()), str(gone), 1)})
    end_orphans(instance)
    assert status(instance, here) == CANCELED


def test_the_sensor_leaves_a_killed_run_to_dagster(
    tiny: Tiny, instance: dg.DagsterInstance, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = begun(tiny, instance, gone, AGAIN)
    sensor = tiny.definitions().resolve_sensor_def("tiny_new_data")
    for _ in range(2):
        ticked = sensor.evaluate_tick(dg.build_sensor_context(instance=instance))
        assert ticked.skip_message == f"run {run_id} failed, and Dagster launches it again"
    # It did, and that run is over.
    with monkeypatch.context() as patched:
        patched.setattr(runs, "RELAUNCH_SECONDS", 0.0)
        assert sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).run_requests
    instance.add_run_tags(run_id, {"dagster/auto_retry_run_id": "another"})
    assert sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).run_requests


def test_a_failure_is_over_when_a_later_run_succeeded(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.changed = {"training": {"epochs": 13}}
    tags = {"dagster/run_key": "key-1", "dagster/sensor_name": "tiny_new_data"}
    failed = tiny.run(instance, tags=tags)
    ended = asked_for(instance, "tiny_new_data", "key-1", "tiny_job")
    assert ended is not None
    assert (ended.run_id, ended.succeeded, ended.may_pass) == (failed.run_id, False, False)
    assert ended.why == f"run {failed.run_id} failed: training.epochs: thirteen epochs fix: be less superstitious"
    for sensor, key, job in (("tiny_new_data", "key-2", "tiny_job"), ("other", "key-1", "tiny_job")):
        assert asked_for(instance, sensor, key, job) is None
    tiny.run(instance, "raw")
    later = asked_for(instance, "tiny_new_data", "key-1", "tiny_job")
    assert later is not None
    assert later.succeeded
    other = asked_for(instance, "tiny_new_data", "key-1", "other_job")
    assert other is not None
    assert not other.succeeded


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (TransientError("no answer"), True),
        (StoreError("no space left on the disk"), True),
        (DamagedError("damaged"), True),
        (DataError("ragged"), False),
        (ConfigurationError("no such column"), False),
        (BlockedError("a check failed"), False),
    ],
)
def test_what_may_pass_is_written_into_the_failure(
    tiny: Tiny,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    error: FreshtuneError,
    may_pass: bool,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Runner, "run_step", fail)
    monkeypatch.setattr("assets.orchestration.execution.RETRIES", 0)
    tiny.run(instance, tags={"dagster/run_key": "key-1", "dagster/sensor_name": "tiny_new_data"})
    ended = asked_for(instance, "tiny_new_data", "key-1", "tiny_job")
    assert ended is not None
    assert ended.may_pass == may_pass
