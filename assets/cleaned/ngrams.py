"""Sets of word n-grams as numbers: what can be said of a text before any other is seen."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Hashes = npt.NDArray[np.uint32]
Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.intp]

ROWS_AT_ONCE = 1 << 16
"""Texts that are hashed together: what is made of them on the way stays small."""
_LENGTH_BITS = 3
_BUCKETS_AT_ONCE = 1 << 20


class Ngrams(NamedTuple):
    """Sets of n-grams, one after another.

    Attributes:
        hashes: of each set in ascending order; two n-grams are taken for the same where these are, which happens to
            different ones about once in a billion comparisons.
        sizes: of the sets, at least 1.
    """

    hashes: Hashes
    sizes: Indices


def ngrams(texts: pa.Array, n: int) -> Ngrams:
    """Hash the sets of runs of n words of texts, in lower case; a text of fewer words is one n-gram.

    A hash is the same on every machine. Its highest bits are lower the longer the words are: long n-grams come first,
    because they are rarer.

    Args:
        texts: strings without null, words separated by single spaces.
        n: words in an n-gram.
    """
    found = [_ngrams(texts.slice(start, ROWS_AT_ONCE), n) for start in range(0, len(texts), ROWS_AT_ONCE)]
    if not found:
        return Ngrams(np.empty(0, np.uint32), np.empty(0, np.intp))
    return Ngrams(np.concatenate([each.hashes for each in found]), np.concatenate([each.sizes for each in found]))


def _ngrams(texts: pa.Array, n: int) -> Ngrams:
    split = pc.split_pattern(texts, " ")
    coded = split.flatten().dictionary_encode()
    # Lower case does not depend on what stands beyond white space, so that words can be taken alone.
    vocabulary = [word.lower() for word in coded.dictionary.to_pylist()]
    digests = b"".join([hashlib.blake2b(word.encode(), digest_size=8).digest() for word in vocabulary])
    codes = coded.indices.to_numpy()
    words = np.frombuffer(digests, "<u8").astype(np.uint64)[codes]
    letters = np.array([len(word) for word in vocabulary], np.int32)[codes]
    counts = pc.list_value_length(split).to_numpy().astype(np.intp)
    lengths = np.minimum(counts, n)
    runs = counts - lengths + 1
    first = ragged(np.cumsum(counts) - counts, runs)
    hashes, long = _mixed(words[first]), letters[first]
    for further in range(1, n):
        reaches = np.repeat(lengths > further, runs)
        word = np.minimum(first + further, len(words) - 1)
        hashes = np.where(reaches, _mixed(hashes * np.uint64(0x9E3779B97F4A7C15) + words[word]), hashes)
        long = np.where(reaches, long + letters[word], long)
    shortness = (1 << _LENGTH_BITS) - 1
    shortness = shortness - np.minimum(long // np.repeat(lengths, runs), shortness)
    ranked = shortness.astype(np.uint64) << np.uint64(32 - _LENGTH_BITS) | hashes >> np.uint64(32 + _LENGTH_BITS)
    packed = np.repeat(np.arange(len(counts), dtype=np.uint64) << np.uint64(32), runs) | ranked
    # Nearly in order: each text's own lie together. Such runs are what timsort is quick at, four times as it is here.
    packed.sort(kind="stable")
    packed = packed[first_of_each(packed)]
    sizes = np.bincount((packed >> np.uint64(32)).astype(np.intp), minlength=len(counts))
    return Ngrams(packed.astype(np.uint32), sizes)


def _mixed(numbers: Words) -> Words:
    """Spread numbers over all 64 bits: a round of the finaliser of MurmurHash3."""
    numbers = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    return numbers ^ (numbers >> np.uint64(33))


def ragged(starts: Indices, sizes: Indices) -> Indices:
    """Indices of runs, one run after another.

    Args:
        starts: first index of each run.
        sizes: how many indices each has.
    """
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + sizes, sizes)


def first_of_each(values: npt.NDArray[Any]) -> Indices:
    """Where each value begins; equal ones lie together."""
    new = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return np.flatnonzero(new)


def prefixes(sizes: Indices, similarity: float) -> Indices:
    """How many n-grams of each set must be looked at to find every similar one.

    Two sets that share k n-grams or more have one in common among the first of both, in whatever order they are
    written as long as it is the same for all, if of each all but the last k - 1 are taken (Bayardo, Ma and Srikant,
    "Scaling up all pairs similarity search", 2007).

    Args:
        sizes: of the sets.
        similarity: least Jaccard similarity, above 0 and at most 1.
    """
    size = np.arange(1, int(sizes.max(initial=0)) + 1)
    # Fewest that a set of this size shares with any similar one: the least k with k / size >= similarity.
    least = np.ceil(similarity * size).astype(np.intp)
    # The product is rounded (0.55 * 100 is above 55), the quotient that decides is not.
    least -= (least - 1) / size >= similarity
    lengths: Indices = (size - least + 1)[sizes - 1]
    return lengths


def sketches(hashes: Hashes, sizes: Indices, words: int = 1, *, skip: int = 0) -> Words:
    """A few bits for each set, of which two sets differ in no more than they differ in n-grams.

    A bit is the parity of a bucket that n-grams fall in (Sandes, Teodoro and Melo, "Bitmap filter: speeding up exact
    set similarity joins with bitwise operations", 2020).

    Args:
        hashes: n-grams of the sets.
        sizes: of the sets.
        words: of 64 bits each in a sketch, a power of two.
        skip: lowest bits of the hashes to leave out, so that another sketch of the same sets tells something else.

    Returns:
        Shape [words, sets].
    """
    bits = 64 * words
    buckets = (hashes >> np.uint32(skip)) % np.uint32(bits)
    ends = np.cumsum(sizes)
    found = np.empty((words, len(sizes)), np.uint64)
    at_once = max(1, _BUCKETS_AT_ONCE // bits)
    for start in range(0, len(sizes), at_once):
        some = sizes[start : start + at_once]
        end = ends[start + len(some) - 1]
        of_set = np.repeat(np.arange(0, bits * len(some), bits), some)
        counts = np.bincount(of_set + buckets[end - len(of_set) : end], minlength=bits * len(some))
        packed = np.packbits((counts & 1).astype(bool), bitorder="little").view("<u8")
        found[:, start : start + len(some)] = packed.reshape(len(some), words).T
    return found
