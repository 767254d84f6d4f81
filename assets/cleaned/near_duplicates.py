"""Groups of near-duplicate texts, exactly, without comparing every pair.

Two texts are near-duplicates when the Jaccard similarity of their sets of word n-grams reaches a threshold; this
depends on the two texts alone. Groups are the connected components of that relation, so order does not matter.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Ngram = tuple[str, ...]


def ngrams(text: str, n: int) -> frozenset[Ngram]:
    """Set of the runs of n words of a text, in lower case; a text of fewer words is one n-gram."""
    words = text.lower().split()
    if len(words) < n:
        return frozenset([tuple(words)])
    return frozenset(zip(*(words[start:] for start in range(n)), strict=False))


def jaccard(shared: int, size: int, other_size: int) -> float:
    """Jaccard similarity of two sets by their sizes and that of their intersection: intersection by union.

    The quotient of two integers is correctly rounded, so comparing it with a threshold such as 0.6 is exact: 3/5
    reaches it. For the same reason it never falls when more is shared.
    """
    return shared / (size + other_size - shared)


def group(texts: Sequence[str], *, similarity: float, ngram: int) -> list[int]:
    """Find the group of every text.

    An inverted index over prefixes finds the pairs that can be similar at all (Bayardo, Ma and Srikant, "Scaling up all
    pairs similarity search", 2007; the bound by position is that of PPJoin, Xiao et al., 2008), and each of them is
    then decided by its sets. A text that already belongs to the group of a candidate is not compared with the rest of
    that group, so a template that occurs n times costs about n comparisons, not n².

    Args:
        texts: the texts; equal ones are near-duplicates of one another.
        similarity: least Jaccard similarity of near-duplicates, above 0 and at most 1.
        ngram: words in an n-gram.

    Returns:
        For each text the lowest index in its group.
    """
    sizes, shared = _by_rarity([ngrams(text, ngram) for text in texts])
    sets = [frozenset(ranks) for ranks in shared]
    forest = _Forest(len(sets))
    # n-gram → (size of the set, position in it, group at that time) → texts
    index: defaultdict[int, dict[tuple[int, int, int], list[int]]] = defaultdict(dict)
    for text, (size, ranks) in enumerate(zip(sizes, shared, strict=True)):
        # Similar texts share at least `least` n-grams, so the rarest that they share has `least` - 1 after it.
        prefix = size - _least_shared(size, similarity) + 1
        alone = size - len(ranks)
        entries = list(enumerate(ranks[: max(0, prefix - alone)], start=alone))
        for position, rank in entries:
            for (other_size, other_position, root), members in index[rank].items():
                at_most = min(size - position, other_size - other_position)
                if jaccard(at_most, size, other_size) < similarity or forest.root(root) == forest.root(text):
                    continue
                if any(jaccard(len(sets[text] & sets[one]), size, other_size) >= similarity for one in members):
                    forest.join(root, text)
        root = forest.root(text)
        for position, rank in entries:
            index[rank].setdefault((size, position, root), []).append(text)
    return [forest.root(text) for text in range(len(sets))]


def _by_rarity(sets: Sequence[frozenset[Ngram]]) -> tuple[list[int], list[list[int]]]:
    """Size of each set, and the ranks of its n-grams that another set has too, rarest first; the others are rarer."""
    frequency = Counter(chain.from_iterable(sets))
    common = (ngram for ngram, sets_with_it in frequency.items() if sets_with_it > 1)
    rank = {ngram: position for position, ngram in enumerate(sorted(common, key=frequency.__getitem__))}
    return list(map(len, sets)), [sorted(rank[ngram] for ngram in ngrams if ngram in rank) for ngrams in sets]


def _least_shared(size: int, similarity: float) -> int:
    """Fewest n-grams that a set of this size shares with any similar one: the least k with k / size >= similarity."""
    least = math.ceil(similarity * size)
    # The product is rounded (0.55 * 100 is above 55), the quotient that decides is not.
    return least - 1 if (least - 1) / size >= similarity else least


class _Forest:
    """Disjoint sets of integers (union–find); the root of a set is its lowest member."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, item: int) -> int:
        parent = self._parent
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low
