"""The parts of the training loop: learning rates, parameter groups, the curve."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch  # noqa: TID253 - this module tests torch code
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import DataError
from assets.model.loop import SUMMARY, Curve, better
from assets.model.recipe import Recipe, parameter_groups, rate_share
from assets.tasks.classification import pretrained
from tests.tiny import LABELS, make_base_model

RECIPE = Recipe(
    epochs=1,
    batch_size=8,
    learning_rate=1e-4,
    head_learning_rate=1e-3,
    warmup=0.1,
    weight_decay=0.01,
    max_gradient_norm=1.0,
    seed=0,
    select_by="f1_macro",
)


@settings(deadline=None, derandomize=True)
@given(steps=st.integers(1, 300), warmup=st.floats(0, 1))
def test_learning_rate_rises_then_falls_and_is_never_zero_while_training(steps: int, warmup: float) -> None:
    shares = [rate_share(step, steps, warmup) for step in range(steps)]
    peak = max(0, math.ceil(warmup * steps) - 1)

    assert all(0 < share <= 1 for share in shares)
    assert shares[peak] == 1
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)


def test_learning_rate_of_an_example() -> None:
    assert [rate_share(step, 6, 1 / 3) for step in range(7)] == [0.5, 1, 1, 0.75, 0.5, 0.25, 0]


def test_every_parameter_is_in_one_group_with_its_rate_and_decay(tmp_path: Path) -> None:
    model = pretrained(make_base_model(tmp_path), LABELS)
    names = {parameter: name for name, parameter in model.named_parameters()}

    groups = parameter_groups(model, RECIPE)

    assert sorted(names[parameter] for group in groups for parameter in group["params"]) == sorted(names.values())
    assert groups[0]["lr"] == RECIPE.learning_rate
    for group in groups:
        for name in (names[parameter] for parameter in group["params"]):
            assert group["lr"] == (1e-3 if "classifier" in name or "pooler" in name else 1e-4), name
            assert group["weight_decay"] == (0 if "bias" in name or "LayerNorm" in name else 0.01), name
    assert [group["lr"] for group in parameter_groups(model, replace(RECIPE, head_learning_rate=1e-4))] == [1e-4] * 2


def test_a_point_of_the_curve_is_the_mean_since_the_last() -> None:
    curve = Curve()
    for loss in (1.0, 3.0):
        curve.add(torch.tensor(loss), ["a"])
    assert curve.report(0.5) == {"step": 2, "loss": 2.0, "learning_rate": 0.5}
    curve.add(torch.tensor(5.0), ["b"])
    curve.report(0.25)
    assert curve.points[1] == {"step": 3, "loss": 5.0, "learning_rate": 0.25}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_its_step_and_rows(value: float) -> None:
    curve = Curve()
    curve.add(torch.tensor(1.0), ["a", "b"])
    curve.report(0.1)
    curve.add(torch.tensor(1.0), ["c", "d"])
    curve.add(torch.tensor(value), ["e", "f"])
    curve.add(torch.tensor(value), ["g", "h"])

    with pytest.raises(DataError, match=rf"loss of step 3 is {value}.* rows of its batch: e, f\n  fix: lower"):
        curve.report(0.1)


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
