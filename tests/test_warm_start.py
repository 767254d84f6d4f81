"""A training that starts from the champion, over the whole chain and through the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from assets.session import open_runner
from tests.project import ROWS, Project, actions, digests
from tests.tiny import make_rows

# MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

ALL = make_rows(ROWS + 40, seed=0)
WARM: dict[str, Mapping[str, Any]] = {
    "training": {"start": "champion", "epochs": 1},
    "gate": {"floor": None, "above_baseline": None, "below_champion": 1.0, "promote_if": None},
}


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[dict[str, Any]]]:
    """Version 1, without a champion; then rows come in, and version 2 starts from it. With what both runs printed."""
    project = Project.make(tmp_path_factory.mktemp("warm") / "project")
    project.declare(**WARM)
    project.write("first.csv", ALL[:ROWS])
    runs = [project.run()]
    # A promotion alone makes nothing stale.
    assert said(project, "plan", "tiny", "--json")["steps"][4]["state"] == "fresh"
    project.write("second.csv", ALL[ROWS:])
    return project, [*runs, project.run()]


def said(project: Project, *arguments: str) -> Any:
    result = project.freshtune(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


def start(project: Project) -> dict[str, Any]:
    with project.entered():
        found = open_runner("tiny").standing("model")
    assert found is not None
    assert "champion" not in found.record.ingredients["inputs"], "it is recorded, not keyed"
    measured: dict[str, Any] = found.measurements["start"]
    return measured


def test_it_starts_from_the_champion_and_the_lineage_says_so(warm: tuple[Project, list[dict[str, Any]]]) -> None:
    project, (first, second) = warm
    champion, challenger = digests(first)["model"], digests(second)["model"]
    assert second["release"]["decision"] == "promoted"
    assert start(project) == {"from": "champion", "champion": champion, "why": "", "ancestors": [champion]}
    assert said(project, "plan", "tiny", "--json")["steps"][4]["state"] == "fresh"

    found = said(project, "models", "tiny", "lineage", "2", "--json")
    assert found["model"] == challenger
    assert (found["warm_start"]["champion"], found["warm_start"]["version"]) == (champion, 1)
    shown = said(project, "models", "tiny", "lineage", "2")
    assert f"with the weights of champion {champion[:12]}, version 1" in shown
    assert "from the base model: there is no champion yet" in said(project, "models", "tiny", "lineage", "1")
    with project.entered():
        store = open_runner("tiny").store
        card = (store.open("objects", digests(second)["release"]) / "card.md").read_text()
    assert f"Training started with the weights of champion {champion[:12]}." in card


def test_the_plan_says_where_a_training_that_is_due_starts(warm: tuple[Project, list[dict[str, Any]]]) -> None:
    project, (_, second) = warm
    project.declare(**{**WARM, "training": {**WARM["training"], "seed": 1, "start": "either"}})
    shown = said(project, "plan", "tiny")
    assert "config training.start champion → either" in shown
    assert "Training starts from the base model and, once more, from the champion, version 2" in shown
    found = said(project, "plan", "tiny", "--json")["training_start"]
    assert found == {"start": "either", "champion": digests(second)["model"], "version": 2, "why": ""}
    project.declare(**{**WARM, "training": {"epochs": 1}})
    assert "training_start" not in said(project, "plan", "tiny", "--json")
    project.declare(**WARM)
    assert "training_start" not in said(project, "plan", "tiny", "--json"), "none is due"


def test_trained_again_it_starts_where_it_did_and_a_promotion_makes_nothing_stale(
    warm: tuple[Project, list[dict[str, Any]]], tmp_path: Path
) -> None:
    project = warm[0].copy(tmp_path / "project")
    again = project.run("--force", "model", "--to", "model")
    assert actions(again)["model"] == "built"
    assert digests(again)["model"] == digests(warm[1][1])["model"], "not from itself, which is the champion by now"
    said(project, "models", "tiny", "promote", "1", "--why", "to see what becomes stale")
    assert {each["state"] for each in said(project, "plan", "tiny", "--json")["steps"][:6]} == {"fresh"}


def test_a_champion_with_a_forgotten_row_is_no_parent_and_what_was_started_from_it_is_trained_anew(
    warm: tuple[Project, list[dict[str, Any]]], tmp_path: Path
) -> None:
    project = warm[0].copy(tmp_path / "project")
    rows = said(project, "rows", "tiny", "trace", "--file", "data/first.csv", "--json")["rows"]
    text = next(row["text"] for row in rows if row["models"][0]["outcome"] == "train")
    said(project, "rows", "tiny", "rule", "--forget", "--text", text, "--why", "asked for", "--json")

    shown = project.freshtune("models", "tiny")
    for version in (1, 2):
        assert f"Version {version} was made with rows that were forgotten since: 1 train" in shown.stderr
    why = "the champion was trained on or chosen by rows that are forgotten: 1"
    assert f"Training starts from the base model: {why}." in said(project, "plan", "tiny")
    project.run("--to", "model")
    assert (start(project)["from"], start(project)["why"]) == ("base", why)
