"""Temperature scaling, and how far confidence and accuracy differ."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.evaluation.calibration import fit_temperature, log_loss, reliability
from assets.evaluation.decisions import Scores, scaled


def drawn(seed: int, rows: int, temperature: float = 1.0, labels: int = 3) -> tuple[Scores, npt.NDArray[np.intp]]:
    """Scores of a model whose logits are too large by the temperature, and labels as its true ones say."""
    generator = np.random.default_rng(seed)
    powers = np.exp(generator.normal(scale=1.5, size=(rows, labels)))
    honest = powers / powers.sum(axis=1, keepdims=True)
    true = (honest.cumsum(axis=1) > generator.random((rows, 1))).argmax(axis=1)
    return scaled(honest, 1 / temperature), true


@given(st.integers(0, 10_000), st.integers(1, 300), st.floats(0.3, 4))
@settings(max_examples=40, deadline=None)
def test_the_temperature_never_makes_the_validation_loss_worse(seed: int, rows: int, temperature: float) -> None:
    scores, true = drawn(seed, rows, temperature)

    found, reason = fit_temperature(scores, true)

    assert log_loss(scaled(scores, found), true) <= log_loss(scores, true)
    assert (found == 1.0) or not reason


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_a_model_is_found(temperature: float) -> None:
    scores, true = drawn(1, 20_000, temperature)

    found, _ = fit_temperature(scores, true)

    assert found == pytest.approx(temperature, rel=0.05)


def test_a_temperature_makes_an_overconfident_model_honest_on_other_rows() -> None:
    (scores, true), (others, known) = drawn(2, 3000, 3.0), drawn(3, 3000, 3.0)

    temperature, _ = fit_temperature(scores, true)

    before, after = reliability(others, known), reliability(scaled(others, temperature), known)
    assert before["ece"] > before["by_chance"]
    assert after["ece"] <= after["by_chance"]


@pytest.mark.parametrize(
    ("rows", "wrong", "reason"),
    [
        (40, 10, "40 validation rows are too few; 50 are needed"),
        (60, 4, "only 4 of 60 validation rows are wrong; 5 are needed"),
    ],
)
def test_no_temperature_follows_chance(rows: int, wrong: int, reason: str) -> None:
    scores = np.tile([0.9, 0.1], (rows, 1))

    assert fit_temperature(scores, np.array([1] * wrong + [0] * (rows - wrong))) == (1.0, reason)


def test_rows_of_labels_that_the_model_lacks_are_left_out() -> None:
    scores, true = drawn(4, 500, 2.0)
    more = np.concatenate([scores, scores[:100]]), np.concatenate([true, np.full(100, -1)])

    assert fit_temperature(*more) == fit_temperature(scores, true)


def test_reliability_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.92, 0.08], [0.55, 0.45], [1.0, 0.0]])

    found = reliability(scores, np.array([0, 1, 1, 0]))

    assert sum(each["rows"] for each in found["bins"]) == 4
    assert [(each["rows"], each["accuracy"]) for each in found["bins"]] == [(1, 0.0), (2, 0.5), (1, 1.0)]
    assert found["bins"][1]["confidence"] == pytest.approx(0.91)
    assert found["ece"] == pytest.approx((0.55 + 2 * 0.41 + 0) / 4)
