from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assets.cleaned.rows import read_quarantine
from tests.cleaned.conftest import Clean


def test_texts_in_quarantine_are_read_from_the_shards_as_they_came(clean_rows: Clean) -> None:
    found = clean_rows([[(3, " a  b", "ham"), (1, "c", "ham")], [(2, "a b", "spam")]])
    assert [(row["row_id"], row["text"], row["label"]) for row in found.quarantine] == [
        (2, "a b", "spam"),
        (3, " a  b", "ham"),
    ]
    assert "text" not in pq.read_schema(found.folder / "quarantine.parquet").names


def test_a_quarantine_of_an_earlier_version_has_its_texts(publish: Callable[[Path], Path], tmp_path: Path) -> None:
    columns = {name: [f"the {name}"] for name in ("row_id", "text", "label", "expectation", "detail")}
    folder = tmp_path / "content"
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "quarantine.parquet")
    assert read_quarantine(publish(folder)).to_pydict() == columns
