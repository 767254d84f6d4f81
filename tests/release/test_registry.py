"""MLflow is brought in line with the promotion log; all on a real SQLite store."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from assets.errors import FreshtuneError, TransientError
from assets.progress import Progress
from assets.release import by_hand, log
from assets.release.mlflow_access import page_of
from assets.release.registration import TAG
from assets.release.registry import settle
from assets.store.step import LogEntry, Settlement
from assets.store.store import MEASUREMENTS, Record, Store
from assets.tasks import classification
from tests.release.material import METRICS, WHEN, entry, write_json, write_model
from tests.tiny import LABELS, make_base_model, make_splits

pytestmark = [
    # MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    # Importing mlflow.pyfunc, as loading a model does, warns about type hints of MLflow's own.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

CALLS = [
    "create_registered_model",
    "create_experiment",
    "create_run",
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "log_batch",
    "log_outputs",
    "log_text",
    "set_terminated",
    "create_model_version",
    "set_registered_model_alias",
]
"""What settling writes to MLflow with."""

SIGNED = {"by": "ada", "when": WHEN, "why": "asked for"}


@dataclass(frozen=True)
class Place:
    """A store with made-up objects and an MLflow database, for all tests of the module.

    Attributes:
        folder: where objects are, `content/DIGEST` and `trace/DIGEST`.
        splits: content of the step `splits`.
        uri: tracking URI of the database.
    """

    folder: Path
    splits: Path
    uri: str

    def settlement(self, pipeline: str, entries: list[LogEntry], **changed: Any) -> Settlement:
        made = Settlement(
            pipeline=pipeline,
            environment="default",
            entries=tuple(entries),
            content=self._content,
            trace=lambda digest: self._release(digest, "trace"),
            tracking_uri=self.uri,
            artifact_root=str(self.folder / "artifacts"),
            progress=Progress("release"),
        )
        return replace(made, **changed)

    def _content(self, digest: str) -> Path:
        """Objects by the names that `entry` makes up: models a, b, c have the same weights."""
        if digest.startswith("splits-of-"):
            return self.splits
        return self._release(digest, "content") if digest.startswith("content-") else self.folder / "model"

    def _release(self, digest: str, part: str) -> Path:
        folder = self.folder / part / digest
        folder.mkdir(parents=True, exist_ok=True)
        values = dict.fromkeys(METRICS, 0.75)
        write_json(folder / "decision.json", {"metrics": values, "baseline": dict.fromkeys(METRICS, 0.5)})
        (folder / "card.md").write_text(
            '---\na: b\n---\n\n# Card\n\n---\n\nload_model("models:/alone@champion")\n', "utf-8"
        )
        (folder / "report.html").write_text(f"<p>{digest} with texts</p>", "utf-8")
        (folder / "registry.html").write_text(f"<p>{digest}</p>", "utf-8")
        return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    import torch
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("registry")
    base = make_base_model(folder / "base")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = classification.pretrained(base, LABELS)
    write_model(folder / "model", LABELS)
    model.save_pretrained(folder / "model" / "model")
    AutoTokenizer.from_pretrained(base).save_pretrained(folder / "model" / "model")
    store = Store(str(folder / "store"), folder / "cache")
    rows = [("dinner sister", "ham"), ("urgent prize", "spam"), ("dinner home", "ham")]
    splits = make_splits(store, rows, ["train", "test", "test"])
    return Place(folder, splits, f"sqlite:///{folder}/mlflow.db")


@pytest.fixture
def client(place: Place) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=place.uri, registry_uri=place.uri)


@pytest.fixture
def tracking(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MLflow's own functions see the same database, and forget it afterwards, in the environment too."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.uri)


def everything(client: Any, name: str) -> dict[str, Any]:
    """What MLflow holds about a pipeline."""
    versions = client.search_model_versions(f"name = '{name}'")
    experiment = client.get_experiment_by_name(name)
    ids = [experiment.experiment_id]
    return {
        "versions": {int(version.version): version.tags[TAG] for version in versions},
        "runs": len(client.search_runs(ids)),
        "models": len(client.search_logged_models(ids)),
        "aliases": client.get_registered_model(name).aliases,
    }


def test_the_first_use_says_nothing_on_the_terminal(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """First in the file, so that it is this call that makes the database's tables."""
    settle(place.settlement("alone", [entry(0, "a", "a")]))
    assert capfd.readouterr() == ("", "")


def test_the_first_model(place: Place, client: Any) -> None:
    result = settle(place.settlement("alone", [entry(0, "a", "a")]))
    assert result == {
        "name": "alone",
        "server": place.uri,
        "versions": {"a": 1},
        "deleted": {},
        "challenger": 1,
        "champion": 1,
        "previous": None,
        "by_hand": [],
        "url": None,
        "delivered": 0,
        "undelivered": None,
    }
    version = client.get_model_version_by_alias("alone", "champion")
    assert version.description == '# Card\n\n---\n\nload_model("models:/alone@champion")'
    assert version.tags == {
        TAG: "a",
        "freshtune.pipeline": "alone",
        "freshtune.environment": "default",
        "freshtune.decision": "promoted",
        "freshtune.input.splits": "splits-of-a",
        "freshtune.input.model": "a",
        "freshtune.input.evaluation": "evaluation-of-a",
    }, "what is known of a decision that was made before keys were kept"
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/f1_macro"] == 0.75
    assert run.data.metrics["baseline/f1_macro"] == 0.5
    curve = client.get_metric_history(version.run_id, "train/loss")
    assert [(point.step, point.value) for point in curve] == [(step, 1 / step) for step in range(1, 9)]
    epochs = client.get_metric_history(version.run_id, "validation/f1_macro")
    assert [(point.step, point.value) for point in epochs] == [(4, 0.9), (8, 0.8)]
    assert [file.path for file in client.list_artifacts(version.run_id)] == ["report.html"]
    uploaded = Path(run.info.artifact_uri) / "report.html"
    assert uploaded.read_text("utf-8") == "<p>trace-0</p>", "the one without the texts of rows"
    (output,) = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert {metric.key: metric.value for metric in model.metrics}["test/accuracy"] == 0.75
    assert str(model.status) == "READY"


@pytest.mark.usefixtures("tracking")
def test_the_champion_loads_and_answers(place: Place) -> None:
    import mlflow

    settle(place.settlement("alone", [entry(0, "a", "a")]))
    classify = mlflow.transformers.load_model("models:/alone@champion")
    assert classify.task == "text-classification"
    own = classification.pretrained(place.folder / "model" / "model", LABELS).eval()
    answers = classify(["urgent prize claim", "dinner home"])
    assert {answer["label"] for answer in answers} <= set(LABELS)
    expected = own(**classify.tokenizer(["urgent prize claim"], return_tensors="pt")).logits.softmax(-1).max().item()
    assert answers[0]["score"] == pytest.approx(expected, abs=1e-6)
    information = mlflow.models.get_model_info("models:/alone@champion")
    assert [column.type.name for column in information.signature.inputs] == ["string"]
    assert information.signature.outputs.input_names() == ["label", "score"]
    served = mlflow.pyfunc.load_model("models:/alone@champion")
    assert list(served.input_example) == ["An example of a text."], "made up: no row of the data"
    table = served.predict(served.input_example)
    assert table.to_dict("records") == classify(["An example of a text."])


def test_artifacts_are_weights_and_text_only(place: Place, client: Any) -> None:
    settle(place.settlement("alone", [entry(0, "a", "a")]))
    root = Path(client.get_model_version("alone", "1").source)
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    assert {path.suffix for path in files.values()} <= {".safetensors", ".json", ".yaml", ".txt", ".md", ""}
    assert (
        files["model/model.safetensors"].read_bytes() == (place.folder / "model/model/model.safetensors").read_bytes()
    )
    assert not [name for name, path in files.items() if path.read_bytes()[:2] == b"\x80\x04"], "no pickle"
    pins = files["requirements.txt"].read_text().split()
    assert sorted(pin.split("==")[0] for pin in pins) == ["mlflow", "torch", "transformers"]
    assert "+" not in files["requirements.txt"].read_text()
    assert files["model_card.md"].read_text().count("# Card") == 1


@pytest.mark.usefixtures("tracking")
def test_no_code_of_freshtune_is_needed_to_load_and_serve_it(place: Place, tmp_path: Path) -> None:
    """In processes that start elsewhere and have nothing of ours on their path."""
    settle(place.settlement("alone", [entry(0, "a", "a")]))
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    alone = {**kept, "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore", "MLFLOW_TRACKING_URI": place.uri}
    (tmp_path / "rows.json").write_text(json.dumps({"inputs": ["urgent prize claim", "dinner home"]}))
    code = """
import sys, mlflow
sys.modules["assets"] = None  # so that importing it fails, wherever it is installed
classify = mlflow.transformers.load_model("models:/alone@champion")
print([answer["label"] for answer in classify(["urgent prize claim", "dinner home"])])
from mlflow.models import predict
predict(model_uri="models:/alone@champion", input_path="rows.json", output_path="out.json", env_manager="local")
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = json.loads((tmp_path / "out.json").read_text())["predictions"]
    assert [answer["label"] for answer in answers] == ast.literal_eval(done.stdout.splitlines()[-1])
    assert {answer["label"] for answer in answers} <= set(LABELS)


def test_settling_twice_is_settling_once(place: Place, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settlement = place.settlement("twice", [entry(0, "a", "a"), entry(1, "b", "a")])
    first = settle(settlement)
    before = everything(client, "twice")
    unwanted: Callable[..., Any] = pytest.fail
    for call in [*CALLS, "delete_registered_model_alias"]:
        monkeypatch.setattr(type(client), call, unwanted)
    assert settle(replace(settlement, content=unwanted, trace=unwanted)) == first, "and nothing is written or opened"
    assert everything(client, "twice") == before
    assert before == {
        "versions": {1: "a", 2: "b"},
        "runs": 2,
        "models": 2,
        "aliases": {"challenger": 2, "champion": 1},
    }


def test_a_refused_challenger_is_registered_and_the_champion_stays(place: Place, client: Any) -> None:
    result = settle(place.settlement("twice", [entry(0, "a", "a"), entry(1, "b", "a")]))
    assert (result["versions"], result["challenger"], result["champion"]) == ({"a": 1, "b": 2}, 2, 1)
    assert client.get_model_version_by_alias("twice", "champion").tags[TAG] == "a"
    assert client.get_model_version_by_alias("twice", "challenger").tags["freshtune.decision"] == "refused"


def test_a_change_of_champion_moves_the_alias(place: Place, client: Any) -> None:
    entries = [entry(0, "a", None)]
    assert settle(place.settlement("moves", entries))["champion"] is None
    assert everything(client, "moves")["aliases"] == {"challenger": 1}
    for made, aliases in (
        (log.promote(entries, "a", **SIGNED), {"challenger": 1, "champion": 1}),
        (entry(2, "b", "b").fields, {"challenger": 2, "champion": 2, "previous": 1}),
        ({**log.rollback([entry(0, "a", "a"), entry(1, "b", "b")], **SIGNED)}, {"challenger": 2, "champion": 1}),
    ):
        entries.append(LogEntry(len(entries), made))
        assert settle(place.settlement("moves", entries))["by_hand"] == []
        assert everything(client, "moves")["aliases"] == aliases


def test_the_same_model_decided_again_is_one_version(place: Place, client: Any) -> None:
    again = entry(2, "a", "a", decision="unchanged")
    result = settle(place.settlement("moves", [entry(0, "a", "a"), entry(1, "b", "b"), again]))
    assert result["versions"] == {"a": 1, "b": 2}
    assert (result["challenger"], result["champion"]) == (1, 1)
    assert everything(client, "moves")["runs"] == 2


class KilledError(BaseException):
    """Stands for a process that is gone."""


def test_a_call_killed_anywhere_is_completed_by_the_next(
    place: Place, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed once right after each call that writes, the last attempt ends with what one undisturbed call leaves."""
    from mlflow import MlflowClient

    settlement = place.settlement("killed", [entry(0, "a", "a")])
    for call in CALLS:
        real = getattr(MlflowClient, call)

        def die(*arguments: Any, real: Callable[..., Any] = real, **more: Any) -> None:
            real(*arguments, **more)
            raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, call, die)
            with pytest.raises(KilledError):
                settle(settlement)
    assert settle(settlement)["versions"] == {"a": 1}
    assert everything(client, "killed") == {
        "versions": {1: "a"},
        "runs": 1,
        "models": 1,
        "aliases": {"challenger": 1, "champion": 1},
    }
    run = client.get_model_version("killed", "1").run_id
    assert len(client.get_run(run).outputs.model_outputs) == 1
    assert len(client.get_metric_history(run, "train/loss")) == 8, "a metric that was logged twice is there once"


def test_another_environment_has_a_name_of_its_own(place: Place, client: Any) -> None:
    result = settle(place.settlement("alone", [entry(0, "a", "a")], environment="staging"))
    assert result["name"] == "alone-staging"
    version = client.get_model_version("alone-staging", "1")
    assert 'load_model("models:/alone-staging@champion")' in version.description
    assert version.tags["freshtune.environment"] == "staging"


def test_an_empty_log_asks_nobody(place: Place) -> None:
    nothing = settle(place.settlement("none", [], tracking_uri="http://127.0.0.1:9"))
    assert nothing["versions"] == {}
    assert [nothing[alias] for alias in by_hand.ALIASES] == [None] * 3


def test_an_unreachable_server_is_told_quickly_and_without_its_password(place: Place) -> None:
    start = time.monotonic()
    settlement = place.settlement("alone", [entry(0, "a", "a")], tracking_uri="http://ada:s3cret@127.0.0.1:9")
    with pytest.raises(TransientError, match=r"^http://ada:\*\*\*@127\.0\.0\.1:9: MLflow cannot be reached") as error:
        settle(settlement)
    assert time.monotonic() - start < 15
    assert "s3cret" not in str(error.value)
    assert error.value.transient


def test_a_refusal_of_mlflow_is_not_worth_a_retry(place: Place) -> None:
    with pytest.raises(FreshtuneError, match="MLflow refuses: .*bad/name") as error:
        settle(place.settlement("bad/name", [entry(0, "a", "a")]))
    assert not error.value.transient


def test_mlflow_is_quiet_and_patient_while_it_registers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a server, MLflow prints the run's address to standard output, where programs read JSON."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    before = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_HTTP")}
    settlement = place.settlement("quiet", [entry(0, "a", "a")])
    seen: list[dict[str, str]] = []

    def content(digest: str) -> Path:
        seen.append({name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")})
        return settlement.content(digest)

    settle(replace(settlement, content=content))
    assert all(variables["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] == "true" for variables in seen)
    assert all(variables["MLFLOW_DISABLE_TELEMETRY"] == "true" for variables in seen)
    assert all("MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in variables for variables in seen)
    assert {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_HTTP")} == before
    assert "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT" not in os.environ


def test_of_a_release_without_a_report_for_it_the_registry_gets_none(place: Place, client: Any) -> None:
    """Releases of before have only the report with texts."""
    settlement = place.settlement("without", [entry(0, "a", "a")])

    def trace(digest: str) -> Path:
        folder = settlement.trace(digest)
        (folder / "registry.html").unlink()
        return folder

    settle(replace(settlement, trace=trace))
    assert client.list_artifacts(client.get_model_version("without", "1").run_id) == []


def test_a_long_curve_is_thinned(place: Place, client: Any) -> None:
    folder = write_model(place.folder / "long" / "model", LABELS)
    steps = [{"step": step, "loss": 0.5, "learning_rate": 0.1} for step in range(1, 1702)]
    history = json.loads((folder / "history.json").read_text())
    write_json(folder / "history.json", {**history, "steps": steps})
    (folder / "model").rename(folder / "unused")
    (folder / "model").symlink_to(place.folder / "model" / "model")
    settlement = place.settlement("long", [entry(0, "long", "long")])
    plain = settlement.content
    settle(replace(settlement, content=lambda digest: folder if digest == "long" else plain(digest)))
    run = client.get_model_version("long", "1").run_id
    points = [point.step for point in client.get_metric_history(run, "train/loss")]
    assert len(points) <= 500
    assert points[-1] == 1701
    assert len({after - before for before, after in pairwise(points)}) == 1


def test_the_pace_of_training_is_among_the_metrics(place: Place, client: Any, tmp_path: Path) -> None:
    write_json(tmp_path / MEASUREMENTS, {"device": "cpu", "examples_per_second": 80.5, "mfu": 0.4})
    record = Record(
        "key",
        "a",
        "trace",
        {part: {} for part in ("inputs", "code", "configuration", "environment")},
        {},
        1.0,
        0.0,
        "ada",
    )
    one = entry(0, "a", "a")
    fields = {**one.fields, "keys": [["model", "key"]], "inputs": {**one.fields["inputs"], "model": "a"}}
    settlement = place.settlement("pace", [replace(one, fields=fields)])
    plain = settlement.trace
    found = replace(
        settlement,
        record={"key": record}.get,
        trace=lambda digest: tmp_path if digest == "trace" else plain(digest),
    )
    settle(found)
    run = client.get_run(client.get_model_version("pace", "1").run_id).data.metrics
    told = {name: value for name, value in run.items() if name in {"train/examples_per_second", "train/mfu"}}
    assert told == {"train/examples_per_second": 80.5, "train/mfu": 0.4}


def test_a_long_card_is_cut_to_what_mlflow_holds(place: Place, client: Any) -> None:
    settlement = place.settlement("card", [entry(0, "a", "a")])

    def content(digest: str) -> Path:
        folder = settlement.content(digest)
        if digest.startswith("content-"):
            (folder / "card.md").write_text("---\na: b\n---\n" + "x" * 6000, "utf-8")
        return folder

    settle(replace(settlement, content=content))
    description = client.get_model_version("card", "1").description
    assert len(description) == 5000
    assert description.endswith("x…")


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("http://host:5000/", "http://host:5000/#/models/name/versions/3"),
        ("https://ada:s3cret@host", "https://ada:***@host/#/models/name/versions/3"),
        ("sqlite:///mlflow.db", None),
        ("postgresql://host/mlflow", None),
    ],
)
def test_url(uri: str, url: str | None) -> None:
    assert page_of(uri, "name", 3) == url
