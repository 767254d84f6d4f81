"""The registry over the whole chain on a tiny random model: lineage, difference, adoption, and no row's text in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.project import ROWS, Project
from tests.tiny import LABELS, make_rows

pytestmark = [
    # MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    # Importing mlflow.pyfunc, as loading a model does, warns about type hints of MLflow's own.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

CANARY = "zqcanary"
"""A word that every row has, and nothing else."""
ALL = [(f"{text} {CANARY}", label) for text, label in make_rows(ROWS + 5, seed=0)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two versions: the second with three more rows, two less, one relabelled, and one setting changed."""
    project = Project.make(tmp_path_factory.mktemp("registered") / "project")
    project.write("first.csv", [*ALL[:ROWS], ("", "ham"), (f"{CANARY} odd", "eggs")])
    project.run()
    text, label = ALL[2]
    other = next(each for each in LABELS if each != label)
    project.write("first.csv", [(text, other), *ALL[3 : ROWS + 3]])
    # What is not promoted is registered all the same.
    project.declare(training={"epochs": 3}, gate={"below_champion": 1.0})
    project.run()
    return project


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Iterator[Project]:
    copy = built.copy(tmp_path / "project")
    yield copy
    assert copy.faults() == []


def said(project: Project, *arguments: str) -> Any:
    result = project.freshtune("models", "tiny", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


def test_no_text_of_a_row_is_in_a_database(built: Project) -> None:
    databases = [path for path in built.home.rglob("*") if path.is_file() and path.suffix in {".db", ".sqlite"}]
    assert {"mlflow.db"} < {path.name for path in databases}, "Dagster's and MLflow's"
    for path in databases:
        # Write-ahead logs too.
        for file in path.parent.glob(f"{path.name}*"):
            assert CANARY.encode() not in file.read_bytes(), file
    in_store = [path for path in built.home.glob("store/objects/*/*/errors.json") if CANARY in path.read_text("utf-8")]
    assert in_store or list(built.home.glob("store/objects/*/*/rows.feather")), "it is where it belongs"


def test_lineage(built: Project) -> None:
    found = said(built, "lineage", "1", "--json")
    assert (found["pipeline"], found["version"], found["environment"], found["origin"]) == ("tiny", 1, "default", "")
    (source,) = found["sources"]
    assert source["name"].endswith("data/first.csv")
    assert {name: found["rows"][name] for name in ("read", "kept", "quarantined", "merged")} == {
        "read": ROWS + 2,
        "kept": ROWS,
        "quarantined": 2,
        "merged": 0,
    }
    assert sum(found["rows"][side] for side in ("train", "validation", "test")) == ROWS
    assert sum(found["quarantine"].values()) == 2
    assert found["parent"]["name"] == "base"
    assert "model.safetensors" in {each["name"] for each in found["parent"]["files"]}
    steps = {each["step"]: each for each in found["steps"]}
    assert list(steps) == ["raw", "validated", "cleaned", "splits", "model", "evaluation"]
    assert steps["model"]["configuration"]["training.epochs"] == 4
    assert "torch" in steps["model"]["environment"]
    assert steps["model"]["content"] == found["model"]
    assert steps["splits"]["content"] == steps["model"]["inputs"]["splits"] == found["digests"]["data"]
    assert found["checks"]["splits"]["no_leak_between_sides"]["passed"]
    assert len(found["run"]) == 36
    assert found["decisions"][0]["kind"] == "decision"
    shown = said(built, "lineage", "1")
    for word in (
        "sources",
        "quarantine",
        "started from",
        "training.epochs = 4",
        "no_leak_between_sides",
        source["name"],
    ):
        assert word in shown


def test_digests_tell_what_changed(built: Project) -> None:
    one, two = (said(built, "lineage", version, "--json")["digests"] for version in ("1", "2"))
    assert one["data"] != two["data"]
    assert one["configuration"] != two["configuration"]
    assert (one["code"], one["environment"]) == (two["code"], two["environment"])


def test_diff(built: Project) -> None:
    found = said(built, "diff", "1", "2", "--json")
    assert found["settings"] == [{"what": "training.epochs", "old": 4, "new": 3}]
    assert (found["environment"], found["code"]) == ([], [])
    counts = {name: found["data"][name] for name in ("added", "removed", "relabelled")}
    assert counts == {"added": 3, "removed": 2, "relabelled": 1}
    assert [each["metric"] for each in found["metrics"]] == ["accuracy", "precision_macro", "recall_macro", "f1_macro"]
    assert {each["label"] for each in found["labels"]} == set(LABELS)
    back = said(built, "diff", "2", "1", "--json")
    assert [-each["difference"] for each in back["metrics"]] == [each["difference"] for each in found["metrics"]]
    shown = said(built, "diff", "1", "2")
    assert "3 added, 2 removed, 1 with another label" in shown
    assert "training.epochs" in shown


def test_tags_of_a_version(built: Project) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{built.home}/mlflow.db"
    version = MlflowClient(tracking_uri=uri, registry_uri=uri).get_model_version("tiny", "1")
    tags = version.tags
    found = said(built, "lineage", "1", "--json")
    assert {name: tags[f"freshtune.digest.{name}"] for name in found["digests"]} == found["digests"]
    assert tags["freshtune.rows.train"] == str(found["rows"]["train"])
    assert (tags["freshtune.parent"], tags["freshtune.run"]) == ("base", found["run"])
    made_from = (
        (Path(version.source.removeprefix("file://")) / "model_card.md").read_text().partition("## Made from")[2]
    )
    assert found["sources"][0]["sha256"][:12] in made_from
    assert "- started from: base " in made_from
    assert found["run"] in made_from


def test_training_again_to_the_same_bytes_makes_no_version(project: Project) -> None:
    versions = said(project, "--json")["versions"]
    found = project.run("--force", "model", "--force", "release")
    assert {step["step"]: step["action"] for step in found["steps"]}["model"] == "built"
    assert [each["model"] for each in said(project, "--json")["versions"]] == [each["model"] for each in versions]


def test_what_is_changed_in_mlflow_is_told(project: Project) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{project.home}/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    # The copy's database is another one than was settled.
    due = said(project, "restore", "--json")["champion"]
    other = 3 - due
    client.set_registered_model_alias("tiny", "champion", str(other))
    assert said(project, "--json")["by_hand"] == [{"alias": "champion", "found": other, "due": due}]
    told = f"alias champion was set to version {other} in MLflow by hand; by the promotion log it is version {due}"
    assert told in project.freshtune("models", "tiny").stderr
    findings = json.loads(project.freshtune("doctor", "--json").stdout)["checks"]
    (finding,) = [each for each in findings if each["name"] == "tiny, registry"]
    assert (finding["state"], finding["message"]) == ("note", told)
    assert "`freshtune models tiny restore`" in finding["fix"]
    assert said(project, "restore", "--json")["by_hand"] == []
    assert client.get_registered_model("tiny").aliases["champion"] == due


def test_an_adopted_model_is_the_first_champion(built: Project, tmp_path: Path) -> None:
    """Predicted with, compared with, rolled back to: like one that was trained here."""
    (content,) = [
        path.parent.parent
        for path in built.home.glob("store/objects/*/*/model/config.json")
        if path.parent.parent.name == said(built, "--json")["versions"][-1]["model"]
    ]
    folder = shutil.copytree(content / "model", tmp_path / "old")
    project = Project.make(tmp_path / "project")
    project.declare(gate={"below_champion": 1.0})
    result = project.freshtune("models", "tiny", "adopt", str(folder), "--why", "in use since spring")
    assert result.exit_code == 0, result.output
    assert "tiny version 1 is the champion" in result.stderr
    assert "Nobody here knows what it was trained on" in result.stderr
    labels = project.freshtune("predict", "tiny", "urgent prize claim", "--json")
    assert json.loads(labels.stdout)["predicted"] in LABELS
    refused = project.freshtune("models", "tiny", "adopt", str(folder), "--why", "again")
    assert refused.exit_code == 2
    assert "is the champion already" in refused.stderr
    assert project.run()["release"]["version"] == 2
    release = project.home.glob("store/objects/*/*/decision.json")
    texts = [path.read_text() for path in release]
    assert any("it was trained elsewhere, and may have seen these rows" in text for text in texts)
    assert said(project, "rollback", "--why", "x", "--json")["champion"] == 1
    found = said(project, "lineage", "1", "--json")
    assert (found["origin"], found["steps"], found["parent"]) == (str(folder), [], None)
    assert "trained elsewhere" in said(project, "lineage", "1")
    assert said(project, "diff", "1", "2", "--json")["data"] is None
    assert "rows: unknown" in said(project, "diff", "1", "2")
    assert project.faults() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id2label": {"0": "yes", "1": "no"}}, "it knows none of the task's labels: it answers with yes, no"),
        (None, "its weights are pickled (pytorch_model.bin)"),
        ({"hidden_size": 48}, "its weights do not fit its config.json"),
    ],
)
def test_what_cannot_be_adopted(built: Project, tmp_path: Path, change: dict[str, Any] | None, message: str) -> None:
    """Nothing is written to the log, and the fix is named."""
    model = said(built, "--json")["versions"][-1]["model"]
    folder = tmp_path / "old"
    shutil.copytree(built.home / "store" / "objects" / model[:2] / model / "model", folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    if change is None:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    else:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **change}))
    project = Project.make(tmp_path / "project")
    result = project.freshtune("models", "tiny", "adopt", str(folder), "--why", "x")
    assert result.exit_code != 0
    assert message in " ".join(result.stderr.split())
    assert "fix:" in result.stderr
    assert said(project, "--json")["log"] == []


def test_labels_that_only_one_knows_are_said(built: Project, tmp_path: Path) -> None:
    model = said(built, "--json")["versions"][-1]["model"]
    folder = built.home / "store" / "objects" / model[:2] / model / "model"
    project = Project.make(tmp_path / "project")
    project.declare(task={"labels": ["ham", "eggs"]})
    result = project.freshtune("models", "tiny", "adopt", str(folder), "--why", "x")
    assert result.exit_code == 0, result.output
    assert "It never answers with eggs, which the task has." in result.stderr
    assert "It may answer with spam, which the task has not." in result.stderr


def test_a_model_of_mlflow_is_adopted(project: Project) -> None:
    shutil.copytree(project.folder / "pipelines" / "tiny", project.folder / "pipelines" / "other")
    result = project.freshtune("models", "other", "adopt", "models:/tiny/1", "--why", "x")
    assert result.exit_code == 0, result.output
    assert "other version 1 is the champion" in result.stderr
    lost = project.freshtune("models", "other", "lineage", "1", "--json")
    assert json.loads(lost.stdout)["origin"] == "models:/tiny/1"
