from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.raw import shard
from assets.raw.shard import row_ids
from assets.store.digests import digest_json
from assets.store.tables import hexadecimal

VALUES = st.none() | st.text(
    st.characters(codec="utf-8") | st.sampled_from('"\\/\b\f\n\r\t\x1f\x7f\u2028\U0001f600'), max_size=5
)


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "BATCH_ROWS", 3)


@pytest.mark.usefixtures("_small_batches")
@settings(deadline=None, derandomize=True, max_examples=300)
@given(rows=st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=8), at=st.integers(0, 3))
def test_a_row_is_named_by_the_json_of_its_values(rows: list[tuple[str | None, ...]], at: int) -> None:
    columns = list(zip(*rows, strict=True)) if rows else [()] * 3
    table = pa.table({str(index): pa.array(column, pa.string()) for index, column in enumerate(columns)})
    assert hexadecimal(row_ids(table.slice(at))).to_pylist() == [digest_json(row)[:32] for row in rows[at:]]


LABELS = st.sampled_from(["ham", "spam", "junk", "", None])


@settings(deadline=None, derandomize=True)
@given(
    labels=st.lists(LABELS, max_size=8),
    renamed=st.dictionaries(LABELS.filter(bool), LABELS.filter(bool)),
    at=st.integers(0, 8),
)
def test_labels_are_renamed_once(labels: list[str | None], renamed: dict[str, str], at: int) -> None:
    column = pa.chunked_array([pa.array(part, pa.string()) for part in (labels[:at], labels[at:])])
    rows, count = shard._renamed(pa.table({"text": column, "label": column, "more": column}), renamed)
    assert rows["label"].to_pylist() == [renamed.get(label, label) if label else label for label in labels]
    assert rows["text"].to_pylist() == rows["more"].to_pylist() == labels
    assert count == sum(label in renamed for label in labels)
