from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assets.quality.interval import estimate, values
from assets.tasks.classification import metrics

METRICS = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
LABELS = ("a", "b", "c")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 6), min_size=9, max_size=9))
def test_metrics_are_scikit_learns_over_the_labels_that_occur(cells: list[int]) -> None:
    matrix = np.array(cells).reshape(3, 3)
    assume(matrix.sum())
    pairs = [(true, said) for (true, said), count in np.ndenumerate(matrix) for _ in range(count)]
    found = metrics([LABELS[true] for true, _ in pairs], [LABELS[said] for _, said in pairs], LABELS)
    assert values(matrix, "accuracy") == pytest.approx(found["accuracy"])
    there = [scores for scores in found["per_class"].values() if scores["support"]]
    for name in ("precision", "recall", "f1"):
        assert values(matrix, f"{name}_macro") == pytest.approx(fmean(scores[name] for scores in there))


def test_the_interval_of_an_accuracy_is_wilsons() -> None:
    found = estimate(np.array([[60, 10], [10, 20]]), "accuracy")
    # Wilson (1927), by hand: (p + z²/2n ± z sqrt(p q / n + z² / 4n²)) / (1 + z²/n).
    assert found.value == pytest.approx(0.8)
    assert (found.low, found.high) == pytest.approx((0.7112, 0.8666), abs=1e-4)
    assert estimate(np.array([[5, 0], [0, 0]]), "accuracy").low < 0.6


@pytest.mark.parametrize("metric", METRICS)
def test_the_interval_has_the_true_value_about_as_often_as_it_says(metric: str) -> None:
    chances = np.array([[0.5, 0.05, 0.02], [0.04, 0.2, 0.03], [0.02, 0.04, 0.1]])
    true = values((chances * 10_000).astype(int), metric)
    rng = np.random.default_rng(3)
    held: int = 0
    for _ in range(150):
        found = estimate(rng.multinomial(400, chances.ravel()).reshape(3, 3), metric)
        held += int(found.low <= true <= found.high)
    # Three standard deviations of a share of 0.95 in 150.
    assert held / 150 >= 0.95 - 3 * 0.018


def test_equal_counts_give_equal_intervals() -> None:
    matrix = np.array([[30, 5], [7, 40]])
    assert estimate(matrix, "f1_macro") == estimate(matrix.copy(), "f1_macro")
