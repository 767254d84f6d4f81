"""Which labels are likely wrong, from what a classifier expects of each row without having seen it.

Confident learning: Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal of
Artificial Intelligence Research 70 (2021), 1373-1411, arXiv:1911.00068.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float32]
"""[rows, labels], each row adds up to 1."""
Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_ROWS_AT_ONCE = 1 << 14
_LEAST = 1e-12
"""Least probability that is told from none."""


class Judgement(NamedTuple):
    """Rows whose label is likely wrong, most doubtful first.

    Attributes:
        rows: which they are.
        confidence: probability of the label that each has.
        suggested: the likeliest other label of each.
        suggested_confidence: its probability.
    """

    rows: Indices
    confidence: Numbers
    suggested: Indices
    suggested_confidence: Numbers


def find_suspects(probabilities: Probabilities, labels: Indices) -> Judgement:
    """Find rows whose label is likely wrong.

    A label's threshold is the mean probability of it in the rows that have it. The rule of the paper tells how many
    labels are wrong: as many as rows of which another label reaches its threshold and is likelier than their own. Which
    rows these are is told by the probability of their own label relative to its threshold, the paper's ranking by
    self-confidence with labels made comparable: among many labels the right one often stays below its threshold, while
    a wrong one has next to no probability (docs/benchmarks.md). Rows whose own label is the likeliest are none of them.

    Args:
        probabilities: from a classifier that was trained without the row.
        labels: of the rows.
    """
    count = probabilities.shape[1]
    own = _own(probabilities, labels)
    with_label = np.bincount(labels, minlength=count)
    # A label that no row has is never reached.
    threshold = np.full(count, np.inf)
    np.divide(np.bincount(labels, weights=own, minlength=count), with_label, out=threshold, where=with_label > 0)

    wrong = 0
    suggested, highest = np.empty(len(labels), np.intp), np.empty(len(labels))
    for start in range(0, len(labels), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        others = probabilities[some].astype(np.float64)
        others[np.arange(len(others)), labels[some]] = -1.0
        wrong += int(((others >= threshold) & (others > own[some, None])).any(axis=1).sum())
        suggested[some] = others.argmax(axis=1)
        highest[some] = others.max(axis=1)

    order = np.argsort(own / threshold[labels], kind="stable")[:wrong]
    rows = order[highest[order] > own[order]]
    return Judgement(rows, own[rows], suggested[rows], highest[rows])


def calibrated(probabilities: Probabilities, labels: Indices, *, by: int) -> Probabilities:
    """Make probabilities mean what they say: temperature scaling (Guo et al. 2017, arXiv:1706.04599).

    One-against-the-rest probabilities that are made to add up to 1 are too cautious where there are many labels.

    Args:
        probabilities: each row without having seen it.
        labels: of the rows.
        by: how many rows, the first ones, the temperature is chosen by.
    """
    from scipy.optimize import minimize_scalar

    some, of_some = np.log(np.maximum(probabilities[:by].astype(np.float64), _LEAST)), labels[:by]

    def loss(exponent: float) -> float:
        scaled = some * np.exp(exponent)
        scaled -= scaled.max(axis=1, keepdims=True)
        own = scaled[np.arange(len(scaled)), of_some] - np.log(np.exp(scaled).sum(axis=1))
        return float(-own.mean())

    power = np.exp(minimize_scalar(loss, bounds=(-2.0, 3.0), method="bounded").x)
    found = np.empty_like(probabilities)
    for start in range(0, len(labels), _ROWS_AT_ONCE):
        batch = slice(start, start + _ROWS_AT_ONCE)
        scaled = np.maximum(probabilities[batch].astype(np.float64), _LEAST) ** power
        found[batch] = scaled / scaled.sum(axis=1, keepdims=True)
    return found


def _own(probabilities: Probabilities, labels: Indices) -> Numbers:
    return probabilities[np.arange(len(labels)), labels].astype(np.float64)
