"""Scoring on the test side: what is written, by which names labels meet, which errors are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.errors import DataError
from assets.evaluation import STEP, plots
from assets.evaluation.score import by_name, confident_errors, score
from assets.store.digests import digest_content
from assets.store.step import Build
from assets.store.store import Store
from assets.tasks.classification import metrics, pretrained
from assets.tasks.loading import load_tokenizer
from tests.conftest import MakeBuild
from tests.tiny import LABELS, make_rows, make_splits


@pytest.fixture
def splits(store: Store) -> Path:
    return make_splits(store, make_rows(400, seed=5))


def write_model(folder: Path, base: Path, labels: Sequence[str]) -> Path:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        pretrained(base, labels).save_pretrained(folder / "model")
    load_tokenizer(base).save_pretrained(folder / "model")
    return folder


@pytest.fixture
def make_scoring(make_build: MakeBuild, splits: Path, base: Path, tmp_path: Path, publish: Any) -> Any:
    def make(labels: Sequence[str]) -> Build:
        model = publish(write_model(tmp_path / "-".join(labels), base, labels))
        return make_build({"model": model, "splits": splits})

    return make


def test_everything_written_agrees(make_scoring: Any) -> None:
    build = make_scoring(LABELS)

    found = score(build, labels=list(LABELS))

    json.dumps(found)
    table = pq.read_table(build.content / "predictions.parquet")
    assert table.schema == pa.schema(
        {
            "row_id": pa.string(),
            "label": pa.string(),
            "predicted": pa.string(),
            "confidence": pa.float64(),
            "scores": pa.list_(pa.float64()),
        }
    )
    rows = table.to_pylist()
    assert [row["row_id"] for row in rows] == [f"{at:032x}" for at in range(320, 400)]
    assert all(row["confidence"] == max(row["scores"]) for row in rows)
    assert all(row["predicted"] == LABELS[int(np.argmax(row["scores"]))] for row in rows)
    written = json.loads((build.content / "metrics.json").read_text())
    expected = metrics([row["label"] for row in rows], [row["predicted"] for row in rows], LABELS)
    assert {name: value for name, value in written.items() if name not in {"baseline", "intervals"}} == expected
    assert all(low <= written[name] <= high for name, (low, high) in written["intervals"].items())
    assert written["baseline"]["rows"] == 80
    assert written["baseline"]["f1_macro"] > written["f1_macro"], "the model is not trained"
    errors = json.loads((build.content / "errors.json").read_text())
    wrong = {row["row_id"]: row["predicted"] for row in rows if row["label"] != row["predicted"]}
    assert errors
    assert len(errors) == min(50, len(wrong))
    assert all(wrong[error["row_id"]] == error["predicted"] for error in errors)
    assert {name: found[name] for name in written} == written
    assert [{**told, "text": error["text"]} for told, error in zip(found["errors"], errors, strict=False)] == errors[
        :10
    ]
    assert not any("text" in told for told in found["errors"])
    assert (build.trace / "reliability.png").read_bytes().startswith(b"\x89PNG")
    assert (build.trace / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_scoring_again_gives_the_same_content(make_scoring: Any) -> None:
    first, second = make_scoring(LABELS), make_scoring(LABELS)
    assert score(first, labels=LABELS) == score(second, labels=LABELS)
    assert digest_content(first.content) == digest_content(second.content)


def test_labels_meet_by_name(make_scoring: Any) -> None:
    build = make_scoring(("spam", "ham"))

    score(build, labels=["ham", "other", "spam"])

    rows = pq.read_table(build.content / "predictions.parquet").to_pylist()
    assert all(row["scores"][1] == 0 for row in rows)
    assert {row["predicted"] for row in rows} <= {"ham", "spam"}
    straight = make_scoring(("spam", "ham"))
    score(straight, labels=["spam", "ham"])
    for row, other in zip(rows, pq.read_table(straight.content / "predictions.parquet").to_pylist(), strict=True):
        assert row["predicted"] == other["predicted"]
        assert row["scores"] == [other["scores"][1], 0, other["scores"][0]]


def test_a_model_of_another_task_is_refused(make_scoring: Any) -> None:
    with pytest.raises(DataError, match=r"knows none of the task's labels: it knows a, b; the task has ham, spam"):
        score(make_scoring(("a", "b")), labels=list(LABELS))


def test_scores_of_labels_that_the_task_lacks_are_left_out() -> None:
    scores = np.array([[0.5, 0.2, 0.3], [0.1, 0.7, 0.2]])

    assert by_name(scores, ("a", "b", "c"), ("c", "a", "d")).tolist() == [[0.3, 0.5, 0], [0.2, 0.1, 0]]


def test_errors_come_most_confident_first_and_ties_by_row() -> None:
    rows = 60
    predictions = pa.table(
        {
            "row_id": [f"{at:02}" for at in range(rows)],
            "label": ["ham"] * rows,
            "predicted": ["ham", *["spam"] * (rows - 1)],
            "confidence": [0.9 if at % 2 else 0.6 for at in range(rows)],
        }
    )

    errors = confident_errors(predictions, [f"text {at}" for at in range(rows)])

    assert errors[0] == {"row_id": "01", "text": "text 1", "label": "ham", "predicted": "spam", "confidence": 0.9}
    assert [error["row_id"] for error in errors] == [f"{at:02}" for at in [*range(1, 60, 2), *range(2, 60, 2)]]


def test_the_picture_of_many_labels(tmp_path: Path) -> None:
    labels = [f"label {at}" for at in range(30)]

    plots.confusion(tmp_path / "confusion.png", {"labels": labels, "matrix": np.eye(30, dtype=int).tolist()})

    assert (tmp_path / "confusion.png").stat().st_size > 1000


def test_the_check_names_labels_that_are_never_found() -> None:
    config = SimpleNamespace(task=SimpleNamespace(labels=("ham", "spam", "other")))
    per_class = {
        "ham": {"recall": 1.0, "support": 9},
        "spam": {"recall": 0.0, "support": 2},
        "other": {"recall": 0.0, "support": 0},
    }
    check = STEP.checks[0]

    outcome = check.judge({"per_class": per_class}, config)

    assert (outcome.passed, outcome.message) == (False, "no row of spam was recognised")
    per_class["spam"]["recall"] = 0.5
    assert check.judge({"per_class": per_class}, config).passed
