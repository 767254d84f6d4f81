from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import feather

from assets.store.links import linked
from assets.store.step import Build
from assets.store.store import Store
from assets.validated.shard import judge
from tests.validated.conftest import Row, write_raw

NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "text"}}
IN_SET = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "from", "value_set": ["p"]}}
ROW_ID = {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "row_id", "regex": "^[0-9a-f]{32}$"}}


def verdicts(make_build: Callable[..., Build], store: Store, rows: list[Row], *given: dict[str, Any]) -> pa.Table:
    (shard,) = linked(write_raw(make_build, store, [rows], [], ["from"]), "shards")
    build = make_build(inputs={"shard": shard})
    assert judge(build, expectations=given, derived=[]) == {"rows": len(rows)}
    found = feather.read_table(build.content / "verdicts.feather")
    failing = feather.read_table(build.content / "failing.feather")
    fail = set(found.filter(found["failed"])["row"].to_pylist())
    given_rows = feather.read_table(shard / "rows.feather").to_pylist()
    assert failing.to_pylist() == [row for at, row in enumerate(given_rows) if at in fail]
    return found


def test_rows_that_fail_and_rows_without_a_value_are_told(make_build: Callable[..., Build], store: Store) -> None:
    rows: list[Row] = [("a", "x", "q"), (None, "x", None), ("b", "x", "p"), (None, "y", "q")]
    found = verdicts(make_build, store, rows, IN_SET, NOT_NULL, ROW_ID)
    assert found.schema == pa.schema([("row", pa.int32()), ("expectation", pa.int32()), ("failed", pa.bool_())])
    assert [tuple(line.values()) for line in found.to_pylist()] == [
        (0, 0, True),
        (1, 0, False),
        (1, 1, True),
        (3, 0, True),
        (3, 1, True),
    ]


def test_no_rows(make_build: Callable[..., Build], store: Store) -> None:
    assert verdicts(make_build, store, [], IN_SET, NOT_NULL).num_rows == 0
