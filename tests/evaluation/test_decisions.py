"""From probabilities to answers: temperature and threshold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.evaluation.decisions import Decisions, Scores, read, scaled

TEMPERATURES = st.floats(0.1, 10)


@st.composite
def probabilities(draw: st.DrawFn) -> Scores:
    rows, labels = draw(st.integers(1, 20)), draw(st.integers(2, 5))
    logits = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).normal(scale=3, size=(rows, labels))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@given(probabilities(), TEMPERATURES)
def test_a_temperature_keeps_the_likeliest_label_and_a_sum_of_one(scores: Scores, temperature: float) -> None:
    after = scaled(scores, temperature)

    assert np.allclose(after.sum(axis=1), 1)
    assert (after.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert np.allclose(scaled(after, 1 / temperature), scores)


def test_a_temperature_is_that_of_the_logits() -> None:
    logits = np.array([[2.0, 0.0, -4.0]])
    scores, expected = (np.exp(values) / np.exp(values).sum() for values in (logits, logits / 2))

    assert np.allclose(scaled(scores, 2.0), expected)


def test_a_score_of_nothing_stays_nothing() -> None:
    assert scaled(np.array([[1.0, 0.0]]), 3.0).tolist() == [[1.0, 0.0]]


def test_the_label_with_a_threshold_is_answered_from_there_on_and_else_the_best_of_the_others() -> None:
    scores = np.array([[0.3, 0.4, 0.3], [0.2, 0.2, 0.6], [0.29, 0.31, 0.4], [0.9, 0.1, 0.0]])

    assert Decisions(1.0, "a", 0.3).chosen(scores, ("a", "b", "c")).tolist() == [0, 2, 2, 0]
    assert Decisions(1.0, "a", 0.95).chosen(scores, ("a", "b", "c")).tolist() == [1, 2, 2, 1]


@pytest.mark.parametrize("decisions", [Decisions(), Decisions(1.0, "unknown", 0.1)])
def test_without_a_threshold_the_likeliest_label_is_answered(decisions: Decisions) -> None:
    assert decisions.chosen(np.array([[0.2, 0.8], [0.6, 0.4]]), ("a", "b")).tolist() == [1, 0]


def test_decisions_are_read_as_an_evaluation_wrote_them(tmp_path: Path) -> None:
    assert read(tmp_path) == Decisions(), "an evaluation of a time before there were any"
    (tmp_path / "calibration.json").write_text(json.dumps({"temperature": 1.5}))
    assert read(tmp_path) == Decisions(1.5)
    (tmp_path / "thresholds.json").write_text(json.dumps({"label": "spam", "chosen": 0.25}))
    assert read(tmp_path) == Decisions(1.5, "spam", 0.25)
