"""Labels change while a model is in use: renamed in the source, new in the task."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project import Project, actions, digests
from tests.tiny import make_rows


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose first model is in use."""
    project = Project.make(tmp_path_factory.mktemp("labels") / "project")
    assert project.run()["release"]["decision"] == "promoted"
    return project


@pytest.fixture
def project(used: Project, tmp_path: Path) -> Project:
    return used.copy(tmp_path / "project")


def test_a_label_that_the_source_renames_retrains_nothing(project: Project) -> None:
    before = project.run("--to", "model")
    path = project.folder / "data" / "first.csv"
    path.write_text(path.read_text().replace(",spam", ",junk"))
    project.declare(source={"labels": {"junk": "spam"}})

    after = project.run("--to", "model")
    assert digests(after) == digests(before)
    assert actions(after)["model"] == "fresh"
    assert "rows have a label that source.labels renames" in project.freshtune("run", "tiny", "--force", "raw").output


def test_a_mapping_to_no_label_of_the_task_is_refused_before_anything_runs(project: Project) -> None:
    project.declare(source={"labels": {"junk": "smap"}})
    result = project.freshtune("run", "tiny")
    assert result.exit_code == 2
    assert "source.labels: junk → smap: smap is not among task.labels: ham, spam" in " ".join(result.output.split())


def test_a_new_label_that_the_champion_never_learned_is_left_out_of_the_comparison(project: Project) -> None:
    offers = [(text.replace("claim", "offer"), "offer") for text, label in make_rows(400, seed=1) if label == "spam"]
    project.write("offers.csv", offers[:90])
    project.declare(task={"labels": ["ham", "spam", "offer"]})

    ran = project.freshtune("run", "tiny")
    assert ran.exit_code == 0, ran.output
    said = " ".join(ran.output.split())
    assert "on the same 62 rows" in said
    assert "it never learned offer: 9 rows of that are left out" in said
    assert project.freshtune("report", "tiny").exit_code == 0

    promoted = project.freshtune("models", "tiny", "promote", "2", "--why", "knows offers")
    assert promoted.exit_code == 0, promoted.output
    assert project.freshtune("predict", "tiny", "claim the prize").exit_code == 0
    # From now on the champion knows the label, and is compared again.
    project.declare(task={"labels": ["ham", "spam", "offer"]}, training={"seed": 1})
    assert "it never learned" not in " ".join(str(project.run()).split())
