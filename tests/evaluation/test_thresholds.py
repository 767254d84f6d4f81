"""The threshold that is best for a goal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.evaluation.decisions import Decisions
from assets.evaluation.thresholds import CURVE, candidates, choose_threshold, measure

LABELS = ("a", "b", "c")
GOALS: list[dict[str, Any]] = [
    {"label": "a", "goal": "f1"},
    {"label": "b", "goal": "precision", "recall": 0.7},
    {"label": "c", "goal": "recall", "precision": 0.6},
    {"label": "b", "goal": "cost", "costs": {"a": {"b": 1.0}, "b": {"a": 5.0, "c": 2.0}}},
]


def drawn(seed: int, rows: int) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    # Rounded, so that equal scores occur.
    scores = np.round(generator.dirichlet([1, 1, 1], rows), 2)
    true = np.where(generator.random(rows) < 0.6, scores.argmax(axis=1), generator.integers(0, 3, rows))
    return scores, true.astype(np.intp)


def brute(scores: Any, true: Any, goal: dict[str, Any]) -> tuple[float, bool]:
    """The best value of any threshold, by measuring the answers of each of them."""
    demanded = {"precision": "recall", "recall": "precision"}.get(goal["goal"])
    at = LABELS.index(goal["label"])
    tried = [
        measure(Decisions(1.0, goal["label"], each).chosen(scores, LABELS), true, LABELS, goal)
        for each in [0.0, *np.unique(scores[:, at]), 2.0]
    ]
    if goal["goal"] == "cost":
        return min(each["cost"] for each in tried), True
    if demanded is None:
        return max(each["f1"] for each in tried), True
    enough = [each[goal["goal"]] for each in tried if each[demanded] >= goal[demanded]]
    return (max(enough), True) if enough else (max(each[demanded] for each in tried), False)


@pytest.mark.parametrize("goal", GOALS, ids=[goal["goal"] for goal in GOALS])
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_it_is_as_good_as_the_best_of_all(goal: dict[str, Any], seed: int, rows: int) -> None:
    scores, true = drawn(seed, rows)

    chosen, met, curve = choose_threshold(scores, true, LABELS, goal)

    best, reached = brute(scores, true, goal)
    found = measure(Decisions(1.0, goal["label"], chosen).chosen(scores, LABELS), true, LABELS, goal)
    name = goal["goal"] if reached else {"precision": "recall", "recall": "precision"}[goal["goal"]]
    assert met == reached
    assert found[name] == pytest.approx(best)
    # What the curve says is what the answers give.
    for point in curve:
        answers = Decisions(1.0, goal["label"], point["threshold"]).chosen(scores, LABELS)
        said = {key: value for key, value in point.items() if key != "threshold"}
        assert said == pytest.approx(measure(answers, true, LABELS, goal))


def test_of_equally_good_thresholds_the_one_nearest_to_one_half() -> None:
    scores = np.array([[0.1, 0.9], [0.2, 0.8], [0.9, 0.1], [0.95, 0.05]])

    chosen, met, _ = choose_threshold(scores, np.array([1, 1, 0, 0]), ("x", "y"), {"label": "x", "goal": "f1"})

    assert met
    assert chosen == pytest.approx(0.55)


def test_a_goal_out_of_reach_is_said_and_the_nearest_is_chosen() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    goal = {"label": "x", "goal": "recall", "precision": 0.9}

    chosen, met, _ = choose_threshold(scores, np.array([1, 0, 1]), ("x", "y"), goal)

    assert not met
    assert 0.7 < chosen <= 0.8


def test_there_are_candidates_below_between_and_above_all_scores() -> None:
    near = np.nextafter(0.5, 1)
    for scores in ([0.2, 0.4, 0.4], [0.0, 1.0], [0.5, near]):
        found, distinct = candidates(np.array(scores)), np.unique(scores)
        assert len(found) == len(distinct) + 1
        assert [int((distinct >= each).sum()) for each in found] == list(range(len(distinct), -1, -1))


def test_the_curve_of_many_rows_is_short() -> None:
    generator = np.random.default_rng(0)
    scores = generator.dirichlet([1, 1, 1], 2000)

    _, _, curve = choose_threshold(scores, scores.argmax(axis=1), LABELS, GOALS[0])

    assert len(curve) == CURVE
    assert [each["threshold"] for each in curve] == sorted(each["threshold"] for each in curve)
