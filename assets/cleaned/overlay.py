"""What becomes of each row, seen by its key and label alone.

Rows are named by their index in the order of `row_id`; a text is named by the lowest row that has it, or by the lowest
of the frozen test set where such rows have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assets.cleaned.ngrams import Indices
from assets.store.tables import Ids, maybe_repeated, order_of

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]
Decide = Callable[[Sequence[int], Sequence[int]], tuple[int | None, str]]
"""From the rows that have one text, and their labels, to the label that stays, or None, and why the others do not."""


class Equal(NamedTuple):
    """Rows whose text occurs more than once, those with the same text together, the one that names it first.

    Attributes:
        rows: the rows.
        starts: where each text begins.
        sizes: how many rows it has.
        conflicting: whether these have different labels.
    """

    rows: Indices
    starts: Indices
    sizes: Indices
    conflicting: Mask


class Overlay(NamedTuple):
    """What becomes of each row.

    Attributes:
        into: for each row the first one of the same text and label, which stays for it, or -1 in quarantine.
        texts: every text.
        kept: for each text the row that stays, or -1.
        conflicting: row that goes to quarantine → why, in words; in ascending order.
    """

    into: Indices
    texts: Indices
    kept: Indices
    conflicting: dict[int, str]

    def counts(self) -> npt.NDArray[np.int32]:
        """How many rows each row stands for, itself among them; 0 where it does not stay."""
        return np.bincount(self.into[self.into >= 0], minlength=len(self.into)).astype(np.int32)


def find_equal(keys: Ids, labels: Labels, frozen: Mask | None = None) -> Equal:
    """Find the rows whose text occurs more than once.

    Args:
        keys: of the text of each row, in the order of `row_id`.
        labels: of each row.
        frozen: whether each row is of the frozen test set, or None without one; of equal rows such a one stays.
    """
    some = maybe_repeated(keys)
    if frozen is not None:
        some = some[np.argsort(~frozen[some], kind="stable")]
    order = some[order_of(keys.take(some, axis=0))]
    high, low = (keys[:, half].take(order) for half in range(2))
    same = np.zeros(len(order) + 1, bool)
    same[1:-1] = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
    repeated = same[1:] | same[:-1]
    rows = order[repeated]
    starts = np.flatnonzero(~same[:-1][repeated])
    if not len(starts):
        return Equal(rows, starts, starts, starts.astype(bool))
    label = labels[rows]
    conflicting = np.minimum.reduceat(label, starts) != np.maximum.reduceat(label, starts)
    return Equal(rows, starts, np.diff(starts, append=len(rows)), conflicting)


def resolve(equal: Equal, labels: Labels, decide: Decide) -> Overlay:
    """Merge rows with equal texts and labels, and decide between different labels.

    Args:
        equal: rows whose text occurs more than once.
        labels: of each row.
        decide: asked for each text with different labels.
    """
    firsts = equal.rows[equal.starts]
    into = np.arange(len(labels))
    into[equal.rows] = np.repeat(firsts, equal.sizes)
    texts = np.flatnonzero(into == np.arange(len(labels)))
    contested = equal.rows[np.repeat(equal.conflicting, equal.sizes)]
    rows, codes = contested.tolist(), labels[contested].tolist()
    settled: list[int] = []
    stays: list[int] = []
    conflicting: dict[int, str] = {}
    for start, end in pairwise([0, *np.cumsum(equal.sizes[equal.conflicting]).tolist()]):
        some = list(zip(rows[start:end], codes[start:end], strict=True))
        label, why = decide(rows[start:end], codes[start:end])
        stays.append(next((row for row, code in some if code == label), -1))
        settled += [stays[-1] if code == label else -1 for _, code in some]
        conflicting |= {row: why for row, code in some if code != label}
    into[contested] = settled
    kept = np.arange(len(labels))
    kept[firsts[equal.conflicting]] = stays
    return Overlay(into, texts, kept[texts], dict(sorted(conflicting.items())))


def name_groups(overlay: Overlay, together: Indices, groups: Indices, others: Indices) -> tuple[Indices, Indices]:
    """Name the group of every row that has one after the lowest row that stays in it.

    Texts of which no row stays, or none was accepted, count as members, so that a conflict that turns up later, a row
    that is ruled out or one that is taken away does not take a group apart; groups of such texts alone have no name.

    Args:
        overlay: what becomes of each row.
        together: places in `overlay.texts` of those that may be in one group with another text; any other is a group
            of its own.
        groups: group of each of them, a number from 0.
        others: group of each text that no accepted row has.

    Returns:
        For each row that stays, and each text of which none does, that row, or -1 where there is none; and for each of
        the others that row, or -1.
    """
    nobody = len(overlay.into)
    name = np.full(max(groups.max(initial=-1), others.max(initial=-1)) + 1, nobody)
    kept = overlay.kept[together]
    stays = kept >= 0
    np.minimum.at(name, groups[stays], kept[stays])
    name[name == nobody] = -1
    found = np.full(nobody, -1)
    alone = overlay.kept[overlay.kept >= 0]
    found[alone] = alone
    found[np.where(stays, kept, overlay.texts[together])] = name[groups]
    return found, name[others]
