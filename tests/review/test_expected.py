"""What is expected of a row says nothing of its own label."""

from __future__ import annotations

import numpy as np
import pytest

from assets.progress import Progress
from assets.review.confident import Indices, Probabilities
from assets.review.expected import expect
from assets.review.folds import FOLDS
from tests.tiny import LABELS, make_rows

ROWS = make_rows(200, seed=1)
TEXTS = [text for text, _ in ROWS]
TRUE = np.array([LABELS.index(label) for _, label in ROWS])
FOLD = np.arange(200) % FOLDS


def expected(labels: Indices, sample: Indices | None = None, count: int = 2) -> tuple[Probabilities, list[int]]:
    probabilities, judged = expect(
        TEXTS,
        labels,
        folds=FOLD,
        sample=np.arange(200) if sample is None else sample,
        count=count,
        progress=Progress("test", lambda event: None),
    )
    return probabilities, np.flatnonzero(judged).tolist()


def test_the_right_label_is_likelier() -> None:
    probabilities, judged = expected(TRUE)
    assert judged == list(range(200))
    assert probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert (probabilities.argmax(axis=1) == TRUE).mean() > 0.95


def test_a_fold_is_judged_without_regard_to_its_own_labels() -> None:
    turned = np.where(FOLD == 2, 1 - TRUE, TRUE)
    before, after = expected(TRUE)[0], expected(turned)[0]
    assert (before[FOLD == 2] == after[FOLD == 2]).all()
    assert (before[FOLD == 3] != after[FOLD == 3]).any()


def test_rows_outside_the_sample_are_judged_and_do_not_teach() -> None:
    sample = np.arange(0, 200, 2)
    before, judged = expected(TRUE, sample)
    assert judged == list(range(200))
    turned = TRUE.copy()
    turned[1::2] = 1 - turned[1::2]
    assert (expected(turned, sample)[0] == before).all()


def test_a_label_that_no_other_fold_has_cannot_be_judged() -> None:
    labels = TRUE.copy()
    labels[[2, 7]] = 2
    probabilities, judged = expected(labels, count=3)
    assert judged == [row for row in range(200) if row not in {2, 7}]
    assert (probabilities[[2, 7]] == 0).all()
    assert (probabilities[FOLD == 2, 2] == 0).all()
    assert (probabilities[FOLD == 3, 2] > 0).all()


def test_one_label_alone_is_not_judged() -> None:
    assert expected(np.zeros(200, np.intp))[1] == []
