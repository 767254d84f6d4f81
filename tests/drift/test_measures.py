"""The tests keep their error rate where nothing changed, and find what was planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.drift import measures
from assets.drift.measures import Shift
from assets.evaluation.intervals import holm
from tests.drift.population import Rows, compared, draw

REPETITIONS = 250
LEVEL = 0.05
TOLERATED = LEVEL + 3 * (LEVEL * (1 - LEVEL) / REPETITIONS) ** 0.5
"""The level and three standard deviations of how often what happens with its chance is seen in so many repetitions."""

Tests = Mapping[str, Shift]


@pytest.fixture(scope="module")
def unchanged() -> list[Tests]:
    """The tests on many pairs of samples of one population; one label is so rare that random tables are needed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(measures, "DRAWS", 199)
        found: list[Tests] = []
        for seed in range(REPETITIONS):
            rng = np.random.default_rng(seed)
            found.append(compared(rng, draw(rng, 120), draw(rng, 40)))
        return found


def chances(found: Tests) -> dict[str, float]:
    return {name: shift.p for name, shift in found.items()}


@pytest.mark.parametrize("name", ["labels", "lengths", "vocabulary", "separation"])
def test_each_test_holds_its_level(unchanged: list[Tests], name: str) -> None:
    assert np.mean([found[name].p <= LEVEL for found in unchanged]) <= TOLERATED


def test_all_together_hold_the_level_corrected_and_not_otherwise(unchanged: list[Tests]) -> None:
    lowest = [min(chances(found).values()) for found in unchanged]
    corrected = [min(holm(chances(found)).values()) for found in unchanged]
    assert np.mean([p <= LEVEL for p in corrected]) <= TOLERATED
    assert np.mean([p <= LEVEL for p in lowest]) > TOLERATED


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ({"spam": 0.5}, "labels"),
        ({"words": 20.0}, "lengths"),
        ({"slang": 0.1}, "vocabulary"),
        ({"slang": 0.1}, "separation"),
    ],
)
def test_what_was_planted_is_found_at_the_default_level(planted: dict[str, float], found: str) -> None:
    seen = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        seen += holm(chances(compared(rng, draw(rng, 600), draw(rng, 200, **planted))))[found] <= 0.01
    assert seen >= 4


def test_effects_are_what_they_are_said_to_be() -> None:
    assert measures.label_shift(["a"] * 60 + ["b"] * 40, ["a"] * 30 + ["b"] * 70).effect == pytest.approx(0.3)
    assert measures.length_shift(["x"] * 10, ["x"] * 5 + ["xx"] * 5).effect == pytest.approx(0.5)
    shift = measures.vocabulary_shift(["a b c"], ["a b", "a x"], ["x y", "a b"])
    assert shift.effect == pytest.approx(0.5 - 0.25)
    texts, halves = ["a b"] * 20, np.arange(20) % 2 == 0
    assert measures.separation(texts, ["c d"] * 20, halves, halves).effect == pytest.approx(0.5)
    assert measures.separation(texts, texts, halves, halves).effect == pytest.approx(0.0)


def test_a_sparse_table_is_judged_as_fisher_does() -> None:
    from scipy.stats import fisher_exact

    old, new = ["a"] * 18 + ["b"] * 2, ["a"] * 6 + ["b"] * 4
    exact = fisher_exact([[18, 2], [6, 4]]).pvalue
    assert measures.label_shift(old, new).p == pytest.approx(exact, abs=0.03)


def _labels(old: Rows, new: Rows) -> Shift:
    return measures.label_shift(old.labels, new.labels)


def _vocabulary(old: Rows, new: Rows) -> Shift:
    return measures.vocabulary_shift(old.texts[:100], old.texts[100:], new.texts)


@pytest.mark.parametrize("test", [_labels, _vocabulary])
def test_random_draws_are_the_same_every_time(test: Callable[[Rows, Rows], Shift]) -> None:
    rng = np.random.default_rng(7)
    old, new = draw(rng, 150), draw(rng, 40)
    assert test(old, new) == test(old, new)


def test_where_there_is_nothing_to_compare_nothing_is_found() -> None:
    assert measures.label_shift(["a"] * 5, ["a"] * 5) == measures.NONE
    assert measures.vocabulary_shift(["a"], [], ["b"]) == measures.NONE
    assert measures.vocabulary_shift(["a"], ["a"], ["…"]) == measures.NONE
    one_half = np.zeros(3, dtype=bool)
    assert measures.separation(["a"] * 3, ["b"] * 3, one_half, one_half) == measures.NONE


def test_words_of_a_script_without_spaces_are_its_characters() -> None:
    assert measures.words("Prize: 10€, today!") == ["prize", "10", "today"]
    assert measures.words("免费 prize免费") == ["免", "费", "prize", "免", "费"]
    assert measures.words("Größe привет") == ["größe", "привет"]
    assert measures.unknown_share("a b b", {"a"}) == pytest.approx(2 / 3)
    assert measures.unknown_share("…", {"a"}) == 0


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1, max_size=6))
def test_holm_keeps_the_order_and_rejects_one_by_one(p: dict[str, float]) -> None:
    corrected = holm(p)
    assert corrected.keys() == p.keys()
    ordered = sorted(p, key=lambda name: (p[name], name))
    assert [corrected[name] for name in ordered] == sorted(corrected.values())
    assert all(p[name] <= value <= 1 for name, value in corrected.items())
    assert corrected[ordered[0]] == min(1.0, len(p) * p[ordered[0]])
    level = 0.05
    rejected = 0
    while rejected < len(p) and p[ordered[rejected]] * (len(p) - rejected) <= level:
        rejected += 1
    assert [name for name in ordered if corrected[name] <= level] == ordered[:rejected]
