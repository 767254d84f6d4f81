"""Which labels are likely wrong, seen by probabilities alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from assets.review import confident
from assets.review.confident import Indices, Probabilities, calibrated, find_suspects

PROPERTY = settings(deadline=None, derandomize=True, max_examples=150)
CASES = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 5))


def case(seed: int, rows: int, count: int) -> tuple[Probabilities, Indices]:
    generator = np.random.default_rng(seed)
    return generator.dirichlet([0.5] * count, rows).astype(np.float32), generator.integers(0, count, rows)


def by_the_rule(probabilities: Probabilities, labels: Indices) -> set[int]:
    """Rows of which another label reaches its threshold and is likelier than their own, one at a time."""
    thresholds = {
        label: np.mean([p[label] for p, own in zip(probabilities, labels, strict=True) if own == label], dtype=float)
        for label in set(labels.tolist())
    }
    return {
        row
        for row, (of_row, own) in enumerate(zip(probabilities, labels.tolist(), strict=True))
        if any(
            of_row[label] >= limit and of_row[label] > of_row[own]
            for label, limit in thresholds.items()
            if label != own
        )
    }


def test_a_row_whose_label_is_contradicted() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.3, 0.7], [0.1, 0.9], [0.6, 0.4]], np.float32)
    found = find_suspects(probabilities, np.array([0, 0, 0, 1, 1, 1]))
    # Thresholds are 0.583 and 0.667; rows 2 and 5 are beyond them, and row 2 is the more doubtful one.
    assert found.rows.tolist() == [2, 5]
    assert found.suggested.tolist() == [1, 0]
    assert found.confidence == pytest.approx([0.05, 0.4])
    assert found.suggested_confidence == pytest.approx([0.95, 0.6])


def test_a_label_without_any_probability_is_doubted_although_no_other_one_is_sure() -> None:
    sure, torn, wrong = [0.9, 0.05, 0.05], [0.31, 0.38, 0.31], [0.0, 0.52, 0.48]
    probabilities = np.array([sure, np.roll(sure, 1), np.roll(sure, 2), [0.05, 0.9, 0.05], torn, wrong], np.float32)
    labels = np.array([0, 1, 2, 0, 1, 0])
    assert by_the_rule(probabilities, labels) == {3}
    # The rule says one; it is the one with the least probability.
    assert find_suspects(probabilities, labels).rows.tolist() == [5]


@PROPERTY
@given(CASES, st.integers(1, 7))
def test_how_many_they_are_is_told_by_the_rule(drawn: tuple[int, int, int], at_once: int) -> None:
    probabilities, labels = case(*drawn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confident, "_ROWS_AT_ONCE", at_once)
        found = find_suspects(probabilities, labels)
    own = probabilities[np.arange(len(labels)), labels]
    assert len(set(found.rows.tolist())) == len(found.rows) <= len(by_the_rule(probabilities, labels))
    assert (found.suggested != labels[found.rows]).all()
    assert (found.suggested_confidence > found.confidence).all()
    assert (found.suggested == probabilities[found.rows].argmax(axis=1)).all()
    # Of one label the least likely ones are listed, unless they are likeliest all the same.
    for label in range(probabilities.shape[1]):
        listed = [row for row in found.rows.tolist() if labels[row] == label]
        highest = max((own[row] for row in listed), default=-1.0)
        for row in np.flatnonzero((labels == label) & (own < highest)).tolist():
            assert row in listed or probabilities[row].argmax() == label


@PROPERTY
@given(st.tuples(st.integers(0, 2**32 - 1), st.integers(20, 60), st.integers(2, 4)))
def test_order_does_not_matter(drawn: tuple[int, int, int]) -> None:
    probabilities, labels = case(*drawn)
    own = probabilities[np.arange(len(labels)), labels].astype(float)
    doubt = np.sort(own / np.array([own[labels == label].mean() for label in labels]))
    # Sums in another order differ in their last digits.
    assume((np.diff(doubt) > 1e-9).all())
    order = np.random.default_rng(drawn[0]).permutation(len(labels))
    found, permuted = find_suspects(probabilities, labels), find_suspects(probabilities[order], labels[order])
    assert found.rows.tolist() == order[permuted.rows].tolist()


def test_nothing_to_judge() -> None:
    found = find_suspects(np.zeros((0, 2), np.float32), np.zeros(0, np.intp))
    assert found.rows.tolist() == []


@PROPERTY
@given(CASES, st.integers(1, 7))
def test_calibrated_probabilities_mean_more_and_rank_alike(drawn: tuple[int, int, int], at_once: int) -> None:
    probabilities, labels = case(*drawn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confident, "_ROWS_AT_ONCE", at_once)
        found = calibrated(probabilities, labels, by=len(labels))
    assert found.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    ranked = np.take_along_axis(found, probabilities.argsort(axis=1), axis=1)
    assert (np.diff(ranked, axis=1) >= -1e-6).all()

    def loss(of: Probabilities) -> float:
        own = np.maximum(of[np.arange(len(labels)), labels].astype(float), 1e-12)
        return float(-np.log(own).mean())

    assert loss(found) <= loss(probabilities) + 1e-3


def test_cautious_probabilities_are_sharpened_by_the_first_rows() -> None:
    probabilities = np.array([[0.6, 0.4]] * 99 + [[0.4, 0.6]], np.float32)
    labels = np.array([0] * 100)
    assert calibrated(probabilities, labels, by=100)[0, 0] == pytest.approx(0.99, abs=0.005)
    assert calibrated(probabilities, labels, by=99)[0, 0] > 0.9995
