"""Scores one model on the test side of one set of splits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets.errors import DataError
from assets.evaluation.predict import load, predict
from assets.store.digests import write_json
from assets.store.links import checked
from assets.store.step import Build, Measurements
from assets.tasks import classification as task
from assets.tasks.inputs import Side, read_side

if TYPE_CHECKING:
    import numpy.typing as npt

ERRORS = 50
"""Most errors that are written down."""

LEGIBLE = 20
"""Most labels whose confusion matrix has room for numbers."""


def score(build: Build, *, labels: Sequence[str]) -> Measurements:
    """Predict the test side, compare with its labels, and set the baseline beside it.

    Reads `model` and `splits`; writes `predictions.parquet`, `metrics.json` and `errors.json`. A model that was trained
    on other labels is scored by their names; a label that it lacks gets the score 0.

    Raises:
        DataError: the model has no label in common with the task, or cannot be loaded.
    """
    assert build.part is not None
    predictor = load(build.inputs["model"] / "model")
    side = read_side(build.inputs["splits"], "test")
    _, found = predict(predictor, side.texts, build.progress)
    scores = by_name(found, predictor.labels, labels)
    predicted = [labels[at] for at in scores.argmax(axis=1)]
    confidence = scores.max(axis=1).tolist()
    baseline = build.part(
        "assets.evaluation.baseline:baseline",
        {"labels": list(labels)},
        inputs={"splits": build.digests["splits"]},
        environment=("scikit-learn",),
    )
    metrics = task.metrics(side.labels, predicted, labels)
    metrics["baseline"] = json.loads(checked(baseline.content, "metrics.json").read_bytes())
    errors = confident_errors(side, predicted, confidence)
    columns = {
        "row_id": side.row_ids,
        "label": side.labels,
        "predicted": predicted,
        "confidence": confidence,
        "scores": scores.tolist(),
    }
    pq.write_table(pa.table(columns), build.content / "predictions.parquet", compression="zstd")
    write_json(build.content / "metrics.json", metrics)
    write_json(build.content / "errors.json", errors)
    draw_confusion(build.trace / "confusion.png", metrics["confusion"])
    return {**metrics, "errors": errors[:10]}


def by_name(scores: npt.NDArray[np.float64], names: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.float64]:
    """Bring a model's scores, shape [rows, names], into the order of the task's labels, shape [rows, labels].

    Raises:
        DataError: names and labels have nothing in common.
    """
    if not set(names) & set(labels):
        raise DataError(
            f"the model knows none of the task's labels: it knows {', '.join(names)}; the task has {', '.join(labels)}",
            where="task.labels",
            fix="correct the labels, or train a model on them",
        )
    columns = [scores[:, names.index(label)] if label in names else np.zeros(len(scores)) for label in labels]
    return np.stack(columns, axis=1)


def confident_errors(side: Side, predicted: Sequence[str], confidence: Sequence[float]) -> list[dict[str, Any]]:
    """Wrongly predicted rows, the most confident first, at most `ERRORS`."""
    wrong = [at for at, label in enumerate(side.labels) if predicted[at] != label]
    wrong.sort(key=lambda at: (-confidence[at], side.row_ids[at]))
    return [
        {
            "row_id": side.row_ids[at],
            "text": side.texts[at],
            "label": side.labels[at],
            "predicted": predicted[at],
            "confidence": confidence[at],
        }
        for at in wrong[:ERRORS]
    ]


def draw_confusion(path: Path, confusion: Mapping[str, Any]) -> None:
    """Draw the confusion matrix: shares of each true label as colours, rows as numbers where they are legible."""
    from matplotlib.figure import Figure

    matrix, labels = np.array(confusion["matrix"]), confusion["labels"]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = max(3.5, min(16.0, 1.5 + 0.7 * len(labels)))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > LEGIBLE else 0)
    axes.set_yticks(range(len(labels)), labels)
    if len(labels) <= LEGIBLE:
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    figure.colorbar(image, label="share of the true label")
    figure.savefig(path, dpi=120)
