"""Reading what the step `cleaned` made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assets.raw.rows import shard_ids
from assets.store.links import linked, read_links
from assets.store.tables import as_ids, distinct, from_hexadecimal, hexadecimal, order_of, read_tables

MASKED = "masked"
"""Link to the shards without personal data, where that is masked."""


def read_rows(cleaned: Path) -> pa.Table:
    """Kept rows in the order of row_id: row_id (hexadecimal), text (normalised), label, count, group, further columns.

    `count` is how many rows it stands for, itself among them; `group` the lowest row_id in its group.

    Args:
        cleaned: content of the step.
    """
    table = _layout(cleaned)
    shards = linked(cleaned, "shards")
    rows, row_ids = _in_order(shards, table["kept"].to_numpy())
    further = read_tables(shards, "rows.feather").drop_columns(["text"]).take(rows)
    return pa.table(
        {
            "row_id": row_ids,
            "text": _texts(cleaned, rows),
            "label": further["label"],
            "count": table["count"].take(rows).cast(pa.int64()),
            "group": _groups(shards, table, rows),
            **{name: further[name] for name in further.column_names if name != "label"},
        }
    )


def read_quarantine(cleaned: Path) -> pa.Table:
    """Rows in quarantine: row_id, text (as it came, but masked), label, expectation, detail; in the order of row_id.

    Args:
        cleaned: content of the step.
    """
    found = pq.read_table(cleaned / "quarantine.parquet")
    if "text" in found.column_names:
        return found  # of an earlier version, which copied texts
    ids = shard_ids(linked(cleaned, "shards"))
    firsts, which = distinct(np.concatenate([ids, from_hexadecimal(found["row_id"].to_pylist())]))
    name = MASKED if MASKED in read_links(cleaned) else "shards"
    texts = read_tables(linked(cleaned, name), "rows.feather", ["text"])["text"]
    return found.add_column(1, "text", texts.take(firsts[which[len(ids) :]]))


def read_withheld(cleaned: Path) -> pa.Table:
    """Texts that are in quarantine and hold kept ones together: row_id (the lowest), text (normalised), group.

    Such a text may have trained an earlier model: it still counts when sides are given to groups.

    Args:
        cleaned: content of the step.
    """
    table = _layout(cleaned)
    shards = linked(cleaned, "shards")
    rows, row_ids = _in_order(shards, (table["group"].to_numpy() >= 0) & ~table["kept"].to_numpy())
    return pa.table({"row_id": row_ids, "text": _texts(cleaned, rows), "group": _groups(shards, table, rows)})


def _layout(cleaned: Path) -> pa.Table:
    return read_tables([cleaned], "layout/rows.feather")


def _in_order(shards: Sequence[Path], where: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], pa.Array]:
    """Some rows of the shards in the order of their identifiers, and these."""
    rows = np.flatnonzero(where)
    ids = as_ids(read_tables(shards, "ids.feather")["row_id"])[rows]
    order = order_of(ids)
    return rows[order], hexadecimal(ids[order])


def _texts(cleaned: Path, rows: npt.NDArray[np.intp]) -> pa.ChunkedArray:
    return read_tables(linked(cleaned, "prepared"), "texts.feather")["text"].take(rows)


def _groups(shards: Sequence[Path], table: pa.Table, rows: npt.NDArray[np.intp]) -> pa.Array:
    ids = as_ids(read_tables(shards, "ids.feather")["row_id"])
    return hexadecimal(ids[table["group"].to_numpy()[rows]])
