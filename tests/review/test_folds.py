"""Folds and samples depend on texts alone: near-duplicates together, labels spread evenly."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.review.folds import AT_LEAST, FOLDS, folds_of, hashes_of, sample_of

PROPERTY = settings(deadline=None, derandomize=True, max_examples=100)
ROWS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.integers(0, 15)),
    min_size=1,
    max_size=60,
    unique_by=lambda row: row[0],
)


def folds(rows: list[tuple[int, int, int]]) -> dict[int, int]:
    hashes = hashes_of(str(text) for text, _, _ in rows)
    _, groups = np.unique([group for _, _, group in rows], return_inverse=True)
    found = folds_of(hashes, np.array([label for _, label, _ in rows]), groups)
    return dict(zip([text for text, _, _ in rows], found.tolist(), strict=True))


@PROPERTY
@given(ROWS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_order_does_not_matter(case: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]) -> None:
    rows, permuted = case
    assert folds(rows) == folds(permuted)


@PROPERTY
@given(ROWS)
def test_a_group_is_in_one_fold(rows: list[tuple[int, int, int]]) -> None:
    found = folds(rows)
    for group in {group for _, _, group in rows}:
        assert len({found[text] for text, _, other in rows if other == group}) == 1


@PROPERTY
@given(st.lists(st.integers(0, 3), min_size=1, max_size=80))
def test_labels_are_spread_evenly(labels: list[int]) -> None:
    found = folds([(at, label, at) for at, label in enumerate(labels)])
    for which in (*({label} for label in labels), set(labels)):
        counts = np.bincount([found[at] for at, label in enumerate(labels) if label in which], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1


def test_the_folds_of_these_texts_are_known() -> None:
    hashes = hashes_of(["one", "two", "three"])
    assert [f"{each:016x}" for each in hashes.tolist()] == [
        "7692c3ad3540bb80",
        "3fc4ccfe745870e2",
        "8b5b9db0c13db24256c829aa364aa90c"[:16],
    ]


def test_a_sample_has_of_each_label_its_share_and_enough_of_a_rare_one() -> None:
    labels = np.array([0] * 3000 + [1] * 1000 + [2] * 40)
    hashes = hashes_of(str(at) for at in range(len(labels)))
    chosen = sample_of(hashes, labels, at_most=2000)
    assert np.bincount(labels[chosen]).tolist() == [1486, 496, 40]
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    # Those with the lowest hashes, whatever the order.
    assert set(hashes[chosen[labels[chosen] == 1]]) == set(np.sort(hashes[labels == 1])[:496])
    chosen = sample_of(hashes, labels, at_most=200)
    assert np.bincount(labels[chosen]).tolist() == [149, AT_LEAST, 40]
    assert sample_of(hashes, labels, at_most=4040).tolist() == list(range(4040))
