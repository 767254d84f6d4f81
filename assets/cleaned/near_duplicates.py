"""Groups of near-duplicate texts, exactly, without comparing every pair.

Two texts are near-duplicates when the Jaccard similarity of their sets of word n-grams reaches a threshold; this
depends on the two texts alone. Groups are the connected components of that relation, so order does not matter.

Pairs that can be similar at all share an n-gram of their prefixes. The texts that have the same n-gram in their prefix
are a run. A run is first compared along its neighbours, which joins a template that occurs n times by n comparisons;
then at growing distances, as long as it is not in one group. Where too many texts share an n-gram, they are looked at
again by prefixes in which the n-grams that are rare among them come first; only runs that are crowded even then are
compared all with all. A comparison is that of sketches, a few nanoseconds; what is left is decided by the sets.

The worst case is quadratic, at a few nanoseconds a pair: texts that are alike just less than similar, of so few
different n-grams that each is in many of them, such as arbitrary halves of an alphabet of thirty words.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assets.cleaned.ngrams import Hashes, Indices, Words, first_of_each, prefixes, ragged, sketches

CROWDED = 64
"""Texts with the same n-gram in their prefix from which on rarer n-grams are looked for."""
ENTRIES_AT_ONCE = 1 << 18
"""Members of runs that are compared together: they stay in a processor's cache."""
HASHES_AT_ONCE = 1 << 17
"""The same for n-grams of pairs that are decided together."""

_PAIRS_AT_FIRST = 1 << 15
_WIDEST = 32
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_PROBING = np.uint64(1 << 31)


class Sets(NamedTuple):
    """Sets of n-grams of many texts.

    Attributes:
        hashes: n-grams of all texts; those of one lie together, the order in which prefixes are taken first.
        starts: of each text, where its n-grams begin.
        sizes: how many they are.
        prefixes: how many of them its prefix has: see `assets.cleaned.ngrams.prefixes`.
        sketches: two of each.
    """

    hashes: Hashes
    starts: Indices
    sizes: Indices
    prefixes: Indices
    sketches: tuple[Words, Words]


class Runs(NamedTuple):
    """Texts that have the same n-gram in their prefix, one run after another.

    Attributes:
        texts: members of the runs.
        sizes: how many members each run has.
        leading: how many of these, its first ones, can be the smaller one of a pair that the run is there to find.
    """

    texts: Indices
    sizes: Indices
    leading: Indices

    def only(self, which: npt.NDArray[np.bool_]) -> Runs:
        """Some of the runs."""
        if which.all():
            return self
        return Runs(self.texts[np.repeat(which, self.sizes)], self.sizes[which], self.leading[which])

    def longest_first(self) -> Runs:
        """The same runs in another order."""
        order = np.argsort(-self.sizes, kind="stable")
        starts = np.cumsum(self.sizes) - self.sizes
        return Runs(self.texts[ragged(starts[order], self.sizes[order])], self.sizes[order], self.leading[order])

    def first(self, count: int) -> Runs:
        """The first runs."""
        return Runs(self.texts[: self.sizes[:count].sum()], self.sizes[:count], self.leading[:count])

    def longer_than(self, size: int) -> int:
        """How many runs, sorted by size, have more members."""
        return int(np.searchsorted(-self.sizes, -size))


def group(sets: Sets, entries: Words, similarity: float, lowest: Indices) -> Indices:
    """Find the group of every text.

    Args:
        sets: n-grams of the texts, fewer than 2 ** 31 texts.
        entries: for each n-gram in the prefix of a text that counts: the n-gram, shifted left by 32 bits, and the
            text. It is sorted in place.
        similarity: least Jaccard similarity of near-duplicates, above 0 and at most 1.
        lowest: for each text the lowest index in the group that it is known to be in, or its own.

    Returns:
        For each text the lowest index in its group.
    """
    search = _Search(sets, similarity, lowest)
    crowded = search.join(_runs(entries))
    again = np.zeros(len(sets.sizes), bool)
    again[crowded.texts] = True
    if again.any():
        search.join_crowded(search.join(_runs(_by_rarity(sets, np.flatnonzero(again), similarity))))
    return search.forest.lowest()


class _Forest:
    """Disjoint sets of integers (union–find); the root of a set is its lowest member."""

    def __init__(self, lowest: Indices) -> None:
        self._parent = lowest.copy()

    def roots(self, items: Indices) -> Indices:
        found: Indices = self._parent.take(items)
        while True:
            above = self._parent.take(found)
            if np.array_equal(above, found):
                return found
            found = above

    def lowest(self) -> Indices:
        """The root of each."""
        found = self._parent.copy()
        joined = np.flatnonzero(found != np.arange(len(found)))
        found[joined] = self.roots(joined)
        return found

    def join(self, ones: Indices, others: Indices) -> None:
        left, right = ones, others
        while len(left):
            left, right = self.roots(left), self.roots(right)
            apart = left != right
            left, right = left[apart], right[apart]
            low, high = np.minimum(left, right), np.maximum(left, right)
            np.minimum.at(self._parent, high, low)
            # They may form long chains; every look halves them.
            while len(high):
                near, far = self._parent[high], self._parent[self._parent[high]]
                self._parent[high] = far
                high = high[near != far]
        for items in (ones, others):
            self._parent[items] = self.roots(items)


class _Search:
    """Joins texts that are near-duplicates.

    Attributes:
        forest: the groups so far.
    """

    def __init__(self, sets: Sets, similarity: float, lowest: Indices) -> None:
        self.forest = _Forest(lowest)
        self._sets = sets
        self._similarity = similarity
        self._sketches = _wide_enough(sets)
        # Similar sets differ in at most this share of the n-grams of both; a little more, since floats are rounded.
        share = (1 - similarity) / (1 + similarity)
        sizes = np.arange(int(sets.sizes.max(initial=0)) + 1)
        self._slack = (share * (1 + 1e-6) * sizes + 1e-3).astype(np.float32)[sets.sizes]

    def join(self, runs: Runs) -> Runs:
        """Join the near-duplicates among the members of each run, but in crowded ones only neighbours.

        Returns:
            The crowded runs that are not in one group after that.
        """
        ends = np.cumsum(runs.sizes)
        batches = np.flatnonzero(np.diff(ends // ENTRIES_AT_ONCE, prepend=-1)).tolist()
        crowded = [runs.only(np.zeros(len(ends), bool))]
        for first, last in pairwise([*batches, len(ends)]):
            texts = runs.texts[ends[first] - runs.sizes[first] : ends[last - 1]]
            crowded.append(self._join_some(Runs(texts, runs.sizes[first:last], runs.leading[first:last])))
        return Runs(*(np.concatenate(parts) for parts in zip(*crowded, strict=True)))

    def _join_some(self, runs: Runs) -> Runs:
        joined = self._settle(self._close(runs, range(1, 2)))
        runs = self._still_apart(runs.only(runs.sizes > 2), joined)
        crowded = self._apart(runs.only(runs.sizes > CROWDED))
        runs = runs.only(runs.sizes <= CROWDED).longest_first()
        distance = 2
        while len(runs.sizes):
            joined = self._settle(self._close(runs, range(distance, 2 * distance)))
            distance *= 2
            runs = self._still_apart(runs.first(runs.longer_than(distance)), joined)
        return crowded

    def join_crowded(self, runs: Runs) -> None:
        """Join the near-duplicates among the members of each run, comparing all with all."""
        ends = np.cumsum(runs.sizes)
        for end, size, leading in zip(ends, runs.sizes, runs.leading, strict=True):
            texts = runs.texts[end - size : end]
            words, slack = [word[texts] for word in self._sketches], self._slack[texts]
            at_once = max(1, ENTRIES_AT_ONCE // int(size))
            for start in range(0, int(leading), at_once):
                some, others = slice(start, min(start + at_once, int(leading))), slice(start + 1, None)
                groups = self.forest.roots(texts)
                close = groups[some, None] != groups[None, others]
                if not close.any() and (groups == groups[0]).all():
                    break
                differ = _differing([word[some, None] for word in words], [word[None, others] for word in words])
                close &= differ <= slack[some, None] + slack[None, others]
                one, other = np.nonzero(close)
                self._settle(_pairs(texts[some][one], texts[others][other]))

    def _close(self, runs: Runs, distances: range) -> Words:
        """Pairs of members of a run, at some distances in it, whose sketches are close."""
        words = [word.take(runs.texts) for word in self._sketches]
        slack = self._slack.take(runs.texts)
        run = np.repeat(np.arange(len(runs.sizes), dtype=np.int32), runs.sizes)
        ends = np.cumsum(runs.sizes)
        found = []
        for distance in distances:
            count = len(ends) if distance == 1 else runs.longer_than(distance)
            if not count:
                break
            near, far = slice(0, ends[count - 1] - distance), slice(distance, ends[count - 1])
            differ = _differing([word[near] for word in words], [word[far] for word in words])
            close = run[near] == run[far]
            close &= differ <= slack[near] + slack[far]
            at = np.flatnonzero(close)
            found.append(_pairs(runs.texts[at], runs.texts[at + distance]))
        return np.concatenate(found)

    def _still_apart(self, runs: Runs, joined: int) -> Runs:
        """Those runs that are worth a look at larger distances; to sort them out pays only where much was joined."""
        return self._apart(runs) if 10 * joined > len(runs.texts) else runs

    def _apart(self, runs: Runs) -> Runs:
        """Those runs that are not in one group."""
        if not len(runs.sizes):
            return runs
        groups, starts = self.forest.roots(runs.texts), np.cumsum(runs.sizes) - runs.sizes
        return runs.only(np.minimum.reduceat(groups, starts) != np.maximum.reduceat(groups, starts))

    def _settle(self, pairs: Words) -> int:
        """Join those pairs that are similar; returns how many were."""
        pairs = np.sort(pairs)
        pairs = pairs[first_of_each(pairs)]
        at_once, joined = _PAIRS_AT_FIRST, 0
        while len(pairs):
            ones, others = (pairs >> _HALF).astype(np.intp), (pairs & _LOW).astype(np.intp)
            # What is joined saves comparisons, so it is looked at again and again.
            apart = self.forest.roots(ones) != self.forest.roots(others)
            pairs, ones, others = pairs[apart], ones[apart][:at_once], others[apart][:at_once]
            similar = self._similar(ones, others)
            self.forest.join(ones[similar], others[similar])
            joined += int(similar.sum())
            pairs = pairs[at_once:]
            at_once *= 2
        return joined

    def _similar(self, ones: Indices, others: Indices) -> npt.NDArray[np.bool_]:
        """Which pairs are similar."""
        second = self._sets.sketches[1]
        slack = self._slack[ones] + self._slack[others]
        found: npt.NDArray[np.bool_] = np.bitwise_count(second[ones] ^ second[others]) <= slack
        at = np.flatnonzero(found)
        ends = np.cumsum(self._sets.sizes[ones[at]] + self._sets.sizes[others[at]])
        batches = np.flatnonzero(np.diff(ends // HASHES_AT_ONCE, prepend=-1)).tolist()
        for first, last in pairwise([*batches, len(at)]):
            some = at[first:last]
            found[some] = self._jaccard(ones[some], others[some]) >= self._similarity
        return found

    def _jaccard(self, ones: Indices, others: Indices) -> npt.NDArray[np.float64]:
        """Jaccard similarity of pairs.

        The quotient of two integers is correctly rounded, so comparing it with a threshold such as 0.6 is exact: 3/5
        reaches it.
        """
        texts = np.concatenate([ones, others])
        sizes = self._sets.sizes[texts]
        pair = np.tile(np.arange(len(ones), dtype=np.uint64) << _HALF, 2)
        hashes = np.repeat(pair, sizes) | self._sets.hashes.take(ragged(self._sets.starts[texts], sizes))
        hashes.sort()
        twice = hashes[1:][hashes[1:] == hashes[:-1]]
        shared = np.bincount((twice >> _HALF).astype(np.intp), minlength=len(ones))
        quotient: npt.NDArray[np.float64] = shared / (sizes[: len(ones)] + sizes[len(ones) :] - shared)
        return quotient


def _runs(entries: Words) -> Runs:
    """Runs of two texts or more that can have a pair to find."""
    entries.sort()
    same = np.zeros(len(entries) + 1, bool)
    for start in range(0, len(entries) - 1, ENTRIES_AT_ONCE):
        some = entries[start : start + ENTRIES_AT_ONCE + 1]
        same[start + 1 : start + len(some)] = (some[1:] ^ some[:-1]) <= _LOW
    entries = entries.take(np.flatnonzero(same[1:] | same[:-1]))
    starts = first_of_each(entries >> _HALF)
    texts = (entries & (_PROBING - np.uint64(1))).astype(np.intp)
    sizes = np.diff(starts, append=len(texts))
    probing = (entries & _PROBING) != 0
    if not probing.any():
        return Runs(texts, sizes, sizes)
    leading = np.add.reduceat(~probing, starts, dtype=np.intp)
    return Runs(texts, sizes, leading).only(leading > 0)


def _by_rarity(sets: Sets, texts: Indices, similarity: float) -> Words:
    """Entries of texts, their n-grams ordered by how many of these texts have them; rare ones first.

    Of two similar sets the smaller one has one of the n-grams that they share in an even shorter prefix, since they
    share more of its n-grams; beyond that prefix an entry has a bit that says so.
    """
    sizes = sets.sizes[texts]
    hashes = sets.hashes.take(ragged(sets.starts[texts], sizes))
    ordered = np.sort(hashes)
    starts = first_of_each(ordered)
    counts = np.diff(starts, append=len(ordered))
    # By powers of two; buckets of n-grams share the highest class among them. Any order is right if all texts have it.
    often = counts > 1
    classes = np.zeros(1 << 22, np.uint8)
    np.maximum.at(classes, ordered[starts[often]] >> np.uint32(10), np.log2(counts[often]).astype(np.uint8))
    ranked = classes[hashes >> np.uint32(10)].astype(np.uint32) << np.uint32(27) | hashes >> np.uint32(5)
    packed: Words = np.repeat(np.arange(len(texts), dtype=np.uint64) << _HALF, sizes) | ranked
    packed.sort()
    prefix, leading = sets.prefixes[texts], prefixes(sizes, 2 * similarity / (1 + similarity) - 1e-9)
    packed = packed.take(ragged(np.cumsum(sizes) - sizes, prefix)) << _HALF
    packed |= np.repeat(texts, prefix).astype(np.uint64)
    packed[ragged(np.zeros_like(prefix), prefix) >= np.repeat(leading, prefix)] |= _PROBING
    return packed


def _pairs(ones: Indices, others: Indices) -> Words:
    packed: Words = np.minimum(ones, others).astype(np.uint64) << _HALF | np.maximum(ones, others).astype(np.uint64)
    return packed


def _differing(ones: Sequence[Words], others: Sequence[Words]) -> npt.NDArray[np.unsignedinteger[Any]]:
    """In how many bits sketches differ, given word by word."""
    counts: npt.NDArray[np.unsignedinteger[Any]] = np.bitwise_count(ones[0] ^ others[0])
    if len(ones) > 1:
        counts = counts.astype(np.uint16)
        for one, other in zip(ones[1:], others[1:], strict=True):
            counts += np.bitwise_count(one ^ other)
    return counts


def _wide_enough(sets: Sets) -> tuple[Words, ...]:
    """Sketches with about two buckets for each n-gram of a text; where texts are short, those that are there."""
    typical = np.dot(sets.sizes, sets.sizes) / max(1, sets.sizes.sum())
    words = 1
    while 32 * words < typical and words < _WIDEST:
        words *= 2
    return sets.sketches[:1] if words == 1 else tuple(sketches(sets.hashes, sets.sizes, words))
