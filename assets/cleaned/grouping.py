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

from assets.cleaned.near_duplicates import Sets, group
from assets.cleaned.ngrams import Hashes, Indices, Words, prefixes, ragged
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
        ngrams: those in the prefixes of first rows, ascending.
        rows: the row of each.
    """

    lowest: Indices
    first: npt.NDArray[np.bool_]
    ngrams: Hashes
    rows: npt.NDArray[np.int32]


NOTHING = Groups(np.empty(0, np.intp), np.empty(0, bool), np.empty(0, np.uint32), np.empty(0, np.int32))


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
        table, prefixes_of = (read_tables([part.content], f"{name}.feather") for name in ("groups", "prefixes"))
        known = Groups(
            table["lowest"].to_numpy().astype(np.intp),
            table["first"].to_numpy(),
            prefixes_of["ngram"].to_numpy(),
            prefixes_of["row"].to_numpy(),
        )
    if large < len(prepared):
        known = grouped([part.content for part in prepared], large, similarity, known)
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
        prefixes.feather: `ngram` and `row`, see there.

    Args:
        build: inputs `prepared-…`, in an order of their own.
        similarity: least Jaccard similarity of near-duplicates.

    Returns:
        rows.
    """
    found = grouped([build.inputs[name] for name in sorted(build.inputs)], 0, similarity, NOTHING)
    table = pa.table({"lowest": found.lowest.astype(np.int32), "first": found.first})
    write_table(build.content / "groups.feather", table, compressed=True)
    write_table(build.content / "prefixes.feather", pa.table({"ngram": found.ngrams, "row": found.rows}))
    return {"rows": len(found.lowest)}


def grouped(prepared: Sequence[Path], large: int, similarity: float, known: Groups) -> Groups:
    """Find the groups of the texts of shards.

    Args:
        prepared: the shards; see `assets.cleaned.shard.prepare`.
        large: of how many of them, the first ones, the groups are known.
        similarity: least Jaccard similarity of near-duplicates.
        known: these groups.

    Returns:
        The groups; of n-grams those that were looked at: all, where nothing was known.
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
    row = np.repeat(np.arange(old, len(keys), dtype=np.int32), sets.prefixes[old:])
    entries = _entries(read_tables(prepared[large:], "prefixes.feather")["ngram"].to_numpy(), row, first, known)
    del row
    lowest = group(sets, entries, similarity, lowest)
    # They were sorted there.
    return Groups(lowest, first, (entries >> np.uint64(32)).astype(np.uint32), entries.astype(np.int32))


def _entries(ngrams: Hashes, row: npt.NDArray[np.int32], first: npt.NDArray[np.bool_], known: Groups) -> Words:
    """What to look at, as `group` wants it: all n-grams of new texts, and of known ones those that a new text has too.

    Args:
        ngrams: of the prefixes of new rows.
        row: the row of each.
        first: rows whose texts count.
        known: what is known of other rows.
    """
    counts = first[row]
    ngrams, row = ngrams[counts], row[counts]
    if len(known.ngrams):
        wanted = np.unique(ngrams)
        begin, end = (np.searchsorted(known.ngrams, wanted, side) for side in ("left", "right"))
        again = ragged(begin, end - begin)
        ngrams, row = np.concatenate([known.ngrams[again], ngrams]), np.concatenate([known.rows[again], row])
    entries: Words = ngrams.astype(np.uint64) << np.uint64(32)
    entries |= row.astype(np.uint64)
    return entries
