"""Two runs of one pipeline at once, each in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.project import PATIENCE, STEPS, Project, actions, digests
from tests.test_crash import assert_nothing_left, dagster_runs
from tests.tiny import make_rows

# MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]


def test_two_runs_at_once_share_the_work_and_agree(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project")
    project.run("--to", "splits")
    project.write("again.csv", make_rows(1, seed=0))  # so that both build `raw` too
    with project.start() as one, project.start() as other:
        told = [process.communicate(timeout=PATIENCE) for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), told
    found: list[dict[str, Any]] = [json.loads(said.splitlines()[-1]) for said, _ in told]
    for step in STEPS:
        # A step that both wanted was computed by one of them; a decision is never taken over.
        built = [actions(each)[step] for each in found].count("built")
        assert built <= (2 if step == "release" else 1), (step, found)
    assert {**digests(found[0]), "release": ""} == {**digests(found[1]), "release": ""}
    assert [each["release"]["version"] for each in found] == [1, 1]
    assert_nothing_left(project)
    assert dagster_runs(project) == [dg.DagsterRunStatus.SUCCESS] * 3

    after = project.run()
    assert after["run_id"] is None
    assert {**digests(after), "release": ""} == {**digests(found[0]), "release": ""}
