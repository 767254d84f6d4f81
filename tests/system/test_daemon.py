"""The new-data sensor under a real daemon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.system.served import SECONDS, Project, Server, served

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


AGE = """query { assetNodeOrError(assetKey: {path: ["tiny", "model"]}) {
    ... on AssetNode { freshnessStatusInfo { freshnessStatus } } } }"""


def test_sensor_runs_the_pipeline_for_new_data_and_for_nothing_else(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", sensor={"minimum_interval_seconds": 1}, freshness={"fail_after": "P7D"})
    with served(project) as server:
        [first] = server.wait(1)
        assert first["status"] == "SUCCESS", server.failures(first["runId"])
        assert first["jobName"] == "tiny_job"
        time.sleep(5)
        assert len(server.runs()) == 1
        project.drop("second.csv", seed=1)
        second, _ = server.wait(2)
        assert second["status"] == "SUCCESS", server.failures(second["runId"])
        tags = {tag["key"]: tag["value"] for tag in second["tags"]}
        assert tags["dagster/sensor_name"] == "tiny_new_data"
        assert tags["freshtune/to_run"].startswith("raw, ")
        assert tags["dagster/run_key"].endswith("-2")
        time.sleep(5)
        assert len(server.runs()) == 2
        assert await_health(server) == "HEALTHY"


def await_health(server: Server) -> str:
    """What the daemon thinks of the model's age, once it has thought of it."""
    started = time.monotonic()
    while time.monotonic() - started < SECONDS:
        found = server.query(AGE)["assetNodeOrError"]["freshnessStatusInfo"]["freshnessStatus"]
        if found != "UNKNOWN":
            return str(found)
        time.sleep(1)
    raise AssertionError(found)
