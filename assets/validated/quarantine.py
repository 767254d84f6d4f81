"""The quarantine: each row that fails, with the expectations that it fails and what was seen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.store.tables import hexadecimal
from assets.validated.checks import DROPPED
from assets.validated.results import columns_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets.validated.frame import Places, Rows

SCHEMA = pa.schema([(name, pa.string()) for name in ("row_id", "text", "label", "expectation", "detail")])
UNREADABLE = "readable"
"""Stands for an expectation: the line can be read as a row."""

_quoted = json.JSONEncoder(ensure_ascii=False).encode


class Judged(NamedTuple):
    """What an expectation says of the rows that count.

    Attributes:
        expectation: of Great Expectations.
        failing: places of the rows that fail it.
        result: its result, in samples.
    """

    expectation: Any
    failing: Places
    result: Any


def make_quarantine(
    rows: Rows, judged: Sequence[Judged], ruled: Places, dropped: Places, rejected: pa.Table
) -> pa.Table:
    """Set rows aside, in the order of row_id.

    Args:
        rows: all of them, with the columns that expectations are about.
        judged: by critical expectations; which a row fails is told in this order.
        ruled: places of rows that a ruling is about, whatever they fail.
        dropped: those of them that it drops.
        rejected: lines that were no rows: row_id, line_text, reason, detail.
    """
    judged = [each._replace(failing=each.failing[~np.isin(each.failing, ruled)]) for each in judged]
    places, row = np.unique(np.concatenate([each.failing for each in judged]), return_inverse=True)
    bad = rows.some(places, rows.table.column_names)
    kinds: list[str] = []
    seen: list[str] = []
    for each in judged:
        config = each.expectation.configuration
        failing = bad.some(row[len(kinds) :][: len(each.failing)], bad.table.column_names)
        kinds += [config.type] * len(each.failing)
        seen += _seen(failing, columns_of(config))
    order, sizes = np.argsort(row, kind="stable").tolist(), np.bincount(row, minlength=len(places))
    of_rows = [order[end - size : end] for size, end in zip(sizes.tolist(), np.cumsum(sizes).tolist(), strict=True)]
    failed = {
        "row_id": hexadecimal(bad.ids),
        "text": bad.table["text"],
        "label": bad.table["label"],
        "expectation": [", ".join(sorted({kinds[each] for each in of_row})) for of_row in of_rows],
        "detail": ["; ".join(dict.fromkeys(seen[each] for each in of_row)) for of_row in of_rows],
    }
    unreadable = {
        "row_id": rejected["row_id"],
        "text": rejected["line_text"],
        "label": pa.nulls(len(rejected), pa.string()),
        "expectation": [UNREADABLE] * len(rejected),
        "detail": pc.binary_join_element_wise(rejected["reason"], rejected["detail"], ": "),
    }
    out = rows.some(rows.by_id(dropped), ["text", "label"])
    ruled_out = {
        "row_id": hexadecimal(out.ids),
        "text": out.table["text"],
        "label": out.table["label"],
        "expectation": [DROPPED] * len(out.ids),
        # Who and why is in the file of rulings: it may be told better there without anything being made anew.
        "detail": ["a ruling drops the row"] * len(out.ids),
    }
    tables = [pa.table(columns, SCHEMA) for columns in (failed, ruled_out, unreadable)]
    return pa.concat_tables(tables).sort_by("row_id")


def _seen(rows: Rows, columns: Sequence[str]) -> list[str]:
    """What an expectation about these columns saw of each row."""
    values = [[f"{column} is {_shown(value)}" for value in rows.column(column).to_pylist()] for column in columns]
    return [" and ".join(of_row) for of_row in zip(*values, strict=True)]


def _shown(value: str | None) -> str:
    if value is None:
        return "null"
    length = f" ({len(value):,} characters)" if len(value) > 80 or not value else ""
    return _quoted(value[:80]) + ("…" if len(value) > 80 else "") + length
