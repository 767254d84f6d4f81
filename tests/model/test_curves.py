"""The training curve: means between reports, and the rows of a loss that is not finite."""

from __future__ import annotations

import math

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.errors import DataError
from assets.model.curves import Curve, Pace


def note(curve: Curve, loss: float, row_ids: list[str], norm: float = 1.0) -> None:
    curve.add(torch.tensor(loss), torch.tensor(norm), row_ids)


def test_a_point_of_the_curve_is_the_mean_since_the_last() -> None:
    curve = Curve(classes=2, batch_size=1)
    for loss in (1.0, 3.0):
        note(curve, loss, ["a"])
    assert curve.report(0.5) == {"step": 2, "loss": 2.0, "learning_rate": 0.5}
    note(curve, 5.0, ["b"])
    curve.report(0.25)
    assert curve.points[1] == {"step": 3, "loss": 5.0, "learning_rate": 0.25}


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_names_its_step_and_rows(what: str, value: float) -> None:
    curve = Curve(classes=2, batch_size=2)
    spoilt = {"loss": value} if what == "loss" else {"loss": 1.0, "norm": value}
    note(curve, 1.0, ["a", "b"])
    curve.report(0.1)
    note(curve, 1.0, ["c", "d"])
    note(curve, **spoilt, row_ids=["e", "f"])
    note(curve, **spoilt, row_ids=["g", "h"])

    with pytest.raises(DataError, match=rf"the {what} of step 3 is {value}.* rows of its batch: e, f\n  fix: lower"):
        curve.report(0.1)


def test_a_loss_far_above_guessing_over_many_rows_stops_training_and_names_the_worst() -> None:
    curve = Curve(classes=2, batch_size=64)
    for step in range(7):
        note(curve, 4.0, [f"early {step}"])
        curve.report(0.1)
    note(curve, 3.0, ["before"])
    note(curve, 9.0, ["worst"])
    note(curve, 3.0, ["after"])

    message = r"diverged: a loss of 4\.38 nats over the last 512 rows, where guessing costs 0\.693; .*step 9 had"
    with pytest.raises(DataError, match=rf"{message} the highest; the rows of its batch: worst\n  fix: lower"):
        curve.report(0.1)


def test_a_few_rows_with_a_high_loss_stop_nothing() -> None:
    curve = Curve(classes=2, batch_size=1)
    for step in range(600):
        note(curve, 20.0 if step % 10 == 0 else 0.1, ["a"])
        curve.report(0.1)
    assert len(curve.points) == 600


def test_a_training_that_was_done_already_tells_no_pace() -> None:
    assert Pace(parameters=7, peak=1e12).values() == {}
    told = Pace(seconds=2.0, examples=8, tokens=100, real=100, places=125, parameters=7, peak=2100.0).values()
    assert told == {"examples_per_second": 4, "tokens_per_second": 50, "real_tokens": 0.8, "mfu": 1}
