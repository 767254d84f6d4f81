from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pytest

from assets.store.tables import Ids
from assets.validated.engine import gxe
from assets.validated.frame import Rows, columns_seen, named

NAMES = columns_seen(["from"])


def rows(*records: tuple[str | None, str | None, str | None]) -> Rows:
    columns = zip(*records, strict=True) if records else [()] * 3
    table = {name: pa.array(each, pa.string()) for name, each in zip(["text", "label", "from"], columns, strict=True)}
    descending = np.arange(len(records), 0, -1, dtype=np.uint64)
    ids: Ids = np.stack([np.zeros_like(descending), descending], axis=1)
    return Rows(ids, pa.table(table), NAMES)


def test_null_stays_none_and_other_values_are_texts() -> None:
    frame = rows((" a ", "x", None), (None, None, "q")).frame(NAMES)
    assert frame.columns.tolist() == ["row_id", "text", "label", "from", "text_stripped"]
    assert set(frame.dtypes) == {np.dtype(object)}
    assert frame.to_numpy().tolist() == [
        ["0" * 31 + "2", " a ", "x", None, "a"],
        ["0" * 31 + "1", None, None, "q", None],
    ]


def test_a_column_that_is_not_wanted_is_there_without_values() -> None:
    frame = rows(("a", "x", "p"), ("b", "y", "q")).frame({"label"})
    assert frame.columns.tolist() == NAMES
    assert frame["label"].tolist() == ["x", "y"]
    assert frame.drop(columns="label").isna().all(axis=None)
    assert rows().frame({"text", "text_stripped"}).shape == (0, 5)


def test_some_rows_come_in_the_order_that_is_asked_for() -> None:
    some = rows(("a", "x", "p"), ("b", "y", "q"), ("c", "z", "r")).some(np.array([2, 0]), ["text"])
    assert some.table.to_pydict() == {"text": ["c", "a"]}
    assert some.ids[:, 1].tolist() == [1, 3]
    assert some.by_id(np.array([1, 0])).tolist() == [0, 1]


def test_rows_whose_values_were_not_read_cannot_be_had() -> None:
    every = rows(("a", "x", "p"), ("b", "y", "q"), ("c", "z", "r"))
    known = Rows(every.ids[[0, 2]], every.table.take([0, 2]), NAMES, np.array([0, 2]))
    for places in ([2, 0], [2], []):
        there, known_there = (which.some(np.array(places, np.intp), NAMES) for which in (every, known))
        assert known_there.table == there.table
        assert known_there.ids.tolist() == there.ids.tolist()
        assert known.by_id(np.array(places, np.intp)).tolist() == every.by_id(np.array(places, np.intp)).tolist()
    with pytest.raises(AssertionError, match="not read"):
        known.some(np.array([0, 1]), NAMES)


def test_white_space_is_what_python_strips() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    texts = [f"{character}.{character}" for character in characters]
    table = Rows(np.zeros((len(texts), 2), np.uint64), pa.table({"text": texts}), NAMES)
    assert table.column("text_stripped").to_pylist() == [text.strip() for text in texts]


def test_columns_are_found_wherever_arguments_name_them() -> None:
    pair = gxe.ExpectColumnPairValuesToBeEqual(column_A="text", column_B="from")
    several = gxe.ExpectCompoundColumnsToBeUnique(column_list=["label", "from"])
    assert named([pair], NAMES) == {"text", "from"}
    assert named([several], NAMES) == {"label", "from"}
    assert named([pair, several], NAMES) == {"text", "label", "from"}
    assert named([gxe.ExpectColumnValuesToNotBeNull(column="text_stripped")], NAMES) == {"text", "text_stripped"}
    assert named([gxe.ExpectTableRowCountToEqual(value=1)], NAMES) == set()
