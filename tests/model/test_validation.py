"""Which of two epochs is better."""

from __future__ import annotations

import pytest

from assets.model.recipe import better
from assets.model.validation import SUMMARY


def test_the_best_epoch_has_the_lowest_loss_or_the_highest_of_any_other_metric() -> None:
    # Lower and higher in everything, so that the metric that is looked at decides.
    low, high = (dict.fromkeys(("loss", *SUMMARY), value) for value in (0.25, 0.75))
    assert better(low, high, "loss")
    assert not better(high, low, "loss")
    for metric in SUMMARY:
        assert better(high, low, metric), metric
        assert not better(low, high, metric), metric
        mixed = {**high, metric: 0.25}
        assert not better(mixed, {**low, metric: 0.5}, metric), "the other metrics do not count"


@pytest.mark.parametrize("metric", ["loss", *SUMMARY])
def test_of_equal_epochs_the_earliest_stays(metric: str) -> None:
    epoch = dict.fromkeys(("loss", *SUMMARY), 0.5)
    assert not better(epoch, epoch, metric)
