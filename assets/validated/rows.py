"""Reading what the step `validated` made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.raw import rows as raw_rows
from assets.store.tables import read_tables


def accepted(validated: Path) -> npt.NDArray[np.bool_]:
    """For each row of the shards, in their order, whether it meets every expectation; repeated ones do not count."""
    found: npt.NDArray[np.bool_] = read_tables([validated], "layout/rows.feather")["accepted"].to_numpy()
    return found


def read_rows(validated: Path) -> pa.Table:
    """Accepted rows as a table: row_id (hexadecimal), text, label, further columns; in the order of row_id.

    Args:
        validated: content of the step.
    """
    # Both steps link the same shards.
    return raw_rows.read_rows(validated, accepted(validated))
