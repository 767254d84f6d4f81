"""Properties and coverage of the intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.evaluation.intervals import METRICS, metric_intervals, paired_difference, tango, wilson
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


def test_many_labels_are_no_burden() -> None:
    random = np.random.default_rng(1)
    true = random.integers(0, 77, 5000)
    new = np.where(random.random(5000) < 0.07, random.integers(0, 77, 5000), true)
    low, high = metric_intervals(true, new, 77)["f1_macro"]
    assert low < 0.935 < high
    assert high - low < 0.02
