"""Confidence intervals of classification metrics, and of the difference of two models on the same rows.

- Accuracy: Wilson's score interval (Wilson 1927).
- Difference of two accuracies: Tango's score interval (Tango 1998, Statistics in Medicine 17, 891).
- Whether one model is worse than another: McNemar's exact test; many tests at once: Holm's procedure.
- Macro averages: the jackknife's variance, which is rather too large than too small (Efron and Stein 1981), after
  pseudo-counts, as Agresti and Coull (1998) and Agresti and Min (2005) add them to proportions: four rows (two right,
  two wrong) for one model, six for a pair, shared out evenly to the labels. They add two for a pair, but then a model
  that is worse by a margin passes more often than it may. Without pseudo-counts the interval of a model without errors
  has no width. The interval is around the estimate with pseudo-counts. The delta method, which takes a metric to be
  linear, is too sure where labels have a handful of rows: one row more or less is much to them.

Nothing is drawn at random, so equal rows give equal intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

METRICS = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
_ROUNDING = 1e-9
"""What is left of a label when all of its rows are taken away."""
_STEPS = 60
"""Halvings of the search for a limit of Tango's interval; more than a float64 can tell apart."""


@dataclass(frozen=True)
class Difference:
    """A metric of one model minus that of another on the same rows.

    Attributes:
        value: the difference as measured.
        low: lower limit of the interval.
        high: upper limit of the interval.
        method: how the interval was made, in words.
    """

    value: float
    low: float
    high: float
    method: str


def metric_intervals(
    true: npt.ArrayLike, predicted: npt.ArrayLike, classes: int, level: float = 0.95, averaged: int | None = None
) -> dict[str, tuple[float, float]]:
    """Intervals of accuracy and of the macro averages.

    Args:
        true: code of each row's label, shape [rows], from 0 to classes - 1.
        predicted: code of what was predicted, shape [rows].
        classes: how many labels there are; macro averages are over all of them, 0 where one is undefined.
        level: probability with which an interval holds the true value.
        averaged: macro averages are over only the first so many labels, as where a part of the rows lacks some.

    Returns:
        Metric → lower and upper limit, both within [0, 1]. Without rows nothing is known: (0, 1).
    """
    true, predicted = _codes(true, classes), _codes(predicted, classes)
    if len(true) == 0:
        return dict.fromkeys(METRICS, (0.0, 1.0))
    right = np.count_nonzero(true == predicted)
    intervals = {"accuracy": _pair(wilson(np.float64(right), len(true), level))}
    cells, counts = _distinct(true, predicted, classes=classes)
    for metric in METRICS[1:]:
        intervals[metric] = _pair(macro_interval(metric, cells, counts, classes, level, averaged))
    return intervals


def paired_difference(
    metric: str,
    true: npt.ArrayLike,
    new: npt.ArrayLike,
    old: npt.ArrayLike,
    classes: int,
    level: float = 0.95,
    averaged: int | None = None,
) -> Difference:
    """The difference new - old of a metric on the same rows, with its interval.

    Args:
        metric: one of `METRICS`.
        true: code of each row's label, shape [rows], from 0 to classes - 1.
        new: code of what the one model predicted, shape [rows].
        old: code of what the other predicted, shape [rows].
        classes: how many labels there are; macro averages are over all of them, 0 where one is undefined.
        level: probability with which the interval holds the true difference.
        averaged: macro averages are over so many labels, those with the lowest codes; None is all of them.

    Raises:
        ValueError: there are no rows.
    """
    true, new, old = (_codes(each, classes) for each in (true, new, old))
    if len(true) == 0:
        raise ValueError("a difference needs rows")
    if metric == "accuracy":
        gained = np.count_nonzero((new == true) & (old != true))
        lost = np.count_nonzero((new != true) & (old == true))
        low, high = _pair(tango(np.float64(gained), np.float64(lost), len(true), level))
        return Difference((gained - lost) / len(true), low, high, f"Tango's score interval, {level:.0%}")
    cells, counts = _distinct(true, new, old, classes=classes)
    low, high = _pair(macro_difference(metric, cells, counts, classes, level, averaged))
    size = np.ones(counts.shape[1])
    values = [_macro(metric, cells[0], cells[at], counts, size, classes, averaged)[0] for at in (1, 2)]
    return Difference(float((values[0] - values[1])[0]), low, high, f"jackknife with pseudo-counts, {level:.0%}")


def wilson(right: Any, rows: int, level: float = 0.95) -> tuple[Numbers, Numbers]:
    """Wilson's score interval of a share, for each of `right` (any shape) out of `rows`."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, widened = np.asarray(right, np.float64) / rows, z * z / rows
    middle = (share + widened / 2) / (1 + widened)
    half = z / (1 + widened) * np.sqrt((share * (1 - share) + widened / 4) / rows)
    # Rounding leaves a limit beside 0 or 1, and then all rows would be right more often than the interval says.
    low, high = np.where(share == 0, 0, middle - half), np.where(share == 1, 1, middle + half)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def tango(gained: Any, lost: Any, rows: int, level: float = 0.95) -> tuple[Numbers, Numbers]:
    """Tango's score interval of (gained - lost) / rows.

    Args:
        gained: rows that only the first model has right; any shape.
        lost: rows that only the second has right; the same shape.
        rows: rows altogether.
        level: probability with which the interval holds the true difference.
    """
    b, c = np.asarray(gained, np.float64), np.asarray(lost, np.float64)
    z = NormalDist().inv_cdf((1 + level) / 2)
    return -_upper(c, b, rows, z), _upper(b, c, rows, z)


def _upper(b: Numbers, c: Numbers, rows: int, z: float) -> Numbers:
    """The largest difference that the score test does not reject."""
    low, high = (b - c) / rows, np.ones_like(b)
    for _ in range(_STEPS):
        delta = (low + high) / 2
        linear = (2 * rows - b + c) * delta - b - c
        nuisance = (np.sqrt(np.maximum(linear**2 + 8 * rows * c * delta * (1 - delta), 0)) - linear) / (4 * rows)
        deviation = np.sqrt(np.maximum(rows * (2 * nuisance + delta * (1 - delta)), 0))
        inside = rows * delta - (b - c) <= z * deviation
        low, high = np.where(inside, delta, low), np.where(inside, high, delta)
    return high


def mcnemar_worse(gained: Any, lost: Any) -> Numbers:
    """Chance of so few gains among gains and losses, or fewer, if the first model is as good (McNemar 1947, exact).

    Args:
        gained: rows that only the first model has right; any shape.
        lost: rows that only the second has right; the same shape.
    """
    from scipy.stats import binom

    b, c = np.asarray(gained, np.int64), np.asarray(lost, np.int64)
    chance: Numbers = np.asarray(binom.cdf(b, b + c, 0.5), np.float64)
    return chance


def holm(chances: Mapping[str, float]) -> dict[str, float]:
    """Correct the chances of several tests so that one of them is at most `level` with chance at most `level`.

    By Holm's step-down procedure (1979), which asks nothing of how the tests depend on each other.
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for place, name in enumerate(sorted(chances, key=lambda name: (chances[name], name))):
        largest = max(largest, min(1.0, (len(chances) - place) * chances[name]))
        corrected[name] = largest
    return corrected


def macro_interval(
    metric: str,
    cells: tuple[Codes, ...],
    counts: Numbers,
    classes: int,
    level: float = 0.95,
    averaged: int | None = None,
) -> tuple[Numbers, Numbers]:
    """Interval of a macro average.

    Args:
        metric: `precision_macro`, `recall_macro` or `f1_macro`.
        cells: codes of label and prediction, each of shape [cells].
        counts: rows of each cell, shape [samples, cells]: intervals of many samples are made at once.
        classes: how many labels there are.
        level: probability with which the interval holds the true value.
        averaged: the average is over only the first so many labels.

    Returns:
        Lower and upper limits, shape [samples], within [0, 1].
    """
    own, other = _pairs(classes)
    share = 2 / classes
    diagonal = np.arange(classes)
    more = (np.concatenate([diagonal, own]), np.concatenate([diagonal, other]))
    added = np.concatenate([np.full(classes, share), np.full(len(own), share / (classes - 1))])
    true, said, counts, size = _with(cells, more, counts, added)
    value, worth = _macro(metric, true, said, counts, size, classes, averaged)
    half = _half(worth, counts, level)
    return np.clip(value - half, 0, 1), np.clip(value + half, 0, 1)


def macro_difference(
    metric: str,
    cells: tuple[Codes, ...],
    counts: Numbers,
    classes: int,
    level: float = 0.95,
    averaged: int | None = None,
) -> tuple[Numbers, Numbers]:
    """Interval of the difference of two models' macro averages; as `macro_interval`, cells are (label, new, old).

    `averaged` is as for `paired_difference`.

    Returns:
        Lower and upper limits, shape [samples], within [-1, 1].
    """
    own, other = _pairs(classes)
    # Of each label as much is added to: both right, only the one, only the other, both wrong (alike).
    diagonal = np.arange(classes)
    more = (
        np.concatenate([diagonal, own, own, own]),
        np.concatenate([diagonal, own, other, other]),
        np.concatenate([diagonal, other, own, other]),
    )
    share = 1.5 / classes
    added = np.concatenate([np.full(classes, share), np.full(3 * len(own), share / (classes - 1))])
    true, new, old, counts, size = _with(cells, more, counts, added)
    (one, of_one), (two, of_two) = (_macro(metric, true, said, counts, size, classes, averaged) for said in (new, old))
    half = _half(of_one - of_two, counts, level)
    return np.clip(one - two - half, -1, 1), np.clip(one - two + half, -1, 1)


def _macro(
    metric: str, true: Codes, said: Codes, counts: Numbers, size: Numbers, classes: int, averaged: int | None = None
) -> tuple[Numbers, Numbers]:
    """A macro average, shape [samples], and what a row of each cell is worth to it, shape [samples, cells].

    That is the average minus the average without it; `size`, shape [cells], is how much of a row is taken away.
    """
    right = true == said
    hits = _sums(np.where(right, counts, 0), true, classes)
    of_true, of_said = {"recall_macro": (1, 0), "precision_macro": (0, 1), "f1_macro": (1, 1)}[metric]
    both = of_true + of_said
    base = of_true * _sums(counts, true, classes) + of_said * _sums(counts, said, classes)
    averaged = classes if averaged is None else averaged

    def scores(hits: Numbers, base: Numbers) -> Numbers:
        # A label with neither rows nor predictions counts 0.
        found = np.divide(both * hits, base, out=np.zeros_like(base), where=base > _ROUNDING)
        found[:, averaged:] = 0
        return found

    each, worth = scores(hits, base), np.empty_like(counts)
    for row in np.unique(size):
        at = size == row
        a_hit = each - scores(hits - row, base - both * row)
        missed, answered = (each - scores(hits, base - of_one * row) for of_one in (of_true, of_said))
        worth[:, at] = np.where(right[at], a_hit[:, true[at]], missed[:, true[at]] + answered[:, said[at]]) / row
    return each.sum(axis=1) / averaged, worth / averaged


def _half(worth: Numbers, counts: Numbers, level: float) -> Numbers:
    """Half the width of an interval by the jackknife's variance."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    mean = (counts * worth).sum(axis=1, keepdims=True) / counts.sum(axis=1, keepdims=True)
    half: Numbers = z * np.sqrt((counts * (worth - mean) ** 2).sum(axis=1))
    return half


def _sums(counts: Numbers, codes: Codes, classes: int) -> Numbers:
    """Sums over the cells of each code, shape [samples, classes]."""
    from scipy.sparse import csr_array

    chosen = csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(classes, len(codes)))
    sums: Numbers = (chosen @ counts.T).T
    return sums


def _with(cells: tuple[Codes, ...], more: tuple[Codes, ...], counts: Numbers, added: Numbers) -> tuple[Any, ...]:
    """Cells and counts with pseudo-counts; and how much of a row each cell has at least, where it has any."""
    joined = [np.concatenate(pair) for pair in zip(cells, more, strict=True)]
    size = np.concatenate([np.ones(counts.shape[1]), np.minimum(added, 1)])
    return *joined, np.hstack([counts, np.broadcast_to(added, (len(counts), len(added)))]), size


def _pairs(classes: int) -> tuple[Codes, Codes]:
    """Every pair of two different codes."""
    own, other = np.nonzero(~np.eye(classes, dtype=bool))
    return own, other


def _distinct(*codes: Codes, classes: int) -> tuple[tuple[Codes, ...], Numbers]:
    """Cells that occur, and the rows of each, shape [1, cells]."""
    shape = (classes,) * len(codes)
    found, counts = np.unique(np.ravel_multi_index(codes, shape), return_counts=True)
    return tuple(np.unravel_index(found, shape)), counts[None].astype(np.float64)


def _codes(values: npt.ArrayLike, classes: int) -> Codes:
    codes = np.asarray(values, np.int64)
    if len(codes) and not (codes.min() >= 0 and codes.max() < classes):
        raise ValueError(f"codes are from 0 to {classes - 1}; found {codes.min()} to {codes.max()}")
    return codes


def _pair(limits: tuple[Numbers, Numbers]) -> tuple[float, float]:
    low, high = (float(np.ravel(limit)[0]) for limit in limits)
    return low, high
