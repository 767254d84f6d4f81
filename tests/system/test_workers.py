"""Runs of the webserver whose processes are killed in the middle of the training."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from assets.orchestration.launch import INSTANCE
from tests.project import STEPS, store_faults
from tests.system.served import SECONDS, Project, Server, served
from tests.system.test_webserver import ended, launch

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

DATA = STEPS[: STEPS.index("model")]
MONITORING = "  free_slots_after_run_end_seconds: 1\n  poll_interval_seconds: 1\n"
ACTIONS = """query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
    ... on MaterializationEvent { assetKey { path }
        metadataEntries { label ... on TextMetadataEntry { text } } } } } } }"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose training takes some seconds, and whose Dagster frees what a killed run holds at once."""
    project = Project(tmp_path / "project", sensor=None, training={"epochs": 30, "max_tokens": 32})
    (project.home / "dagster").mkdir()
    lines = INSTANCE.read_text().splitlines(keepends=True)
    kept = [MONITORING if "free_slots_after_run_end_seconds" in line else line for line in lines]
    assert kept != lines
    (project.home / "dagster" / "dagster.yaml").write_text("".join(kept))
    return project


def await_training(project: Project) -> psutil.Process:
    """Wait until a training has done some steps; its process."""
    started = time.monotonic()
    while time.monotonic() - started < SECONDS:
        trainings = [each for each in psutil.Process().children(recursive=True) if "assets.model" in command(each)]
        progress = [path.read_text() for path in project.home.glob("work/*/progress.jsonl")]
        if trainings and any('"advance"' in text for text in progress):
            (training,) = trainings
            return training
        time.sleep(0.05)
    raise AssertionError("the training did not start")


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def failed(server: Server, run_id: str, count: int) -> dict[str, Any]:
    (run,) = [run for run in server.wait(count) if run["runId"] == run_id]
    assert run["status"] == "FAILURE"
    return run


def actions(server: Server, run_id: str) -> dict[str, str]:
    """What a run did with each step."""
    events = server.query(ACTIONS, id=run_id)["logsForRun"]["events"]
    return {
        event["assetKey"]["path"][1]: entry["text"]
        for event in events
        if event
        for entry in event["metadataEntries"]
        if entry["label"] == "action"
    }


def published(project: Project) -> set[str]:
    """Everything that counts in the store, which is whole."""
    store = project.home / "store"
    assert store_faults(store) == []
    return {
        str(path)
        for part in ("objects", "traces", "records", "references", "promotions")
        for path in store.glob(f"{part}/**/*")
    }


def test_killed_in_training_leaves_whole_things_and_the_next_run_goes_on(project: Project) -> None:
    with served(project) as server:
        run_id = launch(server, "tiny_job")
        await_training(project).kill()
        failed(server, run_id, 1)
        (said,) = server.failures(run_id)
        assert "the program of step model ended without a result" in said
        before = published(project)
        assert sorted(path.stem for path in (project.home / "store").glob("references/*/*/*")) == sorted(DATA)

        # The worker that waits for the training.
        run_id = launch(server, "tiny_job")
        training = await_training(project)
        worker = training.parent()
        assert worker is not None
        worker.kill()
        # It does not go on to its end without the process that publishes.
        _, alive = psutil.wait_procs([training, worker], timeout=30)
        assert alive == []
        assert list(project.home.glob("work/*/result.json")) == []
        failed(server, run_id, 2)
        assert published(project) == before

        run_id = launch(server, "tiny_job")
        ended(server, run_id, 3)
        dear = [step for step in STEPS if step not in DATA]
        assert actions(server, run_id) == {**dict.fromkeys(DATA, "fresh"), **dict.fromkeys(dear, "built")}
        assert published(project) > before
    for part in ("store/staging", "store/leases", "work"):
        assert list((project.home / part).glob("*")) == []
