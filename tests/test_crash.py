"""Killed, stopped: what stands is whole, and the next run goes on from there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest

from assets.orchestration.wiring import GPU_POOL
from tests.project import PATIENCE, Project, actions

# MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

DATA = ("raw", "validated", "cleaned", "splits")
CHEAP = dict.fromkeys(DATA, "fresh")
DEAR = dict.fromkeys(("model", "evaluation", "release"), "built")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose data are split, and whose training takes some seconds."""
    project = Project.make(tmp_path_factory.mktemp("crash") / "project")
    project.declare(training={"epochs": 30})
    project.run("--to", "splits")
    return project


@pytest.fixture
def project(prepared: Project, tmp_path: Path) -> Project:
    return prepared.copy(tmp_path / "project")


def await_training(project: Project, process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Wait until the training has done some steps; the processes that were started for it."""
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE:
        assert process.poll() is None, process.communicate()[1]
        for path in project.home.glob("work/*/progress.jsonl"):
            if '"learning_rate"' in path.read_text():
                children = psutil.Process(process.pid).children(recursive=True)
                assert any("assets.model" in child.cmdline() for child in children)
                return children
        time.sleep(0.02)
    raise AssertionError("the training did not start")


def assert_nothing_trained(project: Project, children: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    # It did not go on to its end without the process that waits for it.
    results = [json.loads(path.read_bytes()) for path in project.home.glob("work/*/result.json")]
    assert all("error" in result for result in results)
    assert project.faults() == []
    assert sorted(path.stem for path in (project.home / "store").glob("references/default/tiny/*")) == sorted(DATA)
    assert not (project.home / "store" / "promotions").exists()


def assert_nothing_left(project: Project) -> None:
    """No process, lease or half of a result is left of what went wrong."""
    assert project.faults() == []
    for part in ("store/staging", "store/leases", "work"):
        assert list((project.home / part).glob("*")) == []


def dagster_runs(project: Project) -> list[dg.DagsterRunStatus]:
    """States of all runs, oldest first; nobody holds the accelerator or waits for it."""
    with dg.DagsterInstance.from_config(str(project.home / "dagster")) as instance:
        slots = instance.event_log_storage.get_concurrency_info(GPU_POOL)
        assert (slots.claimed_slots, slots.pending_steps) == ([], [])
        return [run.status for run in reversed(instance.get_runs())]


def test_killed_in_training_leaves_nothing_and_the_next_run_goes_on(project: Project) -> None:
    with project.start() as process:
        children = await_training(project, process)
        process.kill()
    assert_nothing_trained(project, children)

    found = project.run()
    assert actions(found) == {**CHEAP, **DEAR}
    assert found["release"]["decision"] == "promoted"
    assert_nothing_left(project)
    assert dagster_runs(project) == [
        dg.DagsterRunStatus.SUCCESS,
        dg.DagsterRunStatus.CANCELED,
        dg.DagsterRunStatus.SUCCESS,
    ]


def test_interrupted_in_training_says_so_and_ends_with_130(project: Project) -> None:
    with project.start() as process:
        children = await_training(project, process)
        # As the keyboard does it: the whole group is told, the training too.
        os.killpg(process.pid, signal.SIGINT)
        said, complaints = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in complaints
    found = json.loads(said.splitlines()[-1])
    assert (found["success"], actions(found)) == (False, CHEAP)
    assert found["error"] == "stopped; what was finished is kept, and the next run goes on from there"
    assert_nothing_trained(project, children)
    assert list(project.home.glob("work/*/checkpoints/step-*.json")), "the training saved what it had done"
    assert dagster_runs(project) == [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED]
