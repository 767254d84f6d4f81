"""Reading what the step `validated` made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.raw import rows as raw_rows
from assets.store.tables import read_tables

UPHELD = "upheld.parquet"


def accepted(validated: Path) -> npt.NDArray[np.bool_]:
    """For each row of the shards, in their order, whether it meets every expectation; repeated ones do not count."""
    found: npt.NDArray[np.bool_] = read_tables([validated], "layout/rows.feather")["accepted"].to_numpy()
    return found


def read_rows(validated: Path) -> pa.Table:
    """Accepted rows as a table: row_id (hexadecimal), text, label, further columns; in the order of row_id.

    Args:
        validated: content of the step.
    """
    # Its shards are those of `raw`, and that of the rows that are relabelled.
    return raw_rows.read_rows(validated, accepted(validated))


def read_upheld(validated: Path) -> pa.Table:
    """Rows whose label people confirmed or gave: row_id, and `came_as` and `label`, what they came with.

    Where a ruling gave the label, `came_as` is another row_id. Nobody needs to doubt these labels again.

    Args:
        validated: content of the step.
    """
    path = validated / UPHELD
    if path.is_file():
        return pq.read_table(path)
    return pa.table({name: pa.array([], pa.string()) for name in ("row_id", "came_as", "label")})


def origins(validated: Path, raw: Path, trace: Path) -> pa.Table:
    """Where everything came from, also rows that were relabelled: row_id, file, line; in this order.

    Args:
        validated: content of the step.
        raw: content of the step `raw`.
        trace: of the step `raw`.
    """
    came = raw_rows.origins(raw, trace)
    changed = read_upheld(validated).filter(pc.field("row_id") != pc.field("came_as")).select(["row_id", "came_as"])
    if not len(changed):
        return came
    found = changed.join(came, "came_as", "row_id", join_type="inner").select(came.column_names)
    order = [(name, "ascending") for name in came.column_names]
    return pa.concat_tables([came, found]).sort_by(order)
