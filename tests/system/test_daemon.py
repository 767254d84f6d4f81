"""The new-data sensor under a real daemon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.system.served import Project, served

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


def test_sensor_runs_the_pipeline_for_new_data_and_for_nothing_else(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", sensor={"minimum_interval_seconds": 1})
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
