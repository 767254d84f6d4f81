"""A project with one tiny real pipeline, and `dagster dev` serving it, for system tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from assets.orchestration.launch import ui_command
from tests.tiny import LABELS, make_base_model, make_rows

ROOT = Path(__file__).parents[2]
DONE = {"SUCCESS", "FAILURE", "CANCELED"}
HEADERS = {"Content-Type": "application/json"}
SECONDS = 240
"""How long anything here may take on a busy machine."""


class Project:
    """A project in a folder of its own with the pipeline `tiny`."""

    def __init__(self, folder: Path, **attributes: Any) -> None:
        self.folder, self.home = folder, folder / "home"
        for part in ("data", "pipelines/tiny", "home"):
            (folder / part).mkdir(parents=True)
        for name in ("pyproject.toml", "workspace.yaml"):
            (folder / name).write_bytes((ROOT / name).read_bytes())
        make_base_model(folder / "base")
        declared = {
            "task": {"labels": list(LABELS)},
            "source": {"files": ["data/*.csv"]},
            "base_model": {"name": "base"},
            "training": {"epochs": 1, "max_tokens": 16},
            "gate": {"above_baseline": None},
            **attributes,
        }
        text = yaml.safe_dump({"type": "assets.orchestration.FineTuningPipeline", "attributes": declared})
        (folder / "pipelines/tiny/defs.yaml").write_text(text)
        self.drop("first.csv", seed=0)

    def drop(self, name: str, seed: int) -> None:
        """Put a file of labelled rows into the source, whole at once."""
        lines = ["text,label", *(f"{text},{label}" for text, label in make_rows(400, seed))]
        part = self.folder / name
        part.write_text("\n".join(lines) + "\n")
        part.rename(self.folder / "data" / name)


class Server:
    """Dagster's webserver and daemon over a project."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = process

    def kill(self) -> None:
        """Kill everything at once: webserver, daemon, code location, and runs that are under way."""
        parent = psutil.Process(self.process.pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        """Result of a GraphQL query."""
        data = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", data, HEADERS)  # noqa: S310 - http on loopback
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            answered: dict[str, Any] = json.load(answer)
        assert "errors" not in answered, answered
        found: dict[str, Any] = answered["data"]
        return found

    def runs(self) -> list[dict[str, Any]]:
        """Every run, newest first."""
        found = self.query("""{ runsOrError { ... on Runs { results { runId jobName status
            tags { key value } assetSelection { path } repositoryOrigin { repositoryLocationName } } } } }""")
        runs: list[dict[str, Any]] = found["runsOrError"]["results"]
        return runs

    def wait(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until there are so many runs, all ended; every run."""
        started = time.monotonic()
        while time.monotonic() - started < SECONDS:
            runs = self.runs()
            if len(runs) >= count and all(run["status"] in DONE for run in runs):
                return runs
            time.sleep(0.5)
        raise AssertionError(f"after {SECONDS} s: {runs}")

    def failures(self, run_id: str) -> list[str]:
        """What failed steps of a run say."""
        query = """query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
            ... on ExecutionStepFailureEvent { stepKey failureMetadata { description } error { message } } } } } }"""
        events = self.query(query, id=run_id)["logsForRun"]["events"]
        return [str(event) for event in events if event]


@contextmanager
def served(project: Project) -> Iterator[Server]:
    """Serve a project as `freshtune ui` does, on a free port of loopback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(project.folder)
        patched.setenv("FRESHTUNE_HOME", str(project.home))
        patched.setenv("PYTHONPATH", str(ROOT))
        patched.setenv("OMP_NUM_THREADS", "1")
        command, environment = ui_command(port)
    log = project.folder / "dagster.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=project.folder, stdout=output, stderr=output, start_new_session=True
        )
    try:
        server = Server(port, process)
        _await(server, process, log)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            # Its own session, and so nobody else's processes.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    started = time.monotonic()
    loaded = """{ workspaceOrError { ... on Workspace {
        locationEntries { loadStatus locationOrLoadError { __typename } } } } }"""
    while time.monotonic() - started < SECONDS:
        assert process.poll() is None, log.read_text()
        try:
            entries = server.query(loaded)["workspaceOrError"]["locationEntries"]
        except OSError:
            time.sleep(0.5)
            continue
        if entries and all(entry["loadStatus"] == "LOADED" for entry in entries):
            assert [entry["locationOrLoadError"]["__typename"] for entry in entries] == ["RepositoryLocation"], (
                log.read_text()
            )
            return
        time.sleep(0.5)
    raise AssertionError(log.read_text())
