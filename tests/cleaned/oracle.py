"""What the room does, text by text: the same sets of n-grams, groups and overlay, in plain Python.

Groups come from an inverted index over prefixes (Bayardo, Ma and Srikant, "Scaling up all pairs similarity search",
2007, with the bound by position of PPJoin, Xiao et al., 2008): exact, and seconds for some thousand texts.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

Ngram = tuple[str, ...]


def ngrams(text: str, n: int) -> frozenset[Ngram]:
    """Set of the runs of n words of a text, in lower case; a text of fewer words is one n-gram."""
    words = text.lower().split()
    if len(words) < n:
        return frozenset([tuple(words)])
    return frozenset(zip(*(words[start:] for start in range(n)), strict=False))


def similar(one: str, other: str, similarity: float, n: int) -> bool:
    """The relation, as it is defined."""
    left, right = ngrams(one, n), ngrams(other, n)
    return len(left & right) / len(left | right) >= similarity


def group(texts: Sequence[str], *, similarity: float, ngram: int) -> list[int]:
    """For each text the lowest index in its group."""
    sizes, shared = _by_rarity([ngrams(text, ngram) for text in texts])
    sets = [frozenset(ranks) for ranks in shared]
    parent = list(range(len(sets)))

    def root_of(item: int) -> int:
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

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
                if _jaccard(at_most, size, other_size) < similarity or root_of(root) == root_of(text):
                    continue
                if any(_jaccard(len(sets[text] & sets[one]), size, other_size) >= similarity for one in members):
                    low, high = sorted((root_of(root), root_of(text)))
                    parent[high] = low
        root = root_of(text)
        for position, rank in entries:
            index[rank].setdefault((size, position, root), []).append(text)
    return [root_of(text) for text in range(len(sets))]


def _jaccard(shared: int, size: int, other_size: int) -> float:
    return shared / (size + other_size - shared)


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


@dataclass(frozen=True)
class Overlay:
    """What becomes of each row. Rows are named by their index in the order of `row_id`.

    Attributes:
        kept: row that stays → how many rows it stands for, itself among them.
        merged: row → the kept row with an equal text.
        conflicting: rows whose text occurs with different labels.
        group: kept row, or lowest row of a conflicting text → lowest kept row of its group.
    """

    kept: dict[int, int]
    merged: dict[int, int]
    conflicting: set[int]
    group: dict[int, int]


def resolve(texts: Sequence[str], labels: Sequence[str], near_duplicates: Mapping[str, Any] | None) -> Overlay:
    """What becomes of rows with these normalised texts and labels, where conflicts go to quarantine."""
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        rows_of[text].append(row)
    overlay = Overlay({}, {}, set(), {})
    for first, *others in rows_of.values():
        if len({labels[row] for row in (first, *others)}) > 1:
            overlay.conflicting.update((first, *others))
        else:
            overlay.kept[first] = 1 + len(others)
            overlay.merged.update(dict.fromkeys(others, first))
    firsts = [rows[0] for rows in rows_of.values()]
    groups = range(len(firsts)) if near_duplicates is None else group(list(rows_of), **near_duplicates)
    lowest_kept: dict[int, int] = {}
    for first, root in zip(firsts, groups, strict=True):
        if first in overlay.kept:
            lowest_kept.setdefault(root, first)
    for first, root in zip(firsts, groups, strict=True):
        if root in lowest_kept:
            overlay.group[first] = lowest_kept[root]
    return overlay
