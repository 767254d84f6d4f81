"""Groups of near-duplicates among the texts of all shards; those of the large ones are kept.

Whether two texts are near-duplicates depends on them alone, and every text counts, also of rows in quarantine and of
rows that are gone. So the groups are a function of the shards. Those of the large shards are a part, found again while
these are the same; the texts of small ones are held against them. So a new file costs what is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.cleaned.near_duplicates import ENTRIES_AT_ONCE, Sets, group
from assets.cleaned.ngrams import Indices, prefixes
from assets.store.tables import among, as_ids, distinct, read_tables, write_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from assets.store.step import Build, Measurements, Part


class Groups(NamedTuple):
    """Groups of the texts of rows.

    Attributes:
        lowest: for each row the lowest one whose text is in the group of its own.
        first: whether it is the first row with its text.
    """

    lowest: Indices
    first: npt.NDArray[np.bool_]


NOTHING = Groups(np.empty(0, np.intp), np.empty(0, bool))


def groups_of(build: Build, prepared: Sequence[Part], large: int, similarity: float) -> Indices:
    """Find the group of each row's text.

    Args:
        build: of the step.
        prepared: parts made by `assets.cleaned.shard.prepare`.
        large: how many of them, the first ones, are of large shards.
        similarity: least Jaccard similarity of near-duplicates.

    Returns:
        For each row of the shards, in their order, the first one whose text is in the same group.
    """
    assert build.part is not None
    known = NOTHING
    if large:
        inputs = {f"prepared-{at:06}": part.digest for at, part in enumerate(prepared[:large])}
        part = build.part("assets.cleaned.grouping:settle", {"similarity": similarity}, inputs=inputs)
        table = read_tables([part.content], "groups.feather")
        known = Groups(table["lowest"].to_numpy().astype(np.intp), table["first"].to_numpy())
    if large < len(prepared):
        known = grouped([part.content for part in prepared], similarity, known)
    return known.lowest


def in_company(groups: Indices) -> npt.NDArray[np.bool_]:
    """For each row whether its text, or an equal one, may be in one group with another text: see `groups_of`."""
    elsewhere: npt.NDArray[np.bool_] = groups != np.arange(len(groups))
    elsewhere[groups[elsewhere]] = True
    return elsewhere


def settle(build: Build, *, similarity: float) -> Measurements:
    """A part of the step: the groups of the texts of some shards.

    Content:
        groups.feather: `lowest` and `first` of each row, see `Groups`.

    Args:
        build: inputs `prepared-…`, in an order of their own.
        similarity: least Jaccard similarity of near-duplicates.

    Returns:
        rows.
    """
    found = grouped([build.inputs[name] for name in sorted(build.inputs)], similarity, NOTHING)
    table = pa.table({"lowest": found.lowest.astype(np.int32), "first": found.first})
    write_table(build.content / "groups.feather", table, compressed=True)
    return {"rows": len(found.lowest)}


def grouped(prepared: Sequence[Path], similarity: float, known: Groups) -> Groups:
    """Find the groups of the texts of shards.

    Args:
        prepared: the shards; see `assets.cleaned.shard.prepare`.
        similarity: least Jaccard similarity of near-duplicates.
        known: groups of their first rows among each other.
    """
    old = len(known.lowest)
    table = read_tables(prepared, "keys.feather")
    keys, sizes = as_ids(table["key"]), table["size"].to_numpy().astype(np.intp)
    # Of each new text the first row, among those that are known if one of them has it.
    there = np.flatnonzero(known.first & among(keys[:old], keys[old:]))
    at = np.concatenate([there, np.arange(old, len(keys))])
    firsts, which = distinct(keys[at])
    same = at[firsts[which]]
    lowest, first = np.arange(len(keys)), np.zeros(len(keys), bool)
    lowest[:old], first[:old] = known.lowest, known.first
    lowest[at] = lowest[same]
    first[at] = same == at
    sets = Sets(
        hashes=read_tables(prepared, "ngrams.feather")["ngram"].to_numpy(),
        starts=np.cumsum(sizes) - sizes,
        sizes=sizes,
        prefixes=prefixes(sizes, similarity),
        sketches=(table["sketch"].to_numpy(), table["sketch_2"].to_numpy()),
    )
    hashes = read_tables(prepared, "prefixes.feather")["ngram"].to_numpy()
    at, row = _looked_at(hashes, sets.prefixes, first, old)
    entries = hashes.take(at).astype(np.uint64) << np.uint64(32) | row.astype(np.uint64)
    return Groups(group(sets, entries, similarity, lowest), first)


def _looked_at(
    hashes: npt.NDArray[np.uint32], lengths: Indices, first: npt.NDArray[np.bool_], old: int
) -> tuple[Indices, Indices]:
    """Which n-grams of prefixes are looked at: all of new texts, and of known ones those that a new text has too.

    Args:
        hashes: n-grams of the prefixes, row after row.
        lengths: how many each row has.
        first: rows whose texts count.
        old: how many of the rows, the first ones, are known.

    Returns:
        Places among the n-grams, and the row of each.
    """
    ends = np.cumsum(lengths)
    begin = int(ends[old - 1]) if old else 0
    row = np.repeat(np.arange(old, len(lengths)), lengths[old:])
    at = np.flatnonzero(first[row])
    row, at = row[at], at + begin
    if not old:
        return at, row
    wanted = hashes[at]
    first_bits = np.zeros(1 << 22, bool)
    first_bits[wanted >> np.uint32(10)] = True
    # Few are left after this, so only then is it asked whose they are. Some at once: they stay in a processor's cache.
    starts = range(0, begin, ENTRIES_AT_ONCE)
    parts = (hashes[start : min(start + ENTRIES_AT_ONCE, begin)] >> np.uint32(10) for start in starts)
    known = np.flatnonzero(np.concatenate([first_bits.take(some.astype(np.intp)) for some in parts]))
    known = known[np.isin(hashes[known], wanted)]
    of = np.searchsorted(ends, known, side="right")
    counts = first[of]
    return np.concatenate([known[counts], at]), np.concatenate([of[counts], row])
