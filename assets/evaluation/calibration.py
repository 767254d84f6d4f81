"""Whether a model is as often right as it is sure: temperature scaling, and how far confidence and accuracy differ.

Guo, Pleiss, Sun, Weinberger: "On Calibration of Modern Neural Networks", 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assets.evaluation.decisions import Scores, scaled

BINS = 15
"""Bins of equal width, as in the paper."""
LEAST_ROWS = 50
"""Validation rows below which no temperature is fitted: it would follow chance."""
LEAST_WRONG = 5
"""Wrong answers on the validation side below which none is fitted: without any, no temperature is low enough."""
BOUNDS = (0.1, 10.0)
"""Least and greatest temperature that is looked at."""
DIGITS = 6
DRAWS = 2000
SURELY = 0.99
"""Share of well calibrated models that the check `calibrated` lets pass."""


def fit_temperature(scores: Scores, true: npt.NDArray[np.intp]) -> tuple[float, str]:
    """The temperature with the least mean negative log-likelihood.

    Args:
        scores: a model's own probabilities on rows that it was not trained on, shape [rows, labels].
        true: place of each row's label, or -1 for one that the model does not know; such rows are left out.

    Returns:
        The temperature, and why it is 1.0 where none was fitted, or "".
    """
    from scipy.optimize import minimize_scalar

    scores, true = scores[true >= 0], true[true >= 0]
    wrong = int((scores.argmax(axis=1) != true).sum()) if len(true) else 0
    if len(true) < LEAST_ROWS:
        return 1.0, f"{len(true):,} validation rows are too few; {LEAST_ROWS} are needed"
    if wrong < LEAST_WRONG:
        return 1.0, f"only {wrong:,} of {len(true):,} validation rows are wrong; {LEAST_WRONG} are needed"
    # In the inverse of the temperature it is convex; on a logarithmic scale it has one minimum as well.
    found = minimize_scalar(
        lambda place: log_loss(scaled(scores, float(np.exp(place))), true), bounds=np.log(BOUNDS), method="bounded"
    )
    temperature = round(float(np.exp(found.x)), DIGITS)
    if log_loss(scaled(scores, temperature), true) >= log_loss(scores, true):
        return 1.0, "no temperature is better than none"
    return temperature, ""


def log_loss(scores: Scores, true: npt.NDArray[np.intp]) -> float:
    """Mean negative log-likelihood in nats.

    Args:
        scores: probabilities, shape [rows, labels].
        true: place of each row's label.
    """
    # The least positive number stands for a probability that was rounded to 0.
    return float(-np.log(np.maximum(scores[np.arange(len(true)), true], np.finfo(float).tiny)).mean())


def reliability(scores: Scores, true: npt.NDArray[np.intp]) -> dict[str, Any]:
    """How often the likeliest label is right, by how likely it is said to be.

    Args:
        scores: probabilities, shape [rows, labels], at least one row.
        true: place of each row's label.

    Returns:
        `bins` (`low`, `high`, `rows`, mean `confidence`, `accuracy`; those without rows are left out); `ece`, the
        expected calibration error: the mean over rows of the bins' |accuracy − confidence|; and `by_chance`, below
        which the error of `SURELY` of all models stays that are as often right as they say, on so many rows (Bröcker
        and Smith, "Increasing the Reliability of Reliability Diagrams", 2007).
    """
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == true
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = np.bincount(place, minlength=BINS)
    there = rows > 0
    rows = rows[there]
    sure = np.bincount(place, confidence, minlength=BINS)[there] / rows
    accurate = np.bincount(place, right, minlength=BINS)[there] / rows
    drawn = np.random.default_rng(0).binomial(rows, np.minimum(sure, 1.0), size=(DRAWS, len(rows))) / rows
    shares = rows / rows.sum()
    return {
        "ece": float((shares * np.abs(accurate - sure)).sum()),
        "by_chance": float(np.quantile((shares * np.abs(drawn - sure)).sum(axis=1), SURELY)),
        "bins": [
            {
                "low": at / BINS,
                "high": (at + 1) / BINS,
                "rows": int(count),
                "confidence": float(mean),
                "accuracy": float(share),
            }
            for at, count, mean, share in zip(np.flatnonzero(there).tolist(), rows, sure, accurate, strict=True)
        ],
    }
