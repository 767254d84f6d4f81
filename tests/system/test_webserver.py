"""The pipeline in Dagster's webserver: launch, look, launch again what the command line ran."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.served import ROOT, Project, Server, served

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

STEPS = ["raw", "validated", "cleaned", "splits", "model", "evaluation", "release"]
REPOSITORY = {"repositoryLocationName": "freshtune", "repositoryName": "__repository__"}
LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
AGAIN = """mutation ($params: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
NODES = """{ assetNodes { assetKey { path } groupName kinds staleStatus description
    assetMaterializations(limit: 1) { metadataEntries { label __typename } }
    assetChecksOrError { ... on AssetChecks {
        checks { name blocking executionForLatestMaterialization { status } } } } } }"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"), sensor=None)


@pytest.fixture(scope="module")
def server(project: Project) -> Iterator[Server]:
    with served(project) as server:
        yield server


def launch(server: Server, job: str, tags: list[dict[str, str]] | None = None) -> str:
    selector = {**REPOSITORY, "jobName": job}
    params = {"selector": selector, "runConfigData": {}, "executionMetadata": {"tags": tags or []}}
    launched = server.query(LAUNCH, params=params)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id: str = launched["run"]["runId"]
    return run_id


def ended(server: Server, run_id: str, count: int) -> dict[str, Any]:
    [run] = [run for run in server.wait(count) if run["runId"] == run_id]
    assert run["status"] == "SUCCESS", server.failures(run_id)
    return run


def nodes(server: Server) -> dict[str, Any]:
    return {node["assetKey"]["path"][1]: node for node in server.query(NODES)["assetNodes"]}


def test_run_launched_in_the_ui_succeeds_and_shows_what_it_made(server: Server) -> None:
    plan = ended(server, launch(server, "tiny_plan"), 1)
    assert {"key": "freshtune/to_run", "value": ", ".join(STEPS)} in plan["tags"]
    ended(server, launch(server, "tiny_job"), 2)
    found = nodes(server)
    assert set(found) == {"source", *STEPS}
    for step in STEPS:
        node = found[step]
        assert node["groupName"] == "tiny"
        assert node["staleStatus"] == "FRESH", step
        labels = {entry["label"] for entry in node["assetMaterializations"][0]["metadataEntries"]}
        assert {"action", "reused", "key", "content", "seconds"} <= labels
    checks = {check["name"]: check for step in STEPS for check in found[step]["assetChecksOrError"]["checks"]}
    for name in ("quarantine_within_limit", "no_leak_between_sides"):
        assert checks[name]["blocking"]
        assert checks[name]["executionForLatestMaterialization"]["status"] == "SUCCEEDED"
    pictures = {entry["label"] for entry in found["model"]["assetMaterializations"][0]["metadataEntries"]}
    assert "curve_plot" in pictures


def test_run_of_the_command_line_is_listed_and_can_be_launched_again(server: Server, project: Project) -> None:
    before = len(server.runs())
    script = (
        "from assets.orchestration.launch import materialise; from assets.progress import discard;"
        "found = materialise('tiny', steps=('raw', 'validated'), sample=None, forced=('validated',), sink=discard);"
        "print(found.run_id, [result.action for result in found.results])"
    )
    environment = {**os.environ, "FRESHTUNE_HOME": str(project.home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project.folder, env=environment, capture_output=True, text=True, check=True
    )
    run_id, _, actions = done.stdout.strip().partition(" ")
    assert actions == "['fresh', 'built']"
    assert done.stderr == ""
    run = ended(server, run_id, before + 1)
    assert run["jobName"] == "tiny_job"
    assert run["repositoryOrigin"] == {"repositoryLocationName": "freshtune"}
    assert sorted(key["path"][1] for key in run["assetSelection"]) == ["raw", "validated"]
    # As the UI does for a run that succeeded.
    again = server.query(AGAIN, params={"parentRunId": run_id, "strategy": "ALL_STEPS"})["launchRunReexecution"]
    assert again["__typename"] == "LaunchRunSuccess", again
    ended(server, again["run"]["runId"], before + 2)
