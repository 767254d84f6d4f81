"""The whole chain on a tiny model, with drift and quality asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.session import open_runner
from assets.store.runner import StepResult
from tests.project import ROWS, STEPS, Project, actions
from tests.tiny import make_rows

pytestmark = [
    # MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    # Importing mlflow.pyfunc, as loading a model does, warns about type hints of MLflow's own.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

ASKED = {"drift": {}, "quality": {"floor": 0.9, "failing": 1, "min_rows": 20}}
FRESH = dict.fromkeys((*STEPS[:4], "drift", "quality", *STEPS[4:]), "fresh")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was run once, to look at only."""
    made = Project.make(tmp_path_factory.mktemp("drift") / "project")
    made.declare(**ASKED)
    assert actions(made.run()) == dict.fromkeys(FRESH, "built")
    return made


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy of it, to change; afterwards its store must be whole."""
    copy = built.copy(tmp_path / "project")
    yield copy
    assert copy.faults() == []


def stood(project: Project, step: str) -> StepResult:
    with project.entered():
        found = open_runner("tiny").standing(step)
    assert found is not None
    return found


def report(project: Project) -> str:
    digest = stood(project, "release").record.trace
    return (Path(project.home) / "store" / "traces" / digest[:2] / digest / "report.html").read_text()


def slang(n: int) -> list[tuple[str, str]]:
    """Rows with words that the project does not have, and labels that say nothing about them."""
    generator = random.Random(9)  # noqa: S311 - toy data
    words = [f"new{'abcdefghij'[at % 10]}{'klmno'[at // 10]}" for at in range(50)]
    return [
        (
            f"{' '.join(generator.choices(words, k=8))} {generator.choice(['home', 'prize'])}",
            "ham" if at % 2 else "spam",
        )
        for at in range(n)
    ]


def outcomes(result: StepResult) -> dict[str, bool]:
    return {name: outcome.passed for name, outcome in result.outcomes.items()}


def test_without_a_champion_they_say_so_and_they_make_nothing_stale(project: Project) -> None:
    for step in ("drift", "quality"):
        assert stood(project, step).measurements["reason"] == "no champion yet that was made from other rows"
        assert all(outcomes(stood(project, step)).values())
    # Neither the decision that the run ended with, nor that they are asked for, leaves anything to be done.
    assert actions(project.run()) == FRESH
    project.declare()
    assert actions(project.run()) == dict.fromkeys(STEPS, "fresh")


def test_more_of_the_same_is_no_drift_and_the_run_that_promotes_leaves_nothing_to_do(project: Project) -> None:
    more = make_rows(ROWS + 120, seed=0)[ROWS:]
    # Training waits, as it does where a sensor waits for more rows; each look is a batch of its own.
    for name, rows in (("second.csv", more[:50]), ("third.csv", more[50:])):
        project.write(name, rows)
        measured = project.run("--to", "quality")
        assert actions(measured)["quality"] == "built"
    # Which of two models that learned the toy task is better is chance.
    project.declare(**ASKED, gate={"below_champion": None})
    assert project.run()["release"]["decision"] == "promoted"
    assert all(outcomes(stood(project, "drift")).values())
    assert stood(project, "drift").measurements["new_rows"] == 120
    quality = stood(project, "quality")
    assert [each["rows"] for each in quality.measurements["batches"]] == [50, 70]
    assert outcomes(quality) == {"champion_holds": True}
    assert actions(project.run()) == FRESH


def test_another_vocabulary_alarms(project: Project) -> None:
    project.write("second.csv", slang(150))
    assert project.run()["success"] is True
    drift = stood(project, "drift")
    assert outcomes(drift)["same_vocabulary"] is False
    assert outcomes(drift)["same_separation"] is False
    quality = stood(project, "quality")
    assert quality.measurements["champion"] == drift.measurements["champion"]
    assert outcomes(quality) == {"champion_holds": False}
    page = report(project)
    assert "✕ drift" in page
    assert "The alarm stands" in page

    project.declare(**{**ASKED, "drift": {"vocabulary_shift": 0.9}})
    assert actions(project.run()) == {**FRESH, "drift": "built"}
    assert outcomes(stood(project, "drift"))["same_vocabulary"] is True
