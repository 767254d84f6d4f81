"""What may be tried, what is tried next, and the memory of a search."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from assets.search.study import ENOUGH, Study, has, space_of
from tests.search.trainer import ANY

FIRST = {"training.a": 1e-3, "training.b": 16}
SPACE = space_of(
    {"training.b": {**ANY, "choices": [8, 16, 32]}, "training.a": {**ANY, "low": 1e-5, "high": 1e-1, "log": True}},
    FIRST,
)


def open_study(folder: Path, **changed: Any) -> Study:
    folder.mkdir(exist_ok=True)
    given: dict[str, Any] = {"seed": 0, "minimise": True, "pruner": None}
    first = changed.pop("first", FIRST)
    return Study(folder / "study.log", SPACE, first, **{**given, **changed})


@pytest.mark.parametrize(
    ("declared", "present", "expected"),
    [
        ({"choices": [8, None]}, 16, CategoricalDistribution([8, None])),
        ({"low": 1.0, "high": 8.0}, 3, IntDistribution(1, 8)),
        ({"low": 1.0, "high": 9.0, "step": 2.0}, 3, IntDistribution(1, 9, step=2)),
        ({"low": 1.0, "high": 64.0, "log": True}, 3, IntDistribution(1, 64, log=True)),
        ({"low": 1.0, "high": 8.0}, None, IntDistribution(1, 8)),
        ({"low": 0.5, "high": 8.0}, None, FloatDistribution(0.5, 8)),
        ({"low": 0.0, "high": 1.0}, 0.01, FloatDistribution(0, 1)),
        ({"low": 0.0, "high": 1.0, "step": 0.25}, 0.5, FloatDistribution(0, 1, step=0.25)),
        ({"low": 1e-5, "high": 1e-3, "log": True}, 1e-4, FloatDistribution(1e-5, 1e-3, log=True)),
    ],
)
def test_whole_numbers_are_tried_for_settings_that_take_them(
    declared: dict[str, Any], present: Any, expected: BaseDistribution
) -> None:
    assert space_of({"training.x": {**ANY, **declared}}, {"training.x": present}) == {"training.x": expected}


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        (CategoricalDistribution([8, None, "a", True]), None, True),
        (CategoricalDistribution([8, None, "a", True]), 8, True),
        (CategoricalDistribution([8, None, "a", True]), 1, False),
        (CategoricalDistribution([8, 16]), 8.0, False),
        (IntDistribution(1, 9, step=2), 3, True),
        (IntDistribution(1, 9, step=2), 4, False),
        (IntDistribution(1, 9), 10, False),
        (IntDistribution(1, 9), None, False),
        (FloatDistribution(0, 1, step=0.1), 0.3, True),
        (FloatDistribution(0, 1, step=0.1), 0.35, False),
        (FloatDistribution(1e-5, 1e-3, log=True), 1e-3, True),
        (FloatDistribution(1e-5, 1e-3, log=True), 2e-3, False),
    ],
)
def test_whether_a_space_has_a_value(space: BaseDistribution, value: Any, *, expected: bool) -> None:
    assert has(space, value) is expected


def test_the_first_trial_is_the_configuration_where_the_space_has_it(tmp_path: Path) -> None:
    assert open_study(tmp_path).ask().params == FIRST
    elsewhere = open_study(tmp_path / "other", first={**FIRST, "training.b": 64})
    assert elsewhere.ask().params["training.b"] in {8, 16, 32}


@given(scores=st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=6), seed=st.integers(0, 9))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_what_is_tried_next_follows_from_what_is_finished(scores: list[float | None], seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = open_study(folder, seed=seed)
        for score in scores:
            study.tell(study.ask(), score)
        # One is under way when the process is killed: whoever opens the memory then chooses the same.
        under_way = study.ask()
        again = open_study(folder, seed=seed)
        assert len(again.finished) == len(scores)
        next_one = again.ask()
        assert (next_one.number, next_one.params) == (under_way.number, under_way.params)
        assert all(has(SPACE[path], value) for path, value in next_one.params.items())


def test_the_best_is_the_earliest_of_those_trained_to_the_end(tmp_path: Path) -> None:
    for minimise, expected in ((True, 2), (False, 1)):
        study = open_study(tmp_path / f"{minimise}", minimise=minimise)
        for score in (None, 0.5, 0.25, 0.25, 0.5):
            study.tell(study.ask(), score)
        best = study.best
        assert best is not None
        assert best.number == expected
    assert open_study(tmp_path / "none").best is None


def test_importance_is_told_when_enough_trials_differ(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    for number in range(2 * ENOUGH):
        assert (study.importance() is None) == (number < ENOUGH)
        trial = study.ask()
        study.tell(trial, abs(trial.params["training.a"] - 0.01))
    shares = study.importance()
    assert shares is not None
    assert sum(shares.values()) == pytest.approx(1)
    alike = open_study(tmp_path / "alike")
    for _ in range(ENOUGH):
        alike.tell(alike.ask(), 0.5)
    assert alike.importance() is None
