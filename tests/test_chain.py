"""The whole chain on a tiny random model: every step real, and only what a change makes stale is built again."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assets.chain import chain_of
from assets.session import open_runner
from assets.store.runner import StepResult
from tests.config.test_pipeline import make
from tests.project import ROWS, STEPS, Project, actions, digests, in_this_process
from tests.tiny import LABELS, make_rows

pytestmark = [
    # MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    # Importing mlflow.pyfunc, as loading a model does, warns about type hints of MLflow's own.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

BUILT = dict.fromkeys(STEPS, "built")
FRESH = dict.fromkeys(STEPS, "fresh")
MORE = make_rows(ROWS + 1, seed=0)[-1]
"""A row that the project does not have."""
PRINTED = """
import sys
from assets.cli.main import app
app(["run", "tiny", "--json"], standalone_mode=False)
print(*{name.partition(".")[0] for name in sys.modules})
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, Any]]:
    """A project that was run once through Dagster by the command line, and what it printed."""
    project = Project.make(tmp_path_factory.mktemp("chain") / "project")
    return project, project.run()


@pytest.fixture(scope="module")
def built(first: tuple[Project, dict[str, Any]]) -> Project:
    """The same project, to look at only."""
    return first[0]


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


def content(project: Project, step: str) -> Path:
    digest = stood(project, step).record.content
    return project.home / "store" / "objects" / digest[:2] / digest


def trace(project: Project, step: str) -> Path:
    digest = stood(project, step).record.trace
    return project.home / "store" / "traces" / digest[:2] / digest


def origins(project: Project) -> list[dict[str, Any]]:
    from assets.raw import rows

    found: list[dict[str, Any]] = rows.origins(content(project, "raw"), trace(project, "raw")).to_pylist()
    return found


def planned(project: Project) -> dict[str, list[str]]:
    """Reasons of each step that a run would not leave as it is."""
    result = project.freshtune("plan", "tiny", "--json")
    assert result.exit_code == 0, result.output
    steps = json.loads(result.stdout)["steps"]
    return {
        step["step"]: [f"{reason['kind']} {reason['what']}" for reason in step["reasons"]]
        for step in steps
        if step["state"] != "fresh"
    }


def test_the_steps_here_are_those_of_the_chain() -> None:
    assert tuple(step.name for step in chain_of(make())) == STEPS


def test_first_run_builds_everything_and_promotes(first: tuple[Project, dict[str, Any]]) -> None:
    project, found = first
    assert actions(found) == BUILT
    assert found["success"] is True
    assert re.fullmatch(r"[0-9a-f-]{36}", found["run_id"])
    assert found["release"] == {"decision": "promoted", "version": 1, "alias": "champion"}
    # The toy task can be learned, and so it must have been.
    assert found["metrics"]["f1_macro"] >= 0.9
    account = {name: count for name, count in stood(project, "release").measurements["account"].items() if count}
    assert account == {"read": ROWS, "kept": ROWS}
    assert project.faults() == []


def test_second_run_starts_nothing_and_imports_nothing_heavy(first: tuple[Project, dict[str, Any]]) -> None:
    project, before = first
    said, imported = project.finish(sys.executable, "-c", PRINTED).splitlines()
    found, modules = json.loads(said), set(imported.split())
    assert found["run_id"] is None
    assert (actions(found), digests(found)) == (FRESH, digests(before))
    assert (found["metrics"], found["release"]) == (before["metrics"], before["release"])
    assert "assets" in modules
    heavy = {"torch", "transformers", "great_expectations", "mlflow", "pandas", "datasets"}
    assert not modules & (heavy | {"dagster", "numpy", "pyarrow"})


def test_new_row_reruns_the_whole_chain_by_the_store_alone_and_back_again_reuses(project: Project) -> None:
    before = {step: stood(project, step).record.content for step in STEPS}
    project.write("second.csv", [MORE])
    assert planned(project)["raw"] == [f"source +1 file, {(project.folder / 'data' / 'second.csv').stat().st_size} B"]
    with project.entered():
        runner = open_runner("tiny", launcher=in_this_process)
        results = [runner.run_step(step) for step in runner.plan().to_run]
    assert {result.step: result.action for result in results} == BUILT
    assert results[0].measurements["rows"] == ROWS + 1
    assert all(result.record.content != before[result.step] for result in results)
    assert all(outcome.passed for result in results for outcome in result.outcomes.values())

    (project.folder / "data" / "second.csv").unlink()
    found = project.run()
    # That there was a row is remembered, which makes no difference to the sides. The gate decides anew, about the model
    # that is the challenger again.
    remembering = dict.fromkeys(("raw", "validated", "cleaned", "splits"), "built")
    assert actions(found) == {**dict.fromkeys(STEPS, "reused"), **remembering, "release": "built"}
    assert {step: digests(found)[step] for step in ("splits", "model", "evaluation")} == {
        step: before[step] for step in ("splits", "model", "evaluation")
    }


def test_renamed_file_changes_only_where_rows_come_from(project: Project) -> None:
    before = stood(project, "raw").record
    (project.folder / "data" / "first.csv").rename(project.folder / "data" / "renamed.csv")
    found = project.run()
    assert actions(found) == {**FRESH, "raw": "built"}
    after = stood(project, "raw").record
    assert after.content == before.content
    assert after.trace != before.trace
    assert {origin["file"] for origin in origins(project)} == {"data/renamed.csv"}


def test_repeated_row_changes_only_the_trace_of_raw(project: Project) -> None:
    before = stood(project, "raw").record
    project.write("again.csv", make_rows(1, seed=0))
    found = project.run()
    assert actions(found) == {**FRESH, "raw": "built"}
    raw = stood(project, "raw")
    assert raw.record.content == before.content
    assert (raw.measurements["rows"], raw.measurements["repeated"]) == (ROWS, 1)
    twice = [origin["row_id"] for origin in origins(project) if origin["file"] == "data/again.csv"]
    places = [(origin["file"], origin["line"]) for origin in origins(project) if origin["row_id"] in twice]
    assert places == [("data/again.csv", 2), ("data/first.csv", 2)]


def test_gate_threshold_changes_only_the_release(project: Project) -> None:
    project.declare(gate={"floor": 0.4})
    assert planned(project) == {"release": ["config gate.floor"]}
    found = project.run()
    assert actions(found) == {**FRESH, "release": "built"}
    assert found["release"] == {"decision": "unchanged", "version": 1, "alias": "champion"}


def test_learning_rate_changes_the_model_and_what_follows_and_people_rule_over_versions(project: Project) -> None:
    before = stood(project, "model").record.content
    project.declare(training={"learning_rate": 1e-3}, gate={"below_champion": 1.0})
    assert planned(project)["model"] == ["config training.learning_rate"]
    found = project.run()
    rerun = dict.fromkeys(("model", "evaluation", "release"), "built")
    assert actions(found) == {**FRESH, **rerun}
    assert digests(found)["model"] != before
    assert found["release"] == {"decision": "promoted", "version": 2, "alias": "champion"}

    project.declare(gate={"below_champion": 1.0})
    found = project.run()
    assert actions(found) == {**FRESH, "model": "reused", "evaluation": "reused", "release": "built"}
    assert digests(found)["model"] == before
    assert found["release"] == {"decision": "promoted", "version": 1, "alias": "champion"}

    assert managed(project, "rollback", "--why", "too slow")["champion"] == 2
    assert champion(project).tags["freshtune.model"] != before
    # What a person took out stays out, however often it is trained.
    found = project.run("--force", "release")
    assert found["release"]["decision"] == "refused"
    listed = managed(project, "promote", "1", "--why", "needed after all")
    assert listed["champion"] == 1
    assert [entry["kind"] for entry in listed["log"]] == ["decision"] * 3 + ["rollback", "decision", "promote"]
    assert [entry["champion"] for entry in listed["log"]] == [1, 2, 1, 2, 2, 1]
    assert [entry["why"] for entry in listed["log"] if entry["kind"] != "decision"] == ["too slow", "needed after all"]
    assert champion(project).tags["freshtune.model"] == before


def managed(project: Project, *arguments: str) -> dict[str, Any]:
    result = project.freshtune("models", "tiny", *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def champion(project: Project) -> Any:
    """MLflow's model version with the alias."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{project.home / 'mlflow.db'}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri).get_model_version_by_alias("tiny", "champion")


def test_splits_open_with_datasets(built: Project) -> None:
    from assets.splits.rows import dataset

    sides = dataset(content(built, "splits"), LABELS)
    assert {name: side.num_rows for name, side in sides.items()} == stood(built, "splits").measurements["rows"]
    assert sum(side.num_rows for side in sides.values()) == ROWS
    assert sides["test"].features["label"].names == list(LABELS)
    texts = dict(make_rows(ROWS, seed=0))
    assert all(texts[row["text"]] == LABELS[row["label"]] for side in sides.values() for row in side)


def test_model_loads_with_plain_transformers_and_gives_the_same_predictions(built: Project) -> None:
    import pyarrow.parquet as pq
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from assets.splits.rows import read_side

    folder = content(built, "model") / "model"
    assert not list(folder.glob("*.bin"))
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = read_side(content(built, "splits"), "test").to_pydict()
    with torch.inference_mode():
        inputs = AutoTokenizer.from_pretrained(folder)(rows["text"], padding=True, truncation=True, return_tensors="pt")
        chosen = model(**inputs).logits.argmax(1).tolist()
    predictions = pq.read_table(content(built, "evaluation") / "predictions.parquet").to_pydict()
    assert predictions["row_id"] == rows["row_id"]
    assert predictions["predicted"] == [model.config.id2label[index] for index in chosen]


def test_report_is_self_contained(built: Project) -> None:
    result = built.freshtune("report", "tiny")
    assert result.exit_code == 0, result.output
    path = Path(result.stdout.strip())
    assert path == trace(built, "release") / "report.html"
    page = path.read_text(encoding="utf-8")
    assert "<title>Promoted: tiny" in page
    # Whatever the page loads is in it; a link that a person clicks may lead outside.
    loaded = re.findall(r"""<(?!a\b)[a-z]+\b[^>]*?\b(?:src|href)\s*=\s*["']?([^"'\s>]+)""", page)
    loaded += re.findall(r"""url\(\s*["']?([^"')]+)""", page)
    assert "<svg" in page or any(address.startswith("data:image") for address in loaded)
    assert [address for address in loaded if not address.startswith(("data:", "#"))] == []
    assert not re.search(r"@import|<script[^>]+src|<iframe", page)


def test_champion_loads_from_mlflow(built: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    assert champion(built).version in {1, "1"}
    # Not `mlflow.set_tracking_uri`: it would stay in the environment of every later test.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{built.home / 'mlflow.db'}")
    pipeline = mlflow.transformers.load_model("models:/tiny@champion", device="cpu")
    assert [found["label"] for found in pipeline(["urgent prize claim", "dinner home sister"])] == ["spam", "ham"]


def test_predict_answers(built: Project) -> None:
    result = built.freshtune("predict", "tiny", "urgent  prize claim", "dinner home sister", "--json")
    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["predicted"] for answer in answers] == ["spam", "ham"]
    assert all(0.5 < answer["confidence"] <= 1 for answer in answers)


def test_program_runs_by_hand_and_gives_the_same_bytes(built: Project, tmp_path: Path) -> None:
    spec = trace(built, "model") / "spec.json"
    built.finish(sys.executable, "-m", "assets.model", str(spec), "--output", str(tmp_path))
    by_hand, by_chain = tmp_path / "content" / "model", content(built, "model") / "model"
    names = sorted(path.name for path in by_chain.iterdir())
    assert "model.safetensors" in names
    assert names == sorted(path.name for path in by_hand.iterdir())
    assert [name for name in names if (by_hand / name).read_bytes() != (by_chain / name).read_bytes()] == []


def test_a_damaged_store_is_noticed_by_these_tests(project: Project) -> None:
    """The helper of the tests that follow a fault must see one."""

    def emptied(path: Path) -> None:
        path.chmod(0o644)
        path.write_bytes(b"")

    harm: list[tuple[Callable[[Path], object], Path, str]] = [
        (Path.unlink, content(project, "raw") / "rejected.parquet", "other files than in its manifest"),
        (Path.unlink, content(project, "splits") / "manifest.json", "no manifest"),
        (emptied, trace(project, "model") / "curve.png", "other files than in its manifest"),
    ]
    for damage, path, fault in harm:
        whole = path.read_bytes()
        damage(path)
        assert any(fault in each for each in project.faults())
        path.unlink(missing_ok=True)
        path.write_bytes(whole)
        assert project.faults() == []
