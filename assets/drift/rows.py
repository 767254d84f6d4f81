"""Which rows are new to a champion, and the rows that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.splits.rows import read_side

COLUMNS = ["row_id", "text", "label", "group"]
SIDES = ("train", "validation", "test")


def new_and_old(splits: Path, champion: Sequence[Path]) -> tuple[pa.Table, pa.Table]:
    """Rows that came in after a champion was made, and those that it was made from.

    A row is new if neither it nor its text is among those that the champion was trained on, chosen by or tested on: a
    corrected label or a further column does not make a text new.

    Args:
        splits: content of the step as it is now.
        champion: content of the splits that the champion was made from, at least one.

    Returns:
        New and old rows, each with row_id, text, label, group (of the splits now, also for old rows as far as they or
        what their group is named by are still there) and side, in the order of row_id.
    """
    now, then = _rows(splits), _merged([_rows(folder) for folder in champion])
    known = pc.or_(
        pc.is_in(now["row_id"], value_set=then["row_id"].combine_chunks()),
        pc.is_in(now["text"], value_set=then["text"].combine_chunks()),
    )
    names = now["row_id"].combine_chunks()

    def group_now(ids: pa.ChunkedArray) -> pa.ChunkedArray:
        return now["group"].take(pc.index_in(ids, value_set=names))

    group = pc.coalesce(group_now(then["row_id"]), group_now(then["group"]), then["group"])
    return now.filter(pc.invert(known)), then.set_column(then.column_names.index("group"), "group", group)


def sampled(rows: pa.Table, most: int) -> pa.Table:
    """One row of each group, the one with the lowest row_id, and of those the `most` lowest: row_id is a hash.

    Near-duplicates are no independent observations: a template that came in a thousand times is one.

    Args:
        rows: in the order of row_id.
        most: most rows that are wanted.
    """
    codes = rows["group"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    return rows.take(np.sort(first)[:most])


def _rows(splits: Path) -> pa.Table:
    found = []
    for side in SIDES:
        rows = read_side(splits, side).select(COLUMNS)
        found.append(rows.append_column("side", pa.repeat(side, len(rows))))
    return pa.concat_tables(found).sort_by("row_id")


def _merged(tables: Sequence[pa.Table]) -> pa.Table:
    """Each row once; one that was on several sides counts where the champion saw most of it: train first."""
    if len(tables) == 1:
        return tables[0]
    every = pa.concat_tables(tables)
    place = pc.index_in(every["side"], value_set=pa.array(SIDES))
    every = every.append_column("place", place).sort_by([("row_id", "ascending"), ("place", "ascending")])
    ids = every["row_id"].combine_chunks()
    first = np.ones(len(ids), dtype=bool)
    first[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    return every.filter(pa.array(first)).drop_columns(["place"])
