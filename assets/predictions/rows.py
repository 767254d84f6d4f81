"""Reading what the step `predictions` made."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from assets.store.links import linked
from assets.store.tables import as_ids, firsts_in_order, hexadecimal, read_tables

SHARDS, ANSWERS = "shards", "answers"
"""Links to the shards and to what was answered, one for each shard."""


def read_predictions(predictions: Path, *, texts: bool = False) -> pa.Table:
    """Every distinct row in the order of row_id: row_id, columns carried along, predicted, confidence, scores.

    A row without a text has no prediction. What could not be read as a row is in `rejected.parquet`.

    Args:
        predictions: content of the step.
        texts: whether the table has the column `text` too.
    """
    shards = linked(predictions, SHARDS)
    keep = json.loads((predictions / "predictions.json").read_bytes())["columns"]
    columns = [*(["text"] if texts else []), *keep]
    if not shards:
        strings = [(name, pa.string()) for name in ("row_id", *columns, "predicted")]
        numbers = [("confidence", pa.float64()), ("scores", pa.list_(pa.float64()))]
        return pa.schema([*strings, *numbers]).empty_table()
    ids = as_ids(read_tables(shards, "ids.feather")["row_id"])
    firsts = firsts_in_order(ids)
    found = pa.table({"row_id": hexadecimal(ids[firsts])})
    if columns:
        carried = read_tables(shards, "rows.feather", columns).take(firsts)
        for name in columns:
            found = found.append_column(name, carried[name])
    answers = read_tables(linked(predictions, ANSWERS), "answers.feather").take(firsts)
    for name in answers.column_names:
        found = found.append_column(name, answers[name])
    return found
