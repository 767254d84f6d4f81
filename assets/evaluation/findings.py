"""Strengths and weaknesses in words that a person can act on; every number in them is in the other files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from assets.evaluation.intervals import wilson

SURE = 0.95
"""Confidence from which on a wrong answer is worth a look at the label."""
MOST = {"weakness": 12, "strength": 6}
ROWS_NAMED = 5
FEW = 30
"""Rows of a label below which the test side says little about it."""


class Finding(NamedTuple):
    """Something worth knowing.

    Attributes:
        kind: whether it is good.
        message: one sentence with the numbers.
        fix: what a person can do about it, or "".
        rows: identifiers of rows to look at.
        weight: how much it matters: rows that would be answered otherwise.
    """

    kind: Literal["strength", "weakness"]
    message: str
    fix: str = ""
    rows: Sequence[str] = ()
    weight: float = 0.0


def findings(
    metrics: Mapping[str, Any],
    slices: Sequence[Mapping[str, Any]],
    confusions: Sequence[Mapping[str, Any]],
    errors: Sequence[Mapping[str, Any]],
    calibration: Mapping[str, Any],
    thresholds: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """What stands out, weaknesses first, the weightiest first.

    A label or slice stands out if the 95 % interval of its share of right answers lies on one side of that of all rows.

    Args:
        metrics: as `metrics.json` has them.
        slices: as `slices.json` has them; those by label say what is said of labels anyway.
        confusions: as `confusions.json` has them.
        errors: wrong rows, the most confident first.
        calibration: as `calibration.json` has it.
        thresholds: as `thresholds.json` has them, or None.
    """
    found = [
        *_labels(metrics, confusions, errors),
        *_slices(metrics, slices),
        *_baseline(metrics),
        *_confidence(calibration, errors),
        *(_threshold(thresholds) if thresholds is not None else ()),
    ]
    chosen = []
    for kind in ("weakness", "strength"):
        of_kind = sorted((each for each in found if each.kind == kind), key=lambda each: (-each.weight, each.message))
        chosen += of_kind[: MOST[kind]]
    return [
        {"kind": each.kind, "message": each.message, "fix": each.fix} | ({"rows": list(each.rows)} if each.rows else {})
        for each in chosen
    ]


def _labels(
    metrics: Mapping[str, Any], confusions: Sequence[Mapping[str, Any]], errors: Sequence[Mapping[str, Any]]
) -> Iterator[Finding]:
    labels, matrix = metrics["confusion"]["labels"], metrics["confusion"]["matrix"]
    overall = metrics["accuracy"]
    for at, label in enumerate(labels):
        rows, hits, taken = sum(matrix[at]), matrix[at][at], sum(row[at] for row in matrix)
        if not rows:
            fix = f"add rows of {label}, or take it out of task.labels"
            yield Finding("weakness", f"{label} has no row on the test side, so nothing is known of it", fix, weight=1)
            continue
        low, high = _interval(hits, rows)
        look = [error["row_id"] for error in errors if error["label"] == label][:ROWS_NAMED]
        if high < overall:
            others = _most(confusions, "label", label, "predicted")
            message = f"{label} is found in only {_of(hits, rows)}" + (
                f"; most are taken for {others}" if others else ""
            )
            fix = f"look at the errors of {label}, correct labels that are wrong, and add examples like the others"
            yield Finding("weakness", message, fix, look, weight=(overall - hits / rows) * rows)
        elif rows < FEW:
            message = (
                f"{label} has only {rows} rows on the test side: it is found in {_of(hits, rows)}, no more is known"
            )
            yield Finding("weakness", message, f"add rows of {label}", weight=(high - low) / 2)
        elif low > overall:
            yield Finding("strength", f"{label} is found in {_of(hits, rows)}", weight=(hits / rows - overall) * rows)
        if taken and _interval(hits, taken)[1] < overall:
            others = _most(confusions, "predicted", label, "label")
            message = f"of what is taken for {label}, only {_of(hits, taken)} is right; most of the rest is {others}"
            fix = f"add examples of {others.split(' (')[0]} that look like {label}"
            look = [error["row_id"] for error in errors if error["predicted"] == label][:ROWS_NAMED]
            yield Finding("weakness", message, fix, look, weight=(overall - hits / taken) * taken)


def _most(confusions: Sequence[Mapping[str, Any]], side: str, label: str, other: str) -> str:
    """The label that one is most often confused with, and in how many rows, or ""."""
    found = next((each for each in confusions if each[side] == label), None)
    return f"{found[other]} ({found['rows']:,})" if found else ""


def _slices(metrics: Mapping[str, Any], slices: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    overall = metrics["accuracy"]
    for each in slices:
        if each["small"] or each["by"] == "label":
            continue
        (low, high), value, rows = each["intervals"]["accuracy"], each["metrics"]["accuracy"], each["rows"]
        said = f"{each['name']}: {value:.0%} of {rows:,} rows are right {_ends(low, high)}, {overall:.0%} of all"
        if high < overall:
            fix = "add training rows of this kind, or find out what is different about them"
            yield Finding("weakness", said, fix, weight=(overall - value) * rows)
        elif low > overall:
            yield Finding("strength", said, weight=(value - overall) * rows)


def _baseline(metrics: Mapping[str, Any]) -> Iterator[Finding]:
    own, other = metrics["f1_macro"], metrics["baseline"]["f1_macro"]
    low, high = metrics["baseline"]["intervals"]["f1_macro"]
    said = f"macro F1 {own:.3f} {_precisely(*metrics['intervals']['f1_macro'])}, the baseline's {other:.3f}"
    rows = metrics["rows"]
    if own > high:
        yield Finding("strength", f"it is clearly better than TF-IDF with logistic regression: {said}", weight=rows)
    elif own < low:
        fix = "train longer, with another learning rate, or from a better base model"
        yield Finding("weakness", f"it is worse than TF-IDF with logistic regression: {said}", fix, weight=rows)
    else:
        fix = "more test rows would tell; or keep the baseline, which costs nothing to run"
        message = f"it is not clearly better than TF-IDF with logistic regression: {said}"
        yield Finding("weakness", message, fix, weight=1)


def _confidence(calibration: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    after = calibration["after"]
    if after["ece"] > after["by_chance"]:
        bins = after["bins"]
        rows = sum(each["rows"] for each in bins)
        sure, right = (sum(each[name] * each["rows"] for each in bins) / rows for name in ("confidence", "accuracy"))
        message = (
            f"it is {'too sure' if sure > right else 'less sure than it could be'} of its answers: {sure:.1%} on "
            f"average, and {right:.1%} are right (ECE {after['ece']:.3f})"
        )
        fix = "take confidences with care; a larger validation side gives a better temperature"
        yield Finding("weakness", message, fix, weight=after["ece"] * rows)
    sure_errors = [error["row_id"] for error in errors if error["confidence"] >= SURE]
    if sure_errors:
        many = f"{len(sure_errors)} rows are" if len(sure_errors) > 1 else "1 row is"
        message = f"{many} answered wrongly with a confidence of {SURE:.0%} or more"
        fix = "look at them first: often the label is wrong; `review: {}` lists such rows of the training side"
        yield Finding("weakness", message, fix, sure_errors[:ROWS_NAMED], weight=len(sure_errors))


def _threshold(thresholds: Mapping[str, Any]) -> Iterator[Finding]:
    if thresholds["met"]:
        return
    goal = thresholds["goal"]
    demanded = {"precision": "recall", "recall": "precision"}[goal]
    message = (
        f"no threshold of {thresholds['label']} reaches a {demanded} of {thresholds['at_least']:g} on the validation "
        f"side; the best reaches {thresholds['validation'][demanded]:.3f}"
    )
    yield Finding("weakness", message, f"lower evaluation.threshold.{demanded}, or train a better model", weight=1e9)


def _of(hits: int, rows: int) -> str:
    return f"{hits / rows:.0%} of {rows:,} rows {_ends(*_interval(hits, rows))}"


def _interval(hits: int, rows: int) -> tuple[float, float]:
    low, high = wilson(hits, rows)
    return float(low), float(high)


def _ends(low: float, high: float) -> str:
    return f"[{100 * low:.0f}–{100 * high:.0f} %]"


def _precisely(low: float, high: float) -> str:
    return f"[{low:.3f}–{high:.3f}]"
