"""Scores one model on the test side of one set of splits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assets.errors import DataError
from assets.evaluation import plots, thresholds
from assets.evaluation.answers import Answers, answers
from assets.evaluation.calibration import fit_temperature, log_loss, reliability
from assets.evaluation.decisions import CALIBRATION, THRESHOLDS, Decisions
from assets.evaluation.findings import findings
from assets.evaluation.intervals import metric_intervals
from assets.evaluation.rows import files_of_rows, rows_of_test
from assets.evaluation.slices import SMALL, Slice, names_of_rows, slices_of
from assets.splits.rows import read_side
from assets.store.digests import write_json
from assets.store.links import checked
from assets.tasks import classification as task

if TYPE_CHECKING:
    from assets.evaluation.decisions import Scores
    from assets.store.step import Build, Measurements

    Places = npt.NDArray[np.intp]

ERRORS = 50
"""Most errors that are written down."""
TOLD = 10
"""Most errors and confused pairs that are measurements."""
SAMPLE_LENGTH = 300
"""Characters of a sample's text that are measurements."""


class Scored(NamedTuple):
    """The rows of one side and what a model says of them, by the task's labels.

    Attributes:
        true: place of each row's label.
        raw: the model's own probabilities, shape [rows, labels]; 0 for a label that it lacks.
        scores: the calibrated ones.
    """

    true: Places
    raw: Scores
    scores: Scores


def score(
    build: Build,
    *,
    labels: Sequence[str],
    slices: Sequence[Mapping[str, Any]] | None = None,
    threshold: Mapping[str, Any] | None = None,
    samples: int = 0,
) -> Measurements:
    """Predict the test side, compare with its labels, and set the baseline beside it.

    A model that was trained on other labels is scored by their names; a label that it lacks gets the score 0.

    Content:
        predictions.parquet: row_id, label, predicted, confidence (score of what is predicted), scores (calibrated, of
            the task's labels in their order); and, where slices are declared, slices (names of those it is in).
        metrics.json: as the task measures, with `intervals` (95 %), and the same of the `baseline`.
        slices.json: name, by, rows, small, metrics, intervals of every slice that has rows.
        calibration.json: the temperature, and reliability of the test rows before and after it.
        thresholds.json: the threshold and what it gives, only where there is one.
        confusions.json: label, predicted, rows and share of the label's rows, most rows first.
        errors.json: the wrong rows of which the model is surest, with their texts.
        findings.json: strengths and weaknesses in words.

    Trace:
        confusion.png, reliability.png; slices.png where there are slices.

    Args:
        build: inputs `model` and `splits`; `raw` and `validated` where slices are by source.
        labels: names of the classes, in their order.
        slices: as the configuration declares them, or None.
        threshold: the goal by which a threshold is chosen, or None: the likeliest label is predicted.
        samples: how many errors' texts may be among the measurements, which go to Dagster's database.

    Raises:
        DataError: the model has no label in common with the task, or cannot be loaded.
    """
    test, validation = answers(build, "test"), answers(build, "validation")
    declared = slices or ()
    rows = rows_of_test(build.inputs["splits"], declared)
    true = {
        "test": rows["label"].to_pylist(),
        "validation": read_side(build.inputs["splits"], "validation")["label"].to_pylist(),
    }
    known = np.array([_place(label, validation.names) for label in true["validation"]], np.intp)
    temperature, reason = fit_temperature(validation.scores, known)
    decisions = Decisions(temperature)
    sides = {
        side: _scored(found, true[side], labels, decisions)
        for side, found in (("test", test), ("validation", validation))
    }
    chosen = None
    if threshold is not None:
        chosen = _thresholds(sides, labels, threshold)
        decisions = Decisions(temperature, chosen["label"], chosen["chosen"])
    places = decisions.chosen(sides["test"].scores, labels)
    parts = slices_of(rows, declared, _files(build, declared, rows), labels)

    metrics = _metrics(sides["test"].true, places, labels)
    metrics["baseline"] = _baseline(build, labels)
    measured = [_slice(part, sides["test"].true, places, labels) for part in parts]
    calibration = {
        "temperature": temperature,
        "reason": reason,
        "rows": len(known),
        "log_loss": {
            name: log_loss(scores[known >= 0], known[known >= 0]) if (known >= 0).any() else None
            for name, scores in (("before", validation.scores), ("after", decisions.calibrated(validation.scores)))
        },
        "before": reliability(sides["test"].raw, sides["test"].true),
        "after": reliability(sides["test"].scores, sides["test"].true),
    }
    confusions = confused(metrics["confusion"])
    predictions = _predictions(rows, places, sides["test"].scores, labels)
    errors = confident_errors(predictions, rows["text"].to_pylist())
    found = findings(metrics, measured, confusions, errors, calibration, chosen)

    if declared:
        named = pa.array(names_of_rows(parts, len(rows)), pa.list_(pa.string()))
        predictions = predictions.append_column("slices", named)
    pq.write_table(predictions, build.content / "predictions.parquet", compression="zstd")
    files = {
        "metrics.json": metrics,
        "slices.json": measured,
        CALIBRATION: calibration,
        "confusions.json": confusions,
        "errors.json": errors[:ERRORS],
        "findings.json": found,
        **({THRESHOLDS: chosen} if chosen is not None else {}),
    }
    for name, content in files.items():
        write_json(build.content / name, content)
    plots.confusion(build.trace / "confusion.png", metrics["confusion"])
    plots.reliability(build.trace / "reliability.png", calibration)
    if measured:
        plots.slices(build.trace / "slices.png", measured, metrics["accuracy"])
    return {
        **metrics,
        **_told(measured, calibration, chosen, confusions, found),
        "errors": [{name: value for name, value in error.items() if name != "text"} for error in errors[:TOLD]],
        **({"samples": _samples(errors[:samples])} if samples else {}),
    }


def by_name(scores: Scores, names: Sequence[str], labels: Sequence[str]) -> Scores:
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


def confused(confusion: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Pairs of labels that are confused: label, predicted, rows, share of the label's rows; most rows first."""
    labels, matrix = confusion["labels"], confusion["matrix"]
    found = [
        {"label": label, "predicted": other, "rows": matrix[at][to], "share": matrix[at][to] / sum(matrix[at])}
        for at, label in enumerate(labels)
        for to, other in enumerate(labels)
        if at != to and matrix[at][to]
    ]
    return sorted(found, key=lambda each: (-each["rows"], -each["share"], each["label"], each["predicted"]))


def confident_errors(predictions: pa.Table, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Wrongly predicted rows with their texts, the most confident first, equally confident ones by row_id.

    Args:
        predictions: row_id, label, predicted, confidence.
        texts: of the rows.
    """
    columns = predictions.select(["row_id", "label", "predicted", "confidence"]).to_pylist()
    wrong = [
        {**row, "text": text} for row, text in zip(columns, texts, strict=True) if row["label"] != row["predicted"]
    ]
    return sorted(wrong, key=lambda row: (-row["confidence"], row["row_id"]))


def _place(label: str, names: Sequence[str]) -> int:
    return names.index(label) if label in names else -1


def _scored(found: Answers, true: Sequence[str], labels: Sequence[str], decisions: Decisions) -> Scored:
    raw, scores = (by_name(each, found.names, labels) for each in (found.scores, decisions.calibrated(found.scores)))
    return Scored(np.array([_place(label, labels) for label in true], np.intp), raw, scores)


def _predictions(rows: pa.Table, places: Places, scores: Scores, labels: Sequence[str]) -> pa.Table:
    return pa.table(
        {
            "row_id": rows["row_id"],
            "label": rows["label"],
            "predicted": pa.array([labels[at] for at in places], pa.string()),
            "confidence": scores[np.arange(len(places)), places],
            "scores": pa.array(scores.tolist(), pa.list_(pa.float64())),
        }
    )


def _metrics(true: Places, predicted: Places, labels: Sequence[str]) -> dict[str, Any]:
    found = task.metrics([labels[at] for at in true], [labels[at] for at in predicted], labels)
    return {**found, "intervals": _intervals(true, predicted, labels)}


def _intervals(true: Places, predicted: Places, labels: Sequence[str]) -> dict[str, list[float]]:
    return {name: list(ends) for name, ends in metric_intervals(true, predicted, len(labels)).items()}


def _intervals_of_part(true: Places, predicted: Places) -> dict[str, list[float]]:
    """Intervals where macro averages are over the labels that have rows; all others are one, which they leave out."""
    present = np.unique(true)
    codes = np.searchsorted(present, predicted)
    codes[~np.isin(predicted, present)] = len(present)
    ends = metric_intervals(np.searchsorted(present, true), codes, len(present) + 1, averaged=len(present))
    return {name: list(each) for name, each in ends.items()}


def _baseline(build: Build, labels: Sequence[str]) -> dict[str, Any]:
    assert build.part is not None
    part = build.part(
        "assets.evaluation.baseline:baseline",
        {"labels": list(labels)},
        inputs={"splits": build.digests["splits"]},
        environment=("scikit-learn",),
    )
    metrics: dict[str, Any] = json.loads(checked(part.content, "metrics.json").read_bytes())
    rows = pq.read_table(checked(part.content, "predictions.parquet"))
    true, predicted = (
        np.array([labels.index(label) for label in rows[name].to_pylist()], np.intp) for name in ("label", "predicted")
    )
    return {**metrics, "intervals": _intervals(true, predicted, labels)}


def _files(build: Build, declared: Sequence[Mapping[str, Any]], rows: pa.Table) -> dict[str, list[bool]]:
    if not any(each["by"] == "source" for each in declared):
        return {}
    return files_of_rows(build.inputs["raw"], build.inputs["validated"], rows["row_id"])


def _slice(part: Slice, true: Places, predicted: Places, labels: Sequence[str]) -> dict[str, Any]:
    """What is measured of a slice; macro averages are over the labels that have rows in it."""
    true, predicted = true[part.rows], predicted[part.rows]
    found = task.metrics([labels[at] for at in true], [labels[at] for at in predicted], labels)
    present = [each for each in found["per_class"].values() if each["support"]]
    averages = {f"{name}_macro": fmean(each[name] for each in present) for name in ("precision", "recall", "f1")}
    return {
        "name": part.name,
        "by": part.by,
        "rows": len(true),
        "small": len(true) < SMALL,
        "metrics": {"accuracy": found["accuracy"], **averages},
        "intervals": _intervals_of_part(true, predicted),
    }


def _thresholds(sides: Mapping[str, Scored], labels: Sequence[str], goal: Mapping[str, Any]) -> dict[str, Any]:
    validation = sides["validation"]
    chosen, met, curve = thresholds.choose_threshold(validation.scores, validation.true, labels, goal)
    with_it, without = Decisions(1.0, goal["label"], chosen), Decisions()
    return {
        "goal": goal["goal"],
        "label": goal["label"],
        "at_least": goal.get({"precision": "recall", "recall": "precision"}.get(goal["goal"], "")),
        "costs": goal.get("costs"),
        "chosen": chosen,
        "met": met,
        **{
            side: thresholds.measure(with_it.chosen(found.scores, labels), found.true, labels, goal)
            for side, found in sides.items()
        },
        # What the likeliest label gives, for comparison.
        "without": {
            side: thresholds.measure(without.chosen(found.scores, labels), found.true, labels, goal)
            for side, found in sides.items()
        },
        "curve": curve,
    }


def _told(
    measured: Sequence[Mapping[str, Any]],
    calibration: Mapping[str, Any],
    chosen: Mapping[str, Any] | None,
    confusions: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
) -> Measurements:
    """What of the files is measurements: numbers, names of labels and slices, and no text of a row."""
    told: Measurements = {
        "calibration": {
            "temperature": calibration["temperature"],
            "reason": calibration["reason"],
            **{f"ece_{name}": calibration[name]["ece"] for name in ("before", "after")},
            "ece_by_chance": calibration["after"]["by_chance"],
        },
        "confusions": list(confusions[:TOLD]),
        "findings": [f"{each['kind']}: {each['message']}" for each in found],
    }
    if measured:
        told["slices"] = [
            {
                "name": each["name"],
                "rows": each["rows"],
                "small": each["small"],
                **{
                    name: f"{each['metrics'][name]:.3f} [{low:.3f}–{high:.3f}]"
                    for name, (low, high) in ((name, each["intervals"][name]) for name in ("accuracy", "f1_macro"))
                },
            }
            for each in measured
        ]
    if chosen is not None:
        told["threshold"] = {
            "label": chosen["label"],
            "goal": chosen["goal"],
            "threshold": chosen["chosen"],
            "met": chosen["met"],
            **{f"{name} (test)": value for name, value in chosen["test"].items()},
        }
    return told


def _samples(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**error, "text": error["text"][:SAMPLE_LENGTH]} for error in errors]
