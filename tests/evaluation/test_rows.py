"""What slices are by, read from the content of other steps."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.errors import ConfigurationError
from assets.evaluation.rows import files_of_rows, rows_of_test
from assets.raw.rows import SOURCES
from assets.store.store import Store
from assets.validated.rows import UPHELD
from tests.tiny import make_rows, make_splits


def write(folder: Path, name: str, **columns: list[str]) -> Path:
    folder.mkdir()
    pq.write_table(pa.table({key: pa.array(values, pa.string()) for key, values in columns.items()}), folder / name)
    return folder


def test_a_row_whose_label_a_ruling_changed_lies_where_it_came_from(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw", SOURCES, files=["web/*", "web/*", "mail/*"], row_id=["a", "old", "b"])
    ruled = write(tmp_path / "ruled", UPHELD, row_id=["new", "c"], came_as=["old", "c"], label=["x", "x"])
    rows = pa.chunked_array([["a", "b"], ["c", "new"]])

    assert files_of_rows(raw, ruled, rows) == {
        "web/*": [True, False, False, True],
        "mail/*": [False, True, False, False],
    }
    (tmp_path / "plain").mkdir()
    assert files_of_rows(raw, tmp_path / "plain", rows)["web/*"] == [True, False, False, False]


def test_a_column_that_is_not_there_is_said(store: Store) -> None:
    splits = make_splits(store, make_rows(20, seed=0))

    assert rows_of_test(splits, [{"by": "label"}]).column_names == ["row_id", "text", "label"]
    with pytest.raises(ConfigurationError, match=r"evaluation.slices: the rows have no column day\n  fix: add it to"):
        rows_of_test(splits, [{"by": "column", "column": "day"}])
