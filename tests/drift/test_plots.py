from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from assets.drift import plots

RNG = np.random.default_rng(5)
NUMBERS = {"champion": RNG.random(50), "new": RNG.random(20)}
MANY = [{"name": f"label {at} $x$", "champion": 1 / 40, "new": (at % 3) / 40} for at in range(40)]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.labels(MANY[:2]),
        lambda: plots.labels(MANY),
        # The font has no such letters; it must not stop the step.
        lambda: plots.labels([{"name": "好", "champion": 0.4, "new": 0.5}]),
        lambda: plots.lengths(NUMBERS),
        lambda: plots.unknown(NUMBERS),
        lambda: plots.unknown({**NUMBERS, "champion": np.empty(0)}),
    ],
    ids=["labels", "many labels", "script", "lengths", "unknown", "nothing held out"],
)
def test_pictures_are_drawn_and_equal_every_time(draw: Callable[[], bytes]) -> None:
    picture = draw()
    assert picture.startswith(b"\x89PNG")
    assert picture == draw()
    # Dagster's database takes the picture itself.
    assert len(picture) < 100_000
