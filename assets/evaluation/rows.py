"""Reading what the step `evaluation` is made from, and what slices are by: from content alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.errors import ConfigurationError
from assets.raw.rows import read_sources
from assets.splits.rows import read_side
from assets.validated.rows import read_upheld


def rows_of_test(splits: Path, slices: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of the test side with what slices are by: row_id, text, label, and the columns that are asked for.

    Args:
        splits: content of the step.
        slices: as the configuration declares them.

    Raises:
        ConfigurationError: a column is not there.
    """
    rows = read_side(splits, "test")
    columns = list(dict.fromkeys(each["column"] for each in slices if "column" in each))
    missing = [column for column in columns if column not in rows.column_names]
    if missing:
        raise ConfigurationError(
            f"the rows have no column {', '.join(missing)}",
            where="evaluation.slices",
            fix="add it to source.columns.keep",
        )
    return rows.select(["row_id", "text", "label", *columns])


def files_of_rows(raw: Path, validated: Path, row_ids: pa.ChunkedArray) -> dict[str, list[bool]]:
    """For each pattern of files which rows lie in files of it.

    A row whose label a ruling changed has another identifier than the row that it was.

    Args:
        raw: content of the step, which says it of the rows that came.
        validated: content of the step.
        row_ids: of the rows, hexadecimal.
    """
    sources, upheld = read_sources(raw), read_upheld(validated)
    found = {}
    for pattern in sources["files"].unique().to_pylist():
        there = sources.filter(pc.field("files") == pattern)["row_id"].combine_chunks()
        became = upheld["row_id"].filter(pc.is_in(upheld["came_as"], value_set=there))
        inside = pc.or_(
            pc.is_in(row_ids, value_set=there), pc.is_in(row_ids, value_set=pa.chunked_array(became).combine_chunks())
        )
        found[pattern] = inside.to_pylist()
    return found
