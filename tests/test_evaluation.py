"""The whole chain with slices and a threshold: what evaluation found, prediction obeys."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.evaluation.decisions import Decisions, read
from assets.session import open_runner
from assets.splits.rows import read_side
from assets.store.runner import StepResult
from tests.project import ROWS, Project, actions
from tests.tiny import LABELS, make_rows

pytestmark = [
    # MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    # Importing mlflow.pyfunc, as loading a model does, warns about type hints of MLflow's own.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

SLICES: list[dict[str, Any]] = [
    {"by": "source", "files": ["data/first.csv", "data/second.csv"]},
    {"by": "text_length", "limits": [40, 60]},
    {"by": "label"},
]
# Only missed spam costs, so whatever could be spam is: an answer that is seldom the likeliest.
THRESHOLD: dict[str, Any] = {"label": "spam", "goal": "cost", "costs": {"spam": {"ham": 1.0}}}

# Learns next to nothing, so that there are errors to tell about.
WEAK = {"epochs": 1, "learning_rate": 1e-6, "head_learning_rate": 1e-6}
NO_GATE = {"floor": None, "above_baseline": None}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project.make(tmp_path_factory.mktemp("evaluation") / "project")
    made.write("second.csv", make_rows(ROWS + 60, seed=0)[ROWS:])
    made.declare(
        training=WEAK,
        evaluation={"slices": SLICES, "threshold": THRESHOLD, "samples": 2},
        gate=NO_GATE,
    )
    made.run()
    return made


def stood(project: Project, step: str) -> tuple[StepResult, Path]:
    with project.entered():
        runner = open_runner("tiny")
        found = runner.standing(step)
        assert found is not None
        return found, runner.store.open("objects", found.record.content)


def test_slices_hold_their_rows(project: Project) -> None:
    _, folder = stood(project, "evaluation")
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    written = json.loads((folder / "slices.json").read_bytes())

    counted = Counter(name for row in rows for name in row["slices"])
    assert {each["name"]: each["rows"] for each in written} == counted
    for by in ("source", "text_length", "label"):
        assert sum(each["rows"] for each in written if each["by"] == by) == len(rows)
    assert {"source data/first.csv", "source data/second.csv", "label ham"} <= set(counted)
    for each in written:
        right = [row["label"] == row["predicted"] for row in rows if each["name"] in row["slices"]]
        assert each["metrics"]["accuracy"] == pytest.approx(sum(right) / len(right))


def test_the_threshold_decides_what_is_predicted(project: Project) -> None:
    _, folder = stood(project, "evaluation")
    found = json.loads((folder / "thresholds.json").read_bytes())
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()

    assert read(folder) == Decisions(
        json.loads((folder / "calibration.json").read_bytes())["temperature"], "spam", found["chosen"]
    )
    place = LABELS.index("spam")
    assert all((row["predicted"] == "spam") == (row["scores"][place] >= found["chosen"]) for row in rows)
    assert all(row["confidence"] == row["scores"][LABELS.index(row["predicted"])] for row in rows)
    likeliest = [LABELS[max(range(2), key=row["scores"].__getitem__)] for row in rows]
    assert likeliest != [row["predicted"] for row in rows], "else this test would see no threshold"
    assert found["validation"]["cost"] <= found["without"]["validation"]["cost"]


def test_prediction_answers_as_evaluation_did(project: Project) -> None:
    _, folder = stood(project, "evaluation")
    rows = {row["row_id"]: row for row in pq.read_table(folder / "predictions.parquet").to_pylist()}
    side = read_side(stood(project, "splits")[1], "test").to_pylist()

    with pytest.MonkeyPatch.context() as patched:
        # As evaluation does; in bf16 a score may lie on the other side of the threshold.
        patched.setattr("assets.tasks.device._native_bf16", lambda _device: False)
        result = project.freshtune("predict", "tiny", *(row["text"] for row in side), "--json")

    assert result.exit_code == 0, result.output
    for row, line in zip(side, result.stdout.splitlines(), strict=True):
        said, expected = json.loads(line), rows[row["row_id"]]
        assert said["predicted"] == expected["predicted"]
        # Evaluation is in float32, and this in bf16 where the processor has it.
        assert said["confidence"] == pytest.approx(expected["confidence"], abs=0.02)


def test_measurements_have_as_many_texts_as_are_allowed(project: Project) -> None:
    result, folder = stood(project, "evaluation")
    errors = json.loads((folder / "errors.json").read_bytes())

    assert len(errors) > 2
    assert [each["text"] for each in result.measurements["samples"]] == [each["text"] for each in errors[:2]]
    rest = json.dumps({name: value for name, value in result.measurements.items() if name != "samples"})
    assert not any(error["text"] in rest for error in errors)
    assert set(result.outcomes) == {"every_label_found", "calibrated", "threshold_reached"}


def test_other_slices_and_thresholds_predict_nothing_again(project: Project, tmp_path: Path) -> None:
    copy = project.copy(tmp_path / "project")
    copy.declare(training=WEAK, evaluation={"slices": [{"by": "label"}]}, gate=NO_GATE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("assets.evaluation.answers.score", _fail)
        found = actions(copy.run())

    assert found["model"] != "built"
    assert found["evaluation"] == "built"
    assert not (stood(copy, "evaluation")[1] / "thresholds.json").exists()
    assert "samples" not in stood(copy, "evaluation")[0].measurements


def test_the_champion_is_evaluated_in_the_same_way_on_the_same_rows(project: Project, tmp_path: Path) -> None:
    copy = project.copy(tmp_path / "project")
    before = stood(project, "model")[0].record.content
    copy.declare(
        training={**WEAK, "learning_rate": 2e-6},
        evaluation={"slices": SLICES, "threshold": THRESHOLD, "samples": 2},
        gate={**NO_GATE, "below_champion": 1.0},
    )
    found = actions(copy.run())

    assert (found["model"], found["evaluation"]) == ("built", "built")
    decision = json.loads((stood(copy, "release")[1] / "decision.json").read_bytes())
    assert decision["champion_before"] == before
    rows = pq.read_table(stood(project, "evaluation")[1] / "predictions.parquet").to_pylist()
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert decision["champion_metrics"]["accuracy"] == pytest.approx(right / len(rows))


def _fail(*_: Any) -> Any:
    raise AssertionError("it was predicted already")
