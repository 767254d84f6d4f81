"""The training curve: means between reports, and the rows of a loss that is not finite."""

from __future__ import annotations

import math

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.errors import DataError
from assets.model.curves import Curve


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
