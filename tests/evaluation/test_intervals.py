"""Properties and coverage of the intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.evaluation.intervals import (
    METRICS,
    _macro,
    macro_interval,
    metric_intervals,
    paired_difference,
    tango,
    wilson,
)
from assets.tasks.classification import metrics

CODE = st.integers(0, 2)
ROWS = st.lists(st.tuples(CODE, CODE, CODE), min_size=1, max_size=40)
NAMES = ("a", "b", "c")


def columns(rows: list[tuple[int, int, int]]) -> Any:
    return np.array(rows).T


@settings(deadline=None, derandomize=True)
@given(rows=ROWS, metric=st.sampled_from(METRICS))
def test_order_does_not_matter_and_limits_are_bounded(rows: list[tuple[int, int, int]], metric: str) -> None:
    true, new, old = columns(rows)
    low, high = metric_intervals(true, new, 3)[metric]
    assert 0 <= low <= high <= 1
    assert metric_intervals(true[::-1], new[::-1], 3)[metric] == (low, high)
    found = paired_difference(metric, true, new, old, 3)
    assert -1 <= found.low <= found.high <= 1
    assert paired_difference(metric, true[::-1], new[::-1], old[::-1], 3) == found


@settings(deadline=None, derandomize=True)
@given(rows=ROWS, metric=st.sampled_from(METRICS))
def test_the_difference_is_symmetric_and_that_of_the_metrics(rows: list[tuple[int, int, int]], metric: str) -> None:
    true, new, old = columns(rows)
    one, other = paired_difference(metric, true, new, old, 3), paired_difference(metric, true, old, new, 3)
    assert [one.value, one.low, one.high] == pytest.approx([-other.value, -other.high, -other.low], abs=1e-9)
    named = [[NAMES[code] for code in column] for column in (true, new, old)]
    values = [metrics(named[0], said, NAMES)[metric] for said in named[1:]]
    assert one.value == pytest.approx(values[0] - values[1], abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_no_error_is_no_certainty(metric: str) -> None:
    true = np.repeat([0, 1], 50)
    low, high = metric_intervals(true, true, 2)[metric]
    assert 0.9 < low < 0.99
    assert high > 0.999
    assert paired_difference(metric, true, true, true, 2).low < 0


@pytest.mark.parametrize("rows", range(1, 400))
def test_all_or_none_is_within_the_interval(rows: int) -> None:
    low, high = wilson([0, rows], rows)
    assert (low[0], high[1]) == (0, 1)


def test_published_values() -> None:
    assert [float(limit) for limit in wilson(81, 263)] == pytest.approx([0.2553, 0.3662], abs=1e-4)  # Newcombe 1998


@settings(deadline=None, derandomize=True)
@given(gained=st.integers(0, 30), lost=st.integers(0, 30))
def test_a_difference_without_zero_is_what_mcnemars_test_rejects(gained: int, lost: int) -> None:
    low, high = (float(limit) for limit in tango(gained, lost, 100))
    statistic = (gained - lost) / max(gained + lost, 1) ** 0.5
    assert (low > 0) == (statistic > 1.959964)
    assert (high < 0) == (statistic < -1.959964)


def test_what_has_no_rows_or_no_such_code() -> None:
    assert metric_intervals([], [], 2)["f1_macro"] == (0, 1)
    with pytest.raises(ValueError, match="needs rows"):
        paired_difference("accuracy", [], [], [], 2)
    with pytest.raises(ValueError, match="from 0 to 1; found 0 to 2"):
        metric_intervals([0, 2], [0, 1], 2)


@pytest.mark.parametrize("metric", METRICS)
def test_intervals_hold_the_truth_as_often_as_they_say(metric: str) -> None:
    """Two labels of 90 % and 10 %; both models are right on 92 % of the rows of each."""
    random = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        true = (random.random(300) < 0.1).astype(int)
        new, old = (np.where(random.random(300) < 0.08, 1 - true, true) for _ in range(2))
        found = paired_difference(metric, true, new, old, 2)
        held += found.low <= 0 <= found.high
    assert held / 400 >= 0.925


@pytest.mark.parametrize("metric", METRICS[1:])
def test_intervals_hold_the_truth_where_labels_have_a_handful_of_rows(metric: str) -> None:
    """Twenty labels, the rarest of which has three rows of 200; the delta method holds macro F1 in 87 % here."""
    labels, draws = 20, 1000
    share = 1 / np.arange(1, labels + 1)
    share /= share.sum()
    wrong = 0.1 * share**-0.5 / (share**0.5).sum()
    joint = np.repeat((share * wrong / (labels - 1))[:, None], labels, axis=1)
    np.fill_diagonal(joint, share * (1 - wrong))
    counts = np.random.default_rng(5).multinomial(200, joint.ravel(), size=draws).astype(float)
    right, rows, said = np.diagonal(joint), joint.sum(1), joint.sum(0)
    truth = {
        "precision_macro": np.mean(right / said),
        "recall_macro": np.mean(right / rows),
        "f1_macro": np.mean(2 * right / (rows + said)),
    }[metric]
    low, high = macro_interval(metric, tuple(each.ravel() for each in np.indices(joint.shape)), counts, labels)
    assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.995


@settings(deadline=None, derandomize=True)
@given(rows=ROWS, metric=st.sampled_from(METRICS[1:]))
def test_what_a_row_is_worth_is_the_metric_minus_the_metric_without_it(
    rows: list[tuple[int, int, int]], metric: str
) -> None:
    true, said, _ = columns(rows)
    value, worth = _macro(metric, true, said, np.ones((1, len(rows))), np.ones(len(rows)), 3)
    labels, answers = ([NAMES[code] for code in column] for column in (true, said))
    assert value[0] == pytest.approx(metrics(labels, answers, NAMES)[metric])
    for at in range(len(rows)) if len(rows) > 1 else ():
        others = [place for place in range(len(rows)) if place != at]
        without = metrics([labels[each] for each in others], [answers[each] for each in others], NAMES)[metric]
        assert worth[0, at] == pytest.approx(value[0] - without, abs=1e-9)


def test_many_labels_are_no_burden() -> None:
    random = np.random.default_rng(1)
    true = random.integers(0, 77, 5000)
    new = np.where(random.random(5000) < 0.07, random.integers(0, 77, 5000), true)
    low, high = metric_intervals(true, new, 77)["f1_macro"]
    assert low < 0.935 < high
    assert high - low < 0.02


def test_mcnemar_counts_the_rows_that_only_one_has_right() -> None:
    from scipy.stats import binomtest

    from assets.evaluation.intervals import mcnemar_worse

    pairs = [(0, 0), (0, 4), (0, 5), (3, 9), (9, 3)]
    found = [float(mcnemar_worse(gained, lost)) for gained, lost in pairs]
    expected = [
        binomtest(gained, gained + lost, alternative="less").pvalue if gained + lost else 1.0 for gained, lost in pairs
    ]
    assert found == pytest.approx(expected)


def test_a_macro_average_over_some_labels_is_the_same_as_without_the_others() -> None:
    true, new, old = [0, 0, 1, 1, 1, 0], [0, 1, 1, 1, 0, 0], [0, 0, 1, 0, 1, 0]
    for metric in ("precision_macro", "recall_macro", "f1_macro"):
        narrow = paired_difference(metric, true, new, old, 2)
        wide = paired_difference(metric, true, new, old, 3, averaged=2)
        assert wide.value == pytest.approx(narrow.value)
