"""A metric of a batch with its 95 % interval, from the counts of its confusion matrix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
RESAMPLES = 2000


class Estimate(NamedTuple):
    """A metric.

    Attributes:
        value: of the rows that were scored.
        low: lower end of its interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


def estimate(matrix: npt.NDArray[np.int64], metric: str) -> Estimate:
    """Metric and interval: Wilson's for accuracy, else percentiles of a bootstrap over rows.

    Args:
        matrix: rows by true label and predicted label; at least one row.
        metric: `accuracy`, or `precision_macro`, `recall_macro` or `f1_macro`, whose averages are over the labels that
            occur: of a label without a row nothing can be recognised.
    """
    value = float(values(matrix, metric))
    if metric == "accuracy":
        from scipy.stats import binomtest

        interval = binomtest(int(np.trace(matrix)), int(matrix.sum())).proportion_ci(CONFIDENCE, method="wilson")
        return Estimate(value, float(interval.low), float(interval.high))
    # Rows drawn with replacement are counts drawn from the cells.
    drawn = np.random.default_rng(0).multinomial(matrix.sum(), matrix.ravel() / matrix.sum(), size=RESAMPLES)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values(drawn.reshape(-1, *matrix.shape), metric), (tail, 1 - tail))
    return Estimate(value, float(low), float(high))


def values(matrices: npt.NDArray[np.int64], metric: str) -> npt.NDArray[np.float64]:
    """The metric of each confusion matrix, shape [..., labels, labels]; see `estimate`."""
    right = np.diagonal(matrices, axis1=-2, axis2=-1)
    if metric == "accuracy":
        return np.asarray(right.sum(axis=-1) / matrices.sum(axis=(-2, -1)))
    true, predicted = matrices.sum(axis=-1), matrices.sum(axis=-2)
    above, below = {
        "recall_macro": (right, true),
        "precision_macro": (right, predicted),
        "f1_macro": (2 * right, true + predicted),
    }[metric]
    # 0 where a label is never predicted, as scikit-learn has it.
    each = above / np.maximum(below, 1)
    occurs = true > 0
    return np.asarray((each * occurs).sum(axis=-1) / occurs.sum(axis=-1))
