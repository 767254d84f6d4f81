"""What the steps before release leave behind, made up: small, but of the true form."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.release import STEP
from assets.store.step import Build, LogEntry, Measurements, Settlement, Step
from assets.store.storage import MANIFEST
from assets.store.store import Store
from assets.tasks.classification import metrics
from tests.tiny import make_splits

WHEN = "2026-03-04T05:06:07+00:00"
LABELS = ("ham", "spam")


def entry(number: int, challenger: str, champion: str | None, kind: str = "decision", **more: Any) -> LogEntry:
    """Make an entry of the promotion log; by default a decision that promoted or refused the challenger."""
    fields = {
        "kind": kind,
        "decision": "promoted" if challenger == champion else "refused",
        "challenger": challenger,
        "champion": champion,
        "inputs": {
            "splits": f"splits-of-{challenger}",
            "model": challenger,
            "evaluation": f"evaluation-of-{challenger}",
        },
        "by": "ada",
        "when": WHEN,
        "why": "because",
    }
    if kind == "decision":
        fields |= {"key": "k", "release": {"content": f"content-{number}", "trace": f"trace-{number}"}}
    return LogEntry(number, {**fields, **more})


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_model(folder: Path, labels: Sequence[str] = LABELS, inherited: Sequence[str] = ()) -> Path:
    """Write what release reads of a model's content, without weights; it was started from a model of other splits."""
    names = dict(enumerate(labels))
    write_json(
        folder / "model" / "config.json", {"architectures": ["BertForSequenceClassification"], "id2label": names}
    )
    write_json(
        folder / "history.json",
        {
            "best_epoch": 1,
            "ancestors": [{"model": f"model-of-{splits}", "splits": [splits]} for splits in inherited],
            "steps": [{"step": step, "loss": 1 / step, "learning_rate": 1e-4} for step in range(1, 9)],
            "epochs": [
                {"epoch": epoch, "step": 4 * epoch, "loss": 0.3, **dict.fromkeys(METRICS, value)}
                for epoch, value in ((1, 0.9), (2, 0.8))
            ],
        },
    )
    return folder


METRICS = ("accuracy", "precision_macro", "recall_macro", "f1_macro")


def write_evaluation(
    folder: Path,
    true: Sequence[str],
    predicted: Sequence[str],
    baseline: Sequence[str],
    labels: Sequence[str] = LABELS,
    texts: Sequence[str] | None = None,
) -> Path:
    """Write an evaluation's content; row ids are those of `tests.tiny.make_splits`."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = [f"{index:032x}" for index in range(len(true))]
    confidences = [0.9 - at / (4 * len(ids)) for at in range(len(ids))]
    columns = {"row_id": ids, "label": list(true), "predicted": list(predicted), "confidence": confidences}
    table = pa.table(columns)
    pq.write_table(table, folder / "predictions.parquet")
    own, other = metrics(true, predicted, labels), metrics(true, baseline, labels)
    write_json(folder / "metrics.json", {**own, "baseline": other})
    errors = [
        {"row_id": row, "text": text, "label": label, "predicted": said, "confidence": confidence}
        for row, text, label, said, confidence in zip(ids, texts or ids, true, predicted, confidences, strict=True)
        if label != said
    ]
    write_json(folder / "errors.json", errors[:50])
    return folder


def measurements(labels: Sequence[str] = LABELS, **changed: Any) -> dict[str, Measurements]:
    """Measurements of every step before release; `raw={"repeated": 3}` changes a number."""
    rows = {"train": 60, "validation": 10, "test": 20}
    values: dict[str, Measurements] = {
        "raw": {"files": 2, "rows_read": 109, "rows": 100, "rejected": 2, "repeated": 7},
        "validated": {
            "accepted": 97,
            "quarantined": 5,
            "quarantined_by_expectation": {"readable": 2, "expect_text": 3},
            "warnings": [],
        },
        "cleaned": {"kept": 90, "merged": 6, "quarantined": 1, "groups": 2, "near_duplicates": 5},
        "splits": {
            "rows": rows,
            "labels": {side: dict.fromkeys(labels, count // len(labels)) for side, count in rows.items()},
        },
        "model": {
            "epochs": 2,
            "steps": 8,
            "train_rows": 60,
            "parameters": 12345,
            "device": "cpu",
            "precision": "float32",
            "seconds": 1.5,
        },
        "evaluation": {},
    }
    return {step: {**value, **changed.get(step, {})} for step, value in values.items()}


DRIFT: Measurements = {
    "champion": "0123456789abcdef",
    "reason": "",
    "level": 0.01,
    "new_rows": 1200,
    "champion_rows": 5000,
    "compared_rows": {"champion": 4900, "new": 1100},
    "tests": {
        name: {
            "effect": effect,
            "least_effect": 0.1,
            "p": p,
            "p_adjusted": p,
            "alarm": alarm,
            "said": f"{name} <differ>",
        }
        for name, effect, p, alarm in (("labels", 0.25, 1e-9, True), ("lengths", 0.05, 0.3, False))
    },
    "label_shares": [{"name": "<ham>", "champion": 0.8, "new": 0.55}],
    "text_lengths": [{"name": "median", "champion": 61.0, "new": 63.5}],
}
"""What the step `drift` measured, where the configuration asks for it."""

QUALITY: Measurements = {
    "champion": "0123456789abcdef",
    "reason": "",
    "metric": "f1_macro",
    "floor": 0.9,
    "failing": 1,
    "batches": [
        {"rows": 300, "scored": 300, "value": 0.95, "low": 0.92, "high": 0.97, "below": False},
        {"rows": 4000, "scored": 2000, "value": 0.85, "low": 0.83, "high": 0.87, "below": True},
    ],
    "below": 1,
    "alarm": True,
}
"""What the step `quality` measured, where the configuration asks for it."""

# The steps before release as steps of a chain, and release itself; the seed is all that makes one model another.

TRUE = ["ham"] * 6 + ["spam"] * 4


def rows(build: Build) -> Measurements:
    write_json(build.content / "rows.json", TRUE)
    return measurements()[build.progress.step]


def split(build: Build) -> Measurements:
    # The shards must lie in the store in whose staging folder this is built.
    store = Store(str(build.content.parents[2]), build.work)
    made = make_splits(store, [(f"text {at}", label) for at, label in enumerate(TRUE)], ["test"] * len(TRUE))
    shutil.copytree(made, build.content, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
    return measurements()["splits"]


def train(build: Build, *, seed: int) -> Measurements:
    write_json(write_model(build.content) / "model" / "weights.json", seed)
    return measurements()["model"]


def evaluate(build: Build) -> Measurements:
    """Every model is right about everything."""
    assert (build.inputs["model"] / "model" / "weights.json").is_file()
    write_evaluation(build.content, TRUE, TRUE, TRUE)
    return {}


def settle(settlement: Settlement) -> dict[str, Any]:
    return {"entries": len(settlement.entries)}


CHAIN = (
    *(Step(name, "", f"{__name__}:rows") for name in ("raw", "validated", "cleaned")),
    Step("splits", "", f"{__name__}:split"),
    Step("model", "", f"{__name__}:train", inputs=("splits",), configuration=("training.seed",)),
    Step("evaluation", "", f"{__name__}:evaluate", inputs=("model", "splits")),
    replace(STEP, settle=f"{__name__}:settle"),
)
