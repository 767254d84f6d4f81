from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.cleaned import near_duplicates
from assets.cleaned.near_duplicates import group, jaccard, ngrams

# Few words, so that shared n-grams are the rule; the case varies, because it must not count.
TEXTS = st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "A"]), max_size=9).map(" ".join), max_size=14)
SIMILARITIES = st.one_of(
    st.sampled_from([0.1, 0.3, 0.5, 0.55, 0.6, 2 / 3, 0.7, 0.8, 1.0]),
    st.floats(min_value=0.0, max_value=1.0, exclude_min=True),
)


def similar(one: str, other: str, similarity: float, n: int) -> bool:
    """The relation, as it is defined."""
    left, right = ngrams(one, n), ngrams(other, n)
    return len(left & right) / len(left | right) >= similarity


def components(texts: list[str], similarity: float, n: int) -> list[int]:
    """Lowest index in the group of every text, from all pairs, by spreading the lowest index until nothing changes."""
    lowest = list(range(len(texts)))
    pairs = [pair for pair in combinations(lowest, 2) if similar(texts[pair[0]], texts[pair[1]], similarity, n)]
    for _ in texts:
        for one, other in pairs:
            lowest[one] = lowest[other] = min(lowest[one], lowest[other])
    return lowest


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [
        ("One two THREE four", 3, {("one", "two", "three"), ("two", "three", "four")}),
        ("one two three", 3, {("one", "two", "three")}),
        ("One two", 3, {("one", "two")}),
        ("a a a a", 2, {("a", "a")}),
        ("", 1, {()}),
    ],
)
def test_ngrams(text: str, n: int, expected: set[tuple[str, ...]]) -> None:
    assert ngrams(text, n) == expected


def test_a_similarity_of_exactly_the_threshold_counts() -> None:
    # 3 shared words of 5: 0.6; 55 of 100: 0.55, where 0.55 * 100 is more than 55 in floating point.
    assert jaccard(3, 4, 4) == 0.6
    assert group(["a b c d", "b c d e"], similarity=0.6, ngram=1) == [0, 0]
    assert group(["a b c d", "b c d e"], similarity=0.61, ngram=1) == [0, 1]
    words = [f"w{number}" for number in range(100)]
    assert 0.55 * 100 > 55
    assert group([" ".join(words), " ".join(words[:55])], similarity=0.55, ngram=1) == [0, 0]


def test_groups_join_texts_that_are_alike_only_through_others() -> None:
    assert group(["a b c d", "x y", "c d e f", "b c d e"], similarity=0.6, ngram=1) == [0, 1, 0, 0]


def test_case_and_short_texts() -> None:
    assert group(["Ok", "ok", "ok lar", "OK  Lar", "okay"], similarity=0.6, ngram=3) == [0, 0, 2, 2, 4]


@settings(deadline=None, derandomize=True, max_examples=250)
@given(TEXTS, SIMILARITIES, st.integers(1, 4))
def test_the_search_finds_what_comparing_all_pairs_finds(texts: list[str], similarity: float, n: int) -> None:
    assert group(texts, similarity=similarity, ngram=n) == components(texts, similarity, n)


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


def test_a_template_that_occurs_often_is_not_compared_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    comparisons = 0

    def counting(shared: int, size: int, other_size: int) -> float:
        nonlocal comparisons
        comparisons += 1
        return jaccard(shared, size, other_size)

    monkeypatch.setattr(near_duplicates, "jaccard", counting)
    texts = [f"your parcel number {number} comes tomorrow between nine and ten so be at home" for number in range(2000)]
    assert set(group(texts, similarity=0.5, ngram=3)) == {0}
    assert all(similar(one, other, 0.5, 3) for one, other in pairwise(texts))
    # Of the pairs that share an n-gram, 1,999 for each text.
    assert comparisons <= 5 * len(texts)
