"""Cleaned rows for the tests of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

CleanedRow = tuple[str, str, str, str]
"""row_id, text, label, group"""


@pytest.fixture
def cleaned(tmp_path: Path) -> Callable[..., Path]:
    """Write the content of the step `cleaned`; rows get a further column `source`."""
    made = 0

    def write(rows: Sequence[CleanedRow], withheld: Sequence[tuple[str, str, str]] = ()) -> Path:
        nonlocal made
        made += 1
        folder = tmp_path / f"cleaned-{made}"
        folder.mkdir()
        row_ids, texts, labels, groups = ([row[at] for row in rows] for at in range(4))
        columns = {"row_id": row_ids, "text": texts, "label": labels, "count": [1] * len(rows), "group": groups}
        # A further value may be missing.
        columns["source"] = [f"from {row_id}" if row_id[-1] in "13579" else None for row_id in row_ids]
        pq.write_table(pa.table(columns), folder / "rows.parquet")
        parts = {name: [row[at] for row in withheld] for at, name in enumerate(("row_id", "text", "group"))}
        pq.write_table(
            pa.table({name: pa.array(values, pa.string()) for name, values in parts.items()}),
            folder / "withheld.parquet",
        )
        return folder

    return write
