"""Properties of the gate."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.release import gate

VALUES = st.floats(0.0, 1.0)
MARGINS = st.floats(-1.0, 1.0)
BELOW = "accuracy 0.9000 is 0.1000 below the champion's 1.0000 on the same 5 rows; required: at most 0.2000 below it"
OUTCOMES = st.lists(st.booleans(), max_size=4)


def comparisons(outcomes: list[bool]) -> list[gate.Comparison]:
    return [gate.Comparison(f"condition {index}", passed, 0.5, 0.5, "") for index, passed in enumerate(outcomes)]


@settings(deadline=None, derandomize=True)
@given(OUTCOMES)
def test_promoted_is_who_meets_every_condition(outcomes: list[bool]) -> None:
    expected = "promoted" if all(outcomes) else "refused"
    assert gate.decide("new", "old", comparisons(outcomes)) == expected
    assert gate.decide("new", None, comparisons(outcomes)) == expected


@settings(deadline=None, derandomize=True)
@given(OUTCOMES)
def test_the_champion_itself_changes_nothing(outcomes: list[bool]) -> None:
    assert gate.decide("same", "same", comparisons(outcomes)) == "unchanged"


@settings(deadline=None, derandomize=True)
@given(value=VALUES, better=VALUES, other=VALUES, margin=MARGINS)
def test_a_better_model_meets_what_a_worse_one_meets(value: float, better: float, other: float, margin: float) -> None:
    value, better = sorted((value, better))
    for one, two in (
        (gate.at_least_floor("accuracy", value, other), gate.at_least_floor("accuracy", better, other)),
        (
            gate.above_baseline("accuracy", value, other, margin),
            gate.above_baseline("accuracy", better, other, margin),
        ),
        (
            gate.not_below_champion("accuracy", value, other, abs(margin), 9),
            gate.not_below_champion("accuracy", better, other, abs(margin), 9),
        ),
    ):
        assert two.passed or not one.passed


@settings(deadline=None, derandomize=True)
@given(value=VALUES, other=VALUES, margin=st.floats(0.0, 1.0))
def test_the_limit_says_what_passes(value: float, other: float, margin: float) -> None:
    for made in (
        gate.at_least_floor("f1_macro", value, other),
        gate.above_baseline("f1_macro", value, other, margin),
        gate.not_below_champion("f1_macro", value, other, margin, 9),
    ):
        assert made.value == value
        assert made.limit is not None
        if abs(value - made.limit) > 1e-6:
            assert made.passed == (value > made.limit)


@settings(deadline=None, derandomize=True)
@given(VALUES)
def test_level_with_the_champion_passes(value: float) -> None:
    assert gate.not_below_champion("accuracy", value, value, 0.0, 9).passed


def test_floating_point_refuses_nobody() -> None:
    assert 0.9 - 0.8 < 0.1
    assert gate.above_baseline("accuracy", 0.9, 0.8, 0.1).passed
    assert gate.not_below_champion("accuracy", 0.8, 0.9, 0.1, 9).passed


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (gate.at_least_floor("accuracy", 0.5, 0.75), "accuracy 0.5000; at least 0.7500 is required"),
        (
            gate.above_baseline("f1_macro", 0.9, 0.95, 0.01),
            "macro F1 0.9000 is 0.0500 below the baseline's 0.9500; required: at least 0.0100 above it",
        ),
        (
            gate.not_below_champion("accuracy", 0.9, 1.0, 0.2, 5),
            BELOW,
        ),
        (
            gate.not_below_champion("f1_macro", 0.9, 0.9, 0.0, 5),
            "macro F1 0.9000 is level with the champion's 0.9000 on the same 5 rows; required: at least level with it",
        ),
        (
            gate.champion_incomparable("it sleeps"),
            "cannot be compared with the champion: it sleeps; only an explicit promotion can put it in use",
        ),
        (
            gate.not_rolled_back(was_rolled_back=True),
            "this very model was rolled back; only an explicit promotion can put it in use again",
        ),
    ],
)
def test_messages(made: gate.Comparison, message: str) -> None:
    assert made.message == message


def test_who_cannot_be_compared_is_refused() -> None:
    assert not gate.champion_incomparable("it sleeps").passed
    assert not gate.not_rolled_back(was_rolled_back=True).passed
    assert gate.not_rolled_back(was_rolled_back=False).passed
