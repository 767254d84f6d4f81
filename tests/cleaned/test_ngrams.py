from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.cleaned import ngrams as module
from assets.cleaned.ngrams import Ngrams, ngrams, prefixes, ragged, sketches
from assets.cleaned.normalise import normalised
from tests.cleaned import oracle

# Letters whose lower case is longer, depends on what follows, or is new in Unicode; and every kind of white space.
LETTERS = "aAbBßİΣσςǅéÉ-'.\u0301\u00ad"
TEXTS = st.lists(
    st.one_of(st.text(), st.text(st.sampled_from(f"{LETTERS} \t\n\x0b\x1c\x85\u00a0\u1680\u2003\u2028\u3000")))
)


def hashed(texts: list[str], n: int) -> Ngrams:
    return ngrams(normalised(pa.array(texts, pa.string()), unicode=None, whitespace=True), n)


def sets_of(found: Ngrams) -> list[list[int]]:
    ends = np.cumsum(found.sizes)
    return [part.tolist() for part in np.split(found.hashes, ends[:-1])] if len(ends) else []


@settings(deadline=None, derandomize=True, max_examples=300)
@given(TEXTS, st.integers(1, 5))
def test_hashes_are_equal_where_ngrams_are(texts: list[str], n: int) -> None:
    found, expected = sets_of(hashed(texts, n)), [oracle.ngrams(text, n) for text in texts]
    assert len(found) == len(texts)
    for hashes, own in zip(found, expected, strict=True):
        assert len(hashes) == len(own)
        assert hashes == sorted(set(hashes))
        for others, other in zip(found, expected, strict=True):
            assert len(set(hashes) & set(others)) == len(own & other)


def test_they_are_the_same_on_every_machine_and_long_ones_come_first() -> None:
    found = hashed(["I do not", "Unfortunately international transfers", "I do not know"], 3)
    assert found.sizes.tolist() == [1, 1, 2]
    assert found.hashes.tolist() == [3067579718, 469646472, 2348178510, 3067579718]


def test_how_many_texts_are_hashed_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"the number {number} of this {number % 3}" for number in range(20)]
    whole = hashed(texts, 2)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 3)
    parts = hashed(texts, 2)
    assert (parts.hashes.tolist(), parts.sizes.tolist()) == (whole.hashes.tolist(), whole.sizes.tolist())


@pytest.mark.parametrize(("similarity", "size", "expected"), [(0.6, 10, 5), (0.6, 1, 1), (1.0, 7, 1), (0.55, 100, 46)])
def test_prefixes(similarity: float, size: int, expected: int) -> None:
    assert prefixes(np.array([size]), similarity).tolist() == [expected]


SETS = st.lists(st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=80), min_size=1, max_size=6)


@settings(deadline=None, derandomize=True)
@given(SETS, st.sampled_from([1, 2, 8]), st.sampled_from([0, 6]))
def test_sketches_differ_in_no_more_than_the_sets(sets: list[set[int]], words: int, skip: int) -> None:
    sizes = np.array([len(some) for some in sets])
    hashes = np.array([value for some in sets for value in sorted(some)], np.uint32)
    found = sketches(hashes, sizes, words, skip=skip)
    assert found.shape == (words, len(sets))
    for one, some in enumerate(sets):
        assert (
            found[:, one].tolist()
            == sketches(np.array(sorted(some), np.uint32), np.array([len(some)]), words, skip=skip)[:, 0].tolist()
        )
        for other, others in enumerate(sets):
            differ = int(np.bitwise_count(found[:, one] ^ found[:, other]).sum())
            assert differ <= len(some ^ others)
            assert differ % 2 == len(some ^ others) % 2


def test_a_sketch_has_a_bit_for_each_bucket_with_an_odd_number() -> None:
    hashes = np.array([0, 1, 65, 63, 200, 127], np.uint32)
    assert sketches(hashes, np.array([3, 3])).tolist() == [[1, 1 << 8]]
    assert sketches(hashes, np.array([3, 3]), 2).tolist() == [[3, (1 << 63)], [2, (1 << 63) | (1 << 8)]]


def test_ragged() -> None:
    assert ragged(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert ragged(np.array([], np.intp), np.array([], np.intp)).tolist() == []
