"""The whole chain on a tiny model, with files to predict."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
import pyarrow.parquet as pq
import pytest

from assets.evaluation import predict as evaluation
from assets.orchestration.launch import materialise
from assets.orchestration.wiring import pipeline_definitions
from assets.predictions import scoring
from assets.predictions.rows import read_predictions
from assets.progress import discard
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

DECLARED = {"predictions": {"source": {"files": ["inbox/*.csv", "inbox/*.jsonl"], "columns": {"keep": ["id"]}}}}
FRESH = dict.fromkeys((*STEPS, "predictions"), "fresh")
TOO_LITTLE = {"epochs": 1, "learning_rate": 1e-5, "head_learning_rate": 1e-5}
"""Training that leaves a model bad."""
TEXTS = [text for text, _ in make_rows(40, seed=5)]


def drop(project: Project, name: str, texts: Sequence[str], start: int = 0) -> None:
    """Put a file into the inbox."""
    lines = ["id,text", *(f"{at},{text}" for at, text in enumerate(texts, start))]
    (project.folder / "inbox").mkdir(exist_ok=True)
    (project.folder / "inbox" / name).write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was run once, to look at only."""
    made = Project.make(tmp_path_factory.mktemp("predictions") / "project")
    made.declare(**DECLARED)
    drop(made, "first.csv", TEXTS[:20])
    # The champion is the one of this very run.
    assert actions(made.run()) == dict.fromkeys(FRESH, "built")
    return made


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy of it, to change; afterwards its store must be whole."""
    copy = built.copy(tmp_path / "project")
    yield copy
    assert copy.faults() == []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts the model was asked for each time."""
    counts: list[int] = []
    predict = evaluation.predict

    def counting(predictor: Any, texts: Sequence[str], progress: Any) -> Any:
        counts.append(len(texts))
        return predict(predictor, texts, progress)

    monkeypatch.setattr(scoring, "predict", counting)
    return counts


def stood(project: Project) -> StepResult:
    with project.entered():
        found = open_runner("tiny").standing("predictions")
    assert found is not None
    return found


def rows(project: Project) -> list[dict[str, Any]]:
    with project.entered():
        runner = open_runner("tiny")
        content = runner.store.open("objects", stood(project).record.content)
        found: list[dict[str, Any]] = read_predictions(content, texts=True).to_pylist()
        return found


def planned(project: Project) -> dict[str, Any]:
    result = project.freshtune("plan", "tiny", "--json")
    steps: list[dict[str, Any]] = json.loads(result.stdout)["steps"]
    return next(step for step in steps if step["step"] == "predictions")


def counts(project: Project) -> dict[str, int]:
    names = ("files", "read", "predicted", "without_text", "rejected", "rows")
    return {name: stood(project).measurements[name] for name in names}


def test_the_first_run_ends_with_the_predictions_of_its_champion(project: Project, asked: list[int]) -> None:
    found = rows(project)
    assert sorted(int(row["id"]) for row in found) == list(range(20))
    assert [row["row_id"] for row in found] == sorted(row["row_id"] for row in found)
    assert {row["text"] for row in found} == set(TEXTS[:20])
    for row in found:
        assert row["confidence"] == max(row["scores"])
        assert sum(row["scores"]) == pytest.approx(1)
    told = stood(project)
    assert sum(told.measurements["labels"].values()) == 20
    assert {name: each.passed for name, each in told.outcomes.items()} == {
        "no_row_lost": True,
        "every_row_predicted": True,
    }
    with project.entered():
        runner = open_runner("tiny")
        model = runner.store.log("default", "tiny")[-1].fields["champion"]
        content = runner.store.open("objects", told.record.content)
        evaluation = runner.standing("evaluation")
    assert evaluation is not None
    told_of = json.loads((content / "predictions.json").read_bytes())
    assert told_of["model"] == model
    temperature = evaluation.measurements["calibration"]["temperature"]
    assert told_of["decisions"] == {"temperature": temperature, "label": None, "threshold": 0.5}
    assert actions(project.run()) == FRESH
    assert asked == []


def test_predictions_are_those_of_the_command(project: Project, tmp_path: Path) -> None:
    result = project.freshtune("predict", "tiny", "-i", "inbox/first.csv", "-o", str(tmp_path / "said.jsonl"))
    assert result.exit_code == 0, result.output
    said = {each["id"]: each for each in map(json.loads, (tmp_path / "said.jsonl").read_text().splitlines())}
    for row in rows(project):
        assert row["predicted"] == said[row["id"]]["predicted"]
        # What is recorded is predicted in float32, the command may use bf16.
        assert row["confidence"] == pytest.approx(said[row["id"]]["confidence"], abs=0.01)


def test_a_new_file_predicts_only_its_rows(project: Project, asked: list[int]) -> None:
    # A text that occurs twice is predicted once.
    drop(project, "second.csv", [*TEXTS[20:30], TEXTS[20]], start=20)
    plan = planned(project)
    assert (plan["state"], plan["reasons"][0]["kind"]) == ("stale", "source")
    assert plan["reasons"][0]["what"].startswith("+1 file")
    assert actions(project.run()) == {**FRESH, "predictions": "built"}
    assert asked == [10]
    assert counts(project) == {
        "files": 2, "read": 31, "predicted": 31, "without_text": 0, "rejected": 0, "rows": 31
    }  # fmt: skip


def test_a_file_that_is_renamed_or_there_twice_predicts_nothing(project: Project, asked: list[int]) -> None:
    before = stood(project).record.content
    inbox = project.folder / "inbox"
    (inbox / "first.csv").rename(inbox / "renamed.csv")
    assert "1 file renamed" in planned(project)["reasons"][0]["what"]
    project.run()
    assert (stood(project).record.content, asked) == (before, [])
    (inbox / "again.csv").write_bytes((inbox / "renamed.csv").read_bytes())
    project.run()
    assert (stood(project).record.content, asked) == (before, [])
    assert counts(project) == {
        "files": 2, "read": 40, "predicted": 40, "without_text": 0, "rejected": 0, "rows": 20
    }  # fmt: skip


def test_rows_of_a_file_that_is_gone_are_gone(project: Project, asked: list[int]) -> None:
    drop(project, "second.csv", TEXTS[20:30], start=20)
    project.run()
    (project.folder / "inbox" / "first.csv").unlink()
    project.run()
    assert sorted(int(row["id"]) for row in rows(project)) == list(range(20, 30))
    assert asked == [10]
    (project.folder / "inbox" / "second.csv").unlink()
    project.run()
    assert rows(project) == []
    assert stood(project).measurements["reason"] == "there are no files"


def test_what_has_no_text_or_is_no_row_is_kept_and_counted(project: Project) -> None:
    lines = [
        json.dumps({"id": "a", "text": TEXTS[30]}),
        json.dumps({"id": "b", "text": "  "}),
        json.dumps({"id": "c", "text": None}),
        "{damaged",
        "{damaged",
    ]
    (project.folder / "inbox" / "mixed.jsonl").write_text("\n".join(lines) + "\n")
    assert project.run()["success"] is True
    assert counts(project) == {
        "files": 2, "read": 25, "predicted": 21, "without_text": 2, "rejected": 2, "rows": 23
    }  # fmt: skip
    by_id = {row["id"]: row for row in rows(project)}
    for blank in "bc":
        assert (by_id[blank]["predicted"], by_id[blank]["confidence"], by_id[blank]["scores"]) == (None, None, None)
    told = stood(project)
    assert told.outcomes["no_row_lost"].message == "25 rows read = 21 predicted + 2 without text + 2 rejected"
    every = told.outcomes["every_row_predicted"]
    assert (every.passed, every.warning) == (False, True)
    with project.entered():
        content = open_runner("tiny").store.open("objects", told.record.content)
    assert pq.read_table(content / "rejected.parquet")["line_text"].to_pylist() == ["{damaged"]


def test_another_champion_predicts_everything_and_a_refused_challenger_nothing(
    project: Project, asked: list[int]
) -> None:
    first = stood(project)
    project.declare(**DECLARED, training=TOO_LITTLE, gate={"floor": 0.99})
    plan = planned(project)
    assert (plan["state"], plan["reasons"]) == ("pending", [{"kind": "input", "what": "release"}])
    whole = json.loads(project.freshtune("plan", "tiny", "--to", "predictions", "--json").stdout)
    assert [step["step"] for step in whole["steps"]] == list(FRESH)
    refused = project.run()
    assert refused["release"]["decision"] == "refused"
    assert actions(refused)["predictions"] == "fresh"
    assert (stood(project).record.content, asked) == (first.record.content, [])

    # A person promotes it all the same.
    result = project.freshtune("models", "tiny", "promote", "2", "--why", "we know better")
    assert result.exit_code == 0, result.output
    plan = planned(project)
    assert plan["state"] == "stale"
    assert [reason["what"] for reason in plan["reasons"]] == ["champion", "champion_evaluation"]
    assert actions(project.run())["predictions"] == "built"
    assert asked == [20]
    second = stood(project)
    assert second.measurements["model"] != first.measurements["model"]

    # Back again: nothing is computed.
    assert project.freshtune("models", "tiny", "rollback", "--why", "we did not").exit_code == 0
    assert actions(project.run())["predictions"] == "reused"
    assert (stood(project).record.content, asked) == (first.record.content, [20])


def test_another_temperature_or_threshold_of_the_same_model_predicts_nothing(
    project: Project, asked: list[int]
) -> None:
    before = {row["id"]: row for row in rows(project)}
    told = stood(project)
    project.declare(**DECLARED, evaluation={"threshold": {"label": "spam"}})
    assert actions(project.run()) == {
        **FRESH, "evaluation": "built", "release": "built", "predictions": "built"
    }  # fmt: skip
    assert asked == []
    again = stood(project)
    assert again.measurements["model"] == told.measurements["model"]
    assert again.record.content != told.record.content
    with project.entered():
        found = json.loads(
            (open_runner("tiny").store.open("objects", again.record.content) / "predictions.json").read_bytes()
        )
    assert found["decisions"]["label"] == "spam"
    threshold = found["decisions"]["threshold"]
    for row in rows(project):
        assert row["scores"] == before[row["id"]]["scores"]
        assert (row["predicted"] == "spam") == (row["scores"][1] >= threshold)


def test_without_a_champion_it_says_so_and_fails_nothing(project: Project) -> None:
    project.declare(**DECLARED, gate={"floor": 0.99}, training=TOO_LITTLE)
    project.home.joinpath("store", "promotions").rename(project.home / "elsewhere")
    assert project.run()["release"]["decision"] == "refused"
    told = stood(project)
    assert (told.measurements["reason"], told.measurements["model"]) == ("there is no champion yet", None)
    assert told.outcomes["every_row_predicted"].message == "nothing was predicted: there is no champion yet"
    assert actions(project.run())["predictions"] == "fresh"


def test_a_wrong_file_is_named_with_the_field_of_this_source(project: Project) -> None:
    (project.folder / "inbox" / "wrong.csv").write_text("id,body\n1,hello\n")
    result = project.freshtune("run", "tiny")
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "inbox/wrong.csv: no column 'text'; columns found: 'id', 'body'" in said
    assert "set predictions.source.columns (text, keep) to columns that every file has" in said


def test_the_command_shows_and_exports(project: Project, tmp_path: Path) -> None:
    shown = project.freshtune("predictions", "tiny")
    assert shown.exit_code == 0, shown.output
    assert "20 of 20 rows in 1 files predicted by" in " ".join(shown.stdout.split())
    for name in ("said.parquet", "said.csv", "said.jsonl"):
        result = project.freshtune("predictions", "tiny", "--export", str(tmp_path / name))
        assert result.exit_code == 0, result.output
        assert f"20 rows written to {tmp_path / name}" in " ".join(result.stderr.split())
    table = pq.read_table(tmp_path / "said.parquet")
    assert table.column_names == ["row_id", "id", "predicted", "confidence", "scores"]
    records = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert set(records[0]["scores"]) == {"ham", "spam"}
    assert (tmp_path / "said.csv").read_text().splitlines()[0] == "row_id,id,predicted,confidence"
    assert len(list(tmp_path.glob("said*"))) == 3
    with_texts = project.freshtune("predictions", "tiny", "--export", "memory://said/it.parquet", "--with-texts")
    assert with_texts.exit_code == 0, with_texts.output
    with fsspec.open("memory://said/it.parquet") as stream:
        assert pq.read_table(stream)["text"].to_pylist() == [row["text"] for row in rows(project)]
    told = json.loads(project.freshtune("predictions", "tiny", "--json").stdout)
    assert (told["predicted"], told["content"]) == (20, stood(project).record.content)
    project.declare()
    assert "no files to predict are declared" in project.freshtune("predictions", "tiny").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--export", "said.txt"], "a prediction does not fit into a line of text"),
        (["--export", "said"], "'said' has no ending"),
        (["--export", "nowhere/said.csv"], "'nowhere/said.csv' cannot be written"),
        (["--export", "nowhere://said.csv"], "'nowhere://said.csv' cannot be written: ValueError"),
        (["--with-texts"], "--with-texts is about --export, which is missing"),
    ],
)
def test_what_cannot_be_exported_is_refused(arguments: list[str], said: str, built: Project) -> None:
    result = built.freshtune("predictions", "tiny", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_it_is_predicted_by_itself_while_rows_wait_to_be_trained_on(project: Project, asked: list[int]) -> None:
    project.write("second.csv", make_rows(ROWS + 3, seed=0)[ROWS:])
    drop(project, "second.csv", TEXTS[20:30], start=20)
    plan = planned(project)
    assert plan["state"] == "stale"
    assert [reason["kind"] for reason in plan["reasons"]] == ["source", "input"]
    with project.entered():
        outcome = materialise("tiny", steps=("predictions",), sample=None, forced=(), sink=discard)
    assert [(result.step, result.action) for result in outcome.results] == [("predictions", "built")]
    assert asked == [10]


def test_in_dagster_it_comes_after_release_alone(project: Project) -> None:
    with project.entered():
        definitions = pipeline_definitions(partial(open_runner, "tiny"))
        specs = {spec.key.path[-1]: spec for spec in definitions.resolve_all_asset_specs()}
        job = definitions.resolve_job_def("tiny_sample")
        entry = open_runner("tiny").store.log("default", "tiny")[-1].fields
    assert {dep.asset_key.to_user_string() for dep in specs["predictions"].deps} == {"tiny/release"}
    assert all(dep.asset_key.path[-1] != "predictions" for spec in specs.values() for dep in spec.deps)
    upstream = job.dependencies[next(node for node in job.dependencies if node.name == "tiny_sample__predictions")]
    assert set(upstream) == {"release"}
    # New files start this step alone, with the model in use.
    drop(project, "second.csv", TEXTS[20:30], start=20)
    os.utime(project.folder / "inbox" / "second.csv", (1, 1))
    with project.entered(), dg.DagsterInstance.ephemeral() as instance:
        sensor = definitions.resolve_sensor_def("tiny_predictions")
        (asked,) = sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).run_requests or ()
    assert [key.path for key in asked.asset_selection or ()] == [["tiny", "predictions"]]
    assert sensor.job_name == "tiny_predictions"
    # What comes after a decision is no part of it.
    assert list(entry["inputs"]) == sorted(STEPS[:-1])
    assert [name for name, _ in entry["keys"]] == list(STEPS[:-1])
