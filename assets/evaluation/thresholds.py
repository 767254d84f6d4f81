"""From which score on a label is answered: the threshold that is best for a declared goal on the validation side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assets.evaluation.decisions import Scores, above

Places = npt.NDArray[np.intp]

CURVE = 101
"""Most thresholds of the curve that is written down."""
ROUNDING = 1e-12


def choose_threshold(
    scores: Scores, true: Places, labels: Sequence[str], goal: Mapping[str, Any]
) -> tuple[float, bool, list[dict[str, float]]]:
    """Find the threshold that is best for the goal; of equally good ones the one nearest to 0.5.

    Only thresholds between two scores that occur next to each other can differ, so all of those are looked at.

    Args:
        scores: calibrated probabilities, shape [rows, labels].
        true: place of each row's label.
        labels: names of the labels.
        goal: `label`, `goal`, and what the goal needs; see `assets.config.evaluation.Threshold`.

    Returns:
        The threshold; whether it reaches what the goal demands (else it comes nearest to that); and the curve: at most
        `CURVE` thresholds with `precision`, `recall`, `f1` and, where there are costs, `cost` (mean of a row).
    """
    place = labels.index(goal["label"])
    thresholds = candidates(scores[:, place])
    measured = measure_each(scores, true, thresholds, place, cost_matrix(labels, goal))
    if goal["goal"] == "cost":
        value, reached = -measured["cost"], np.ones(len(thresholds), bool)
    else:
        demanded = {"precision": "recall", "recall": "precision"}.get(goal["goal"])
        value = measured[goal["goal"]]
        reached = np.ones(len(thresholds), bool)
        if demanded is not None:
            reached = measured[demanded] >= goal[demanded] - ROUNDING
        if not reached.any():
            assert demanded is not None
            value = measured[demanded]
    met = bool(reached.any())
    value = np.where(reached, value, -np.inf) if met else value
    best = np.flatnonzero(value >= value.max() - ROUNDING)
    chosen = float(thresholds[best[np.abs(thresholds[best] - 0.5).argmin()]])
    shown = np.unique(np.linspace(0, len(thresholds) - 1, CURVE).round().astype(int))
    curve = [
        {"threshold": float(thresholds[at]), **{name: float(column[at]) for name, column in measured.items()}}
        for at in shown
    ]
    return chosen, met, curve


def candidates(scores: Scores) -> Scores:
    """A threshold below, between and above scores that occur, ascending; shape [distinct scores + 1]."""
    distinct = np.unique(scores)
    middle = (distinct[:-1] + distinct[1:]) / 2
    # Of two neighbouring floating-point numbers the middle may be the lower one, which it must lie above.
    middle = np.where(middle > distinct[:-1], middle, distinct[1:])
    last = distinct[-1]
    return np.array([0.0, *middle, (last + 1) / 2 if (last + 1) / 2 > last else np.nextafter(last, 2)])


def cost_matrix(labels: Sequence[str], goal: Mapping[str, Any]) -> Scores | None:
    """Cost of each true and predicted label, shape [labels, labels]; None where the goal has no costs."""
    costs = goal.get("costs")
    if costs is None:
        return None
    return np.array([[costs.get(true, {}).get(predicted, 0.0) for predicted in labels] for true in labels])


def measure_each(
    scores: Scores, true: Places, thresholds: Scores, place: int, costs: Scores | None
) -> dict[str, npt.NDArray[np.float64]]:
    """Precision, recall and F1 of a label, and the mean cost of a row, for each threshold.

    Args:
        scores: shape [rows, labels], at least one row.
        true: place of each row's label.
        thresholds: ascending.
        place: of the label.
        costs: shape [labels, labels], or None.
    """
    score, of_label = scores[:, place], true == place
    order = np.argsort(score, kind="stable")
    # Rows below each threshold, of all and of the label.
    below = np.searchsorted(score[order], thresholds, side="left")
    hits = of_label.sum() - np.concatenate([[0], np.cumsum(of_label[order])])[below]
    predicted = len(score) - below
    precision, recall = hits / np.maximum(predicted, 1), hits / max(1, of_label.sum())
    found = {
        "precision": precision,
        "recall": recall,
        "f1": 2 * hits / np.maximum(predicted + of_label.sum(), 1),
    }
    if costs is not None:
        taken, left = costs[true, place], costs[true, above(scores, place, np.inf)]
        saved = np.concatenate([[0.0], np.cumsum((left - taken)[order])])[below]
        found["cost"] = (taken.sum() + saved) / len(score)
    return found


def measure(predicted: Places, true: Places, labels: Sequence[str], goal: Mapping[str, Any]) -> dict[str, float]:
    """What answers give: precision, recall and F1 of the goal's label and, where there are costs, the mean cost.

    Args:
        predicted: place of each row's predicted label, at least one row.
        true: place of each row's label.
        labels: names of the labels.
        goal: as `choose_threshold` has it.
    """
    place = labels.index(goal["label"])
    hits = int(((predicted == place) & (true == place)).sum())
    taken, there = int((predicted == place).sum()), int((true == place).sum())
    found = {"precision": hits / max(1, taken), "recall": hits / max(1, there), "f1": 2 * hits / max(1, taken + there)}
    costs = cost_matrix(labels, goal)
    if costs is not None:
        found["cost"] = float(costs[true, predicted].mean())
    return found
