"""A part of the step `splits`: where the texts of one shard stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from assets.splits import rule
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
    at = rule.positions(salt, texts.combine_chunks())
    write_table(build.content / "positions.feather", pa.table({"at": at}))
    return {"rows": len(at)}
