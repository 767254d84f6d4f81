"""Parts of the step `splits`: where the texts of one shard stand, or when its rows are from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from assets.splits.by_time import read_times
from assets.splits.rule import position
from assets.store.tables import read_tables, write_table

if TYPE_CHECKING:
    from assets.store.step import Build, Measurements


def positions(build: Build, *, salt: str) -> Measurements:
    """Find the position of every text.

    Content:
        positions.feather: `at`, in [0, 1), of each row.

    Args:
        build: input `prepared`, a shard of the step `cleaned`.
        salt: changes which texts go where.

    Returns:
        rows.
    """
    texts = read_tables([build.inputs["prepared"]], "texts.feather", ["text"])["text"]
    at = np.fromiter((position(salt, text) for chunk in texts.chunks for text in chunk.to_pylist()), float, len(texts))
    write_table(build.content / "positions.feather", pa.table({"at": at}))
    return {"rows": len(at)}


def times(build: Build, *, column: str) -> Measurements:
    """Read the time of every row.

    Content:
        times.feather: `time` of each row, see `assets.splits.by_time.Times`.

    Args:
        build: input `shard`, a shard of the step `raw`.
        column: further column that holds times in ISO 8601.

    Returns:
        rows.
    """
    values = read_tables([build.inputs["shard"]], "rows.feather", [column])[column].to_pylist()
    write_table(build.content / "times.feather", pa.table({"time": read_times(values)}))
    return {"rows": len(values)}
