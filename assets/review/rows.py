"""Reading what the step `review` made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assets.store.tables import Ids, among, from_hexadecimal

SUSPECTS = "suspects.parquet"
QUARANTINE = "quarantine.parquet"


def read_suspects(review: Path) -> pa.Table:
    """Rows whose label is likely wrong, most doubtful first.

    Columns: row_id (hexadecimal), text (normalised), label, suggested (the label that is expected instead), confidence
    (probability of the label given), suggested_confidence (of that suggested).

    Args:
        review: content of the step.
    """
    return pq.read_table(review / SUSPECTS)


def quarantined(review: Path, ids: Ids) -> npt.NDArray[np.bool_]:
    """Which rows are in quarantine for their label.

    Args:
        review: content of the step.
        ids: of the rows, each once or several times.
    """
    names = pq.read_table(review / QUARANTINE, columns=["row_id"])["row_id"].to_pylist()
    return among(ids, from_hexadecimal(names))
