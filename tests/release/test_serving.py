"""Whether a saved model can be served: a clean process answers as recorded, or the gate says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.evaluation.predict import load, predict
from assets.progress import Progress
from assets.release.serving import conditions, differing, megabytes, serve
from assets.store.digests import write_json
from assets.store.step import Build
from assets.store.store import Store
from assets.tasks.classification import pretrained
from assets.tasks.loading import load_tokenizer, quiet
from tests.conftest import MakeBuild
from tests.tiny import LABELS, make_base_model, make_rows, make_splits

ROWS = make_rows(40, seed=5)
SCORES = [{"ham": 0.9, "spam": 0.1}, {"ham": 0.2, "spam": 0.8}]

MakeEvaluated = Callable[..., Build]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base, folder = (tmp_path_factory.mktemp(name) for name in ("base", "trained"))
    with quiet():
        pretrained(make_base_model(base), LABELS).save_pretrained(folder / "model")
        load_tokenizer(base).save_pretrained(folder / "model")
    return folder


@pytest.fixture
def evaluated(make_build: MakeBuild, store: Store, model: Path, tmp_path: Path) -> MakeEvaluated:
    """A build of the step `release`; `temperature` is what the recorded scores were calibrated with."""

    def make(*, temperature: float | None = None) -> Build:
        found = predict(load(model / "model"), [text for text, _ in ROWS], Progress("predict"))[1]
        scores = found ** (1 / (temperature or 1.0))
        scores = scores / scores.sum(axis=1, keepdims=True)
        folder = tmp_path / "evaluation"
        folder.mkdir()
        columns = {"row_id": [f"{at:032x}" for at in range(len(ROWS))], "scores": scores.tolist()}
        pq.write_table(pa.table(columns), folder / "predictions.parquet")
        write_json(folder / "metrics.json", {"confusion": {"labels": list(LABELS)}})
        if temperature is not None:
            write_json(folder / "calibration.json", {"temperature": temperature})
        splits = make_splits(store, ROWS, ["test"] * len(ROWS))
        return make_build({"model": model, "splits": splits, "evaluation": folder})

    return make


def test_a_saved_model_answers_as_recorded(evaluated: MakeEvaluated, model: Path) -> None:
    build = evaluated(temperature=2.5)

    made = conditions(build, servable=True, max_size_mb=0.01, max_latency_ms=60_000.0)

    assert [(each.name, each.passed) for each in made] == [("size", False), ("servable", True), ("latency", True)]
    assert made[0].message.endswith("at most 0.0 MB are allowed")
    assert made[1].message == "loads without freshtune and answers 40 test rows as recorded"
    told = json.loads((build.trace / "serving.json").read_text())
    assert 0 < told["median_ms"] <= told["p95_ms"] == made[2].value
    assert told["size_mb"] == made[0].value == megabytes(model / "model")


def test_nothing_is_loaded_unless_asked_for(evaluated: MakeEvaluated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.release.serving.serve", None)
    build = evaluated()
    assert conditions(build, servable=None, max_size_mb=None, max_latency_ms=None) == []
    assert list(json.loads((build.trace / "serving.json").read_text())) == ["size_mb"]


def test_a_model_that_needs_our_code_or_is_damaged_cannot_be_served(tmp_path: Path) -> None:
    served = serve(tmp_path, ["some text"], SCORES[:1])
    assert served.problem.startswith("it cannot be loaded: ")
    assert served.p95_ms is None


def test_one_that_takes_too_long(tmp_path: Path) -> None:
    served = serve(tmp_path, ["some text"], SCORES[:1], timeout=0.05)
    assert served.problem == "it did not load and answer 1 rows within 0 s"


def test_other_answers_are_counted() -> None:
    assert differing(SCORES, SCORES) == ""
    close = [{"ham": 0.9005, "spam": 0.0995}, SCORES[1]]
    assert differing(close, SCORES) == ""
    other = [{"ham": 0.8, "spam": 0.2}, SCORES[1]]
    assert differing(other, SCORES) == "1 of 2 rows get other scores than recorded, by up to 0.1"
    broken = [{"ham": float("nan"), "spam": float("nan")}, SCORES[1]]
    assert differing(broken, SCORES).startswith("1 of 2 rows get other scores")


def test_a_label_that_the_model_lacks_counts_as_zero() -> None:
    assert differing([{"ham": 1.0}], [{"ham": 1.0, "spam": 0.0}]) == ""
    assert differing([{"ham": 1.0}], [{"ham": 0.5, "spam": 0.5}]) != ""
