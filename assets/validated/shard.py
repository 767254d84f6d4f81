"""A part of the step `validated`: what the expectations say of each row of one shard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assets.store.tables import as_ids, read_tables, write_table
from assets.validated.engine import UnfitError, Verdict, judge_rows, known_expectations
from assets.validated.frame import Rows, columns_seen, named
from assets.validated.sure import surely_meets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets.store.step import Build, Measurements


def judge(build: Build, *, expectations: Sequence[dict[str, Any]], derived: Sequence[str]) -> Measurements:
    """Hold expectations against every row of a shard, also those that are repeated elsewhere.

    Content:
        verdicts.feather: `row`, `expectation` (its place in the argument), `failed`: for each row that an expectation
            fails (true) or passes over, since there is no value (false); in the order of row and expectation.
        failing.feather: the rows that fail any of them, with all columns.

    Args:
        build: input `shard`, of the step `raw`.
        expectations: `type` and `kwargs` of those that judge each row by itself.
        derived: columns of `assets.validated.language` that they see.

    Returns:
        rows.

    Raises:
        UnfitError: names every expectation that cannot be held against these columns.
    """
    known = known_expectations()
    made = [known[expectation["type"]](**expectation["kwargs"]) for expectation in expectations]
    shard = [build.inputs["shard"]]
    ids, table = as_ids(read_tables(shard, "ids.feather")["row_id"]), read_tables(shard, "rows.feather")
    rows = Rows(ids, table, columns_seen(table.column_names[2:], derived))
    verdicts = _verdicts(rows, made)
    row = np.concatenate([np.empty(0, np.intp), *(places for verdict in verdicts for places in verdict)])
    sizes = [len(places) for verdict in verdicts for places in verdict]
    expectation = np.repeat(np.arange(len(sizes)) // 2, sizes)
    failed = np.repeat(np.arange(len(sizes)) % 2 == 0, sizes)
    order = np.lexsort((expectation, row))
    found = {
        "row": row[order].astype(np.int32),
        "expectation": expectation[order].astype(np.int32),
        "failed": failed[order],
    }
    write_table(build.content / "verdicts.feather", pa.table(found), compressed=True)
    failing = table.take(pa.array(np.unique(row[failed]))).combine_chunks()
    write_table(build.content / "failing.feather", failing, compressed=True)
    return {"rows": len(ids)}


def _verdicts(rows: Rows, expectations: Sequence[Any]) -> list[Verdict]:
    """What expectations say of rows; Great Expectations is asked only about those that do not surely meet them."""
    sure = [surely_meets(rows, expectation) for expectation in expectations]
    nobody = np.zeros(len(rows.ids), bool)
    doubted = np.flatnonzero(np.logical_or.reduce([nobody, *(~mask for mask in sure if mask is not None)]))
    quick = [at for at, mask in enumerate(sure) if mask is not None]
    slow = [at for at, mask in enumerate(sure) if mask is None]
    found: dict[int, Verdict] = {}
    faults: dict[str, str] = {}
    for some, places in ((quick, doubted), (slow, np.arange(len(rows.ids)))):
        asked = [expectations[at] for at in some]
        wanted = named(asked, rows.names)
        there = rows if len(places) == len(rows.ids) else rows.some(places, rows.table.column_names)
        try:
            verdicts = judge_rows(there.frame(wanted), asked) if asked else []
        except UnfitError as error:
            faults |= error.faults
            continue
        for at, verdict in zip(some, verdicts, strict=True):
            found[at] = Verdict(*(places[each] for each in verdict))
    if faults:
        raise UnfitError(faults)
    return [found[at] for at in range(len(expectations))]
