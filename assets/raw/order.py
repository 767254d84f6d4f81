"""A part of the step `raw`: the rows of its large shards in the order of their identifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from assets.raw.rows import ORDERED, shard_ids
from assets.store.tables import order_of, write_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets.store.step import Build, Measurements

SMALL = 32
"""A shard with less than this part of all rows is small; rounded down to a power of two, so that growth seldom makes a
large one small."""


def least_of_large(sizes: Sequence[int]) -> int:
    """How many rows a large shard has at least."""
    return 1 << max(0, (sum(sizes) // SMALL).bit_length() - 1)


def sort(build: Build) -> Measurements:
    """Sort the rows of some shards.

    Content:
        order.feather: for each row, in the order of row_id and equal ones in that of the shards, `row`, its place in
            them, and `row_id` as two numbers, the high half first.

    Args:
        build: inputs `shard-…`, in the order in which rows are counted.

    Returns:
        rows.
    """
    ids = shard_ids([build.inputs[name] for name in sorted(build.inputs)])
    order = order_of(ids)
    numbers = pa.array(ids.take(order, axis=0).reshape(-1))
    found = {"row": order.astype(np.int32), "row_id": pa.FixedSizeListArray.from_arrays(numbers, 2)}
    write_table(build.content / ORDERED, pa.table(found))
    return {"rows": len(ids)}
