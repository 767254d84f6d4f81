from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.cleaned import near_duplicates
from assets.cleaned.near_duplicates import _Search
from assets.cleaned.ngrams import Indices
from tests.cleaned import oracle
from tests.cleaned.oracle import similar
from tests.cleaned.search import group

# Few words, so that shared n-grams are the rule; the case varies, because it must not count.
TEXTS = st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "A"]), max_size=9).map(" ".join), max_size=14)
SIMILARITIES = st.one_of(
    st.sampled_from([0.1, 0.3, 0.5, 0.55, 0.6, 2 / 3, 0.7, 0.8, 1.0]),
    st.floats(min_value=0.0, max_value=1.0, exclude_min=True),
)
SMALL = {"CROWDED": 2, "ENTRIES_AT_ONCE": 6, "HASHES_AT_ONCE": 7, "_PAIRS_AT_FIRST": 2}
"""Limits that a dozen texts reach."""


@pytest.fixture(params=[False, True], ids=["as it is", "small limits"], autouse=True)
def _limits(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items() if request.param else ():
            patch.setattr(near_duplicates, name, value)
        yield


def components(texts: list[str], similarity: float, n: int) -> list[int]:
    """Lowest index in the group of every text, from all pairs, by spreading the lowest index until nothing changes."""
    lowest = list(range(len(texts)))
    pairs = [pair for pair in combinations(lowest, 2) if similar(texts[pair[0]], texts[pair[1]], similarity, n)]
    for _ in texts:
        for one, other in pairs:
            lowest[one] = lowest[other] = min(lowest[one], lowest[other])
    return lowest


def test_a_similarity_of_exactly_the_threshold_counts() -> None:
    # 3 shared words of 5: 0.6; 55 of 100: 0.55, where 0.55 * 100 is more than 55 in floating point.
    assert group(["a b c d", "b c d e"], similarity=0.6, ngram=1) == [0, 0]
    assert group(["a b c d", "b c d e"], similarity=0.61, ngram=1) == [0, 1]
    words = [f"w{number}" for number in range(100)]
    assert 0.55 * 100 > 55
    assert group([" ".join(words), " ".join(words[:55])], similarity=0.55, ngram=1) == [0, 0]


def test_groups_join_texts_that_are_alike_only_through_others() -> None:
    assert group(["a b c d", "x y", "c d e f", "b c d e"], similarity=0.6, ngram=1) == [0, 1, 0, 0]


def test_case_and_short_texts() -> None:
    assert group(["Ok", "ok", "ok lar", "OK  Lar", "okay"], similarity=0.6, ngram=3) == [0, 0, 2, 2, 4]
    assert group(["", "a", ""], similarity=0.6, ngram=1) == [0, 1, 0]
    assert group([], similarity=0.6, ngram=3) == []


@settings(deadline=None, derandomize=True, max_examples=250)
@given(TEXTS, SIMILARITIES, st.integers(1, 4))
def test_the_search_finds_what_comparing_all_pairs_finds(texts: list[str], similarity: float, n: int) -> None:
    expected = components(texts, similarity, n)
    assert group(texts, similarity=similarity, ngram=n) == expected
    assert oracle.group(texts, similarity=similarity, ngram=n) == expected


@settings(deadline=None, derandomize=True)
@given(st.tuples(*[TEXTS.map(" ".join)] * 2), SIMILARITIES, st.integers(1, 4))
def test_the_relation_is_symmetric(pair: tuple[str, str], similarity: float, n: int) -> None:
    one, other = pair
    together = group([one, other], similarity=similarity, ngram=n)
    assert group([other, one], similarity=similarity, ngram=n) == together
    assert (together == [0, 0]) == similar(one, other, similarity, n) == similar(other, one, similarity, n)


@settings(deadline=None, derandomize=True)
@given(TEXTS.flatmap(lambda texts: st.tuples(st.just(texts), st.permutations(range(len(texts))))), SIMILARITIES)
def test_order_does_not_matter(case: tuple[list[str], list[int]], similarity: float) -> None:
    texts, order = case

    def partition(indices: list[int]) -> set[frozenset[int]]:
        roots = group([texts[index] for index in indices], similarity=similarity, ngram=2)
        return {frozenset(indices[at] for at, root in enumerate(roots) if root == one) for one in roots}

    assert partition(order) == partition(list(range(len(texts))))


@settings(deadline=None, derandomize=True)
@given(TEXTS, TEXTS, SIMILARITIES)
def test_more_texts_only_join_groups(texts: list[str], more: list[str], similarity: float) -> None:
    before = group(texts, similarity=similarity, ngram=2)
    after = group(texts + more, similarity=similarity, ngram=2)
    assert all(after[text] == after[root] for text, root in enumerate(before))


def changed(words: list[str], generator: random.Random, vocabulary: list[str], times: int) -> list[str]:
    words = words.copy()
    for _ in range(times):
        words[generator.randrange(len(words))] = generator.choice(vocabulary)
    return words


@pytest.mark.parametrize(
    ("words", "length", "n"), [(6, 9, 1), (40, 12, 2), (400, 14, 3), (2000, 120, 3), (300, 700, 2)]
)
@pytest.mark.parametrize("similarity", [0.35, 0.6, 0.85])
def test_thousands_of_texts_are_grouped_as_one_by_one(words: int, length: int, n: int, similarity: float) -> None:
    """From few words, where all n-grams are crowded, to texts that are too long for short sketches."""
    generator = random.Random(words)  # noqa: S311 - toy data
    vocabulary = [f"w{number}" for number in range(words)]
    some: list[list[str]] = [generator.choices(vocabulary, k=length)]
    for _ in range(60_000 // (length + 20)):
        if generator.random() < 0.5:
            some.append(generator.choices(vocabulary, k=generator.randint(max(2, length // 2), length)))
        else:
            some.append(changed(generator.choice(some), generator, vocabulary, generator.randint(1, 1 + length // 6)))
    texts = list(dict.fromkeys(map(" ".join, some)))
    found = group(texts, similarity=similarity, ngram=n)
    assert found == oracle.group(texts, similarity=similarity, ngram=n)


def comparisons(
    texts: list[str], monkeypatch: pytest.MonkeyPatch, *, similarity: float, ngram: int
) -> tuple[set[int], int]:
    """The groups of texts, and how many pairs were decided by their sets."""
    decided = 0
    jaccard = _Search._jaccard

    def counting(search: _Search, ones: Indices, others: Indices) -> object:
        nonlocal decided
        decided += len(ones)
        return jaccard(search, ones, others)

    monkeypatch.setattr(_Search, "_jaccard", counting)
    return set(group(texts, similarity=similarity, ngram=ngram)), decided


def test_a_template_that_occurs_often_is_not_compared_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"your parcel number {number} comes tomorrow between nine and ten so be at home" for number in range(5000)]
    assert all(similar(one, other, 0.5, 3) for one, other in pairwise(texts))
    groups, decided = comparisons(texts, monkeypatch, similarity=0.5, ngram=3)
    assert groups == {0}
    assert decided <= 5 * len(texts)


def test_texts_that_share_most_words_but_are_not_similar_are_hardly_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"your code {number} is good until noon of the day {number}" for number in range(5000)]
    assert not any(similar(one, other, 0.6, 3) for one, other in pairwise(texts))
    groups, decided = comparisons(texts, monkeypatch, similarity=0.6, ngram=3)
    assert len(groups) == len(texts)
    assert decided <= len(texts)
