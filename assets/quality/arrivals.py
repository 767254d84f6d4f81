"""Parts of the step `quality`: which rows came in after the champion was made, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.drift.rows import new_and_old
from assets.splits.rows import read_sides
from assets.store.tables import read_tables, write_table

if TYPE_CHECKING:
    import numpy.typing as npt

    from assets.store.step import Build, Measurements

MOST_ROWS = 2000
"""Most rows of a batch that are scored, those with the lowest row_id, a hash: an accuracy is known to ±1 % or so."""
CHAMPION, LATER = "champion_splits_", "later_splits_"
"""Beginnings of names of inputs, followed by their places."""


def arrivals(build: Build, *, batches: int, min_rows: int) -> Measurements:
    """Find the newest batches of rows that a champion was not made from.

    A row belongs to the first splits that have it. Batches with fewer than `min_rows` rows are taken together with the
    next ones until they have enough; the newest rows wait while they are too few.

    Content:
        rows.feather: batch (from 0, the oldest), row_id, text, label; in the order of batches and row_id.

    Args:
        build: inputs `splits`; `champion_splits_0`, … of the champion; `later_splits_0`, … seen since, in their order.
        batches: most batches, the newest ones.
        min_rows: fewest rows of a batch.

    Returns:
        rows: of each batch, also those that are not scored.
        ends: of which of the later splits, and with their number of the ones now, the newest batches and one before
            them end.
    """
    # Numbers and not names give the order.
    champion, later = (
        [build.inputs[f"{name}{at}"] for at in range(sum(each.startswith(name) for each in build.inputs))]
        for name in (CHAMPION, LATER)
    )
    new, _ = new_and_old(build.inputs["splits"], champion)
    first = np.full(len(new), len(later), dtype=np.int64)
    for at in reversed(range(len(later))):
        there = pc.is_in(new["row_id"], value_set=read_sides(later[at])["row_id"].combine_chunks())
        first[there.to_numpy()] = at
    together = gathered(np.bincount(first, minlength=len(later) + 1), min_rows)
    batch = together[first]
    last = int(together.max())
    kept = np.flatnonzero((batch >= 0) & (batch > last - batches))
    kept = kept[np.argsort(batch[kept], kind="stable")]
    # From 0 again, and only so many of each.
    batch = batch[kept] - max(0, last - batches + 1)
    rows = np.bincount(batch, minlength=0)
    place = np.arange(len(batch)) - np.repeat(np.cumsum(rows) - rows, rows)
    scored = place < MOST_ROWS
    table = new.select(["row_id", "text", "label"]).take(kept[scored])
    write_table(build.content / "rows.feather", table.add_column(0, "batch", pa.array(batch[scored])), compressed=True)
    is_end = (together >= 0) & (np.append(together[1:], -1) != together)
    return {"rows": rows.tolist(), "ends": np.flatnonzero(is_end)[-batches - 1 :].tolist()}


def gathered(rows: npt.NDArray[np.integer], min_rows: int) -> npt.NDArray[np.int64]:
    """Take batches that are too small together with the next ones.

    Args:
        rows: of each batch, the oldest first.
        min_rows: fewest rows of what is taken together.

    Returns:
        For each batch which one it is part of, from 0; -1 for the newest ones while they are too few.
    """
    found = np.full(len(rows), -1, dtype=np.int64)
    start = number = 0
    for end in range(1, len(rows) + 1):
        if rows[start:end].sum() >= min_rows:
            found[start:end] = number
            start, number = end, number + 1
    return found


def batch(build: Build, *, at: int) -> Measurements:
    """Take one batch, so that it has a digest of its own: what was scored once is found again.

    Content:
        rows.feather: row_id, text, label; in the order of row_id.

    Args:
        build: input `arrivals`.
        at: number of the batch.
    """
    rows = read_tables([build.inputs["arrivals"]], "rows.feather")
    rows = rows.filter(pc.equal(rows["batch"], at)).drop_columns(["batch"])
    write_table(build.content / "rows.feather", rows, compressed=True)
    return {"rows": len(rows)}
