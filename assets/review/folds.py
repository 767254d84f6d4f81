"""Who learns from whom: folds, and a sample to learn from. Both depend on the texts alone, not on their order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]
Hashes = npt.NDArray[np.uint64]

FOLDS = 5
AT_LEAST = 100
"""Rows of each label that a sample has, where there are as many."""


def hashes_of(texts: Iterable[str]) -> Hashes:
    """A number for each text, by which rows are put in an order that has nothing to do with how they came."""
    digests = b"".join(hashlib.sha256(text.encode()).digest()[:8] for text in texts)
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def folds_of(hashes: Hashes, labels: Indices, groups: Indices) -> Indices:
    """Give each row one of the folds; a group is in one, and the groups of each label are spread evenly.

    Args:
        hashes: of the rows' texts.
        labels: of the rows.
        groups: of near-duplicates, numbers from 0 on, each with a row.
    """
    by_hash = np.argsort(hashes, kind="stable")
    # A group stands for its row of the lowest hash.
    _, first = np.unique(groups[by_hash], return_index=True)
    first = by_hash[first]
    fold = np.empty(len(first), np.intp)
    fold[np.lexsort((hashes[first], labels[first]))] = np.arange(len(first)) % FOLDS
    return fold[groups]


def sample_of(hashes: Hashes, labels: Indices, *, at_most: int) -> Indices:
    """Choose rows to learn from, of each label its share, but not too few of a rare one.

    Args:
        hashes: of the rows' texts.
        labels: of the rows.
        at_most: rows; rare labels and rounding may add to it.

    Returns:
        The rows, ascending.
    """
    if len(labels) <= at_most:
        return np.arange(len(labels))
    counts = np.bincount(labels)
    quota = np.maximum(np.ceil(at_most * counts / len(labels)), AT_LEAST)
    order = np.lexsort((hashes, labels))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < quota[labels[order]]])
