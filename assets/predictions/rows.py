"""Reading what the step `predictions` made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.errors import DataError
from assets.evaluation.decisions import Decisions
from assets.store.links import linked, read_links
from assets.store.tables import as_ids, firsts_in_order, hexadecimal, read_tables

SHARDS, SCORES = "shards", "scores"
"""Links to the shards and to what the model said of their rows, one for each shard."""


def read_predictions(predictions: Path, *, texts: bool = False) -> pa.Table:
    """Every distinct row in the order of row_id: row_id, columns carried along, predicted, confidence, scores.

    A row without a text has no prediction. What could not be read as a row is in `rejected.parquet`. Scores have the
    temperature, and labels obey the threshold, that `predictions.json` says.

    Args:
        predictions: content of the step.
        texts: whether the table has the column `text` too.

    Raises:
        DataError: it was made when scores were kept otherwise.
    """
    if SCORES not in read_links(predictions):
        raise DataError(
            "these predictions were made by an earlier version of freshtune",
            where=str(predictions),
            fix="run the pipeline, which predicts the files again",
        )
    shards = linked(predictions, SHARDS)
    told = json.loads((predictions / "predictions.json").read_bytes())
    columns = [*(["text"] if texts else []), *told["columns"]]
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
    scores = read_tables(linked(predictions, SCORES), "scores.feather")["scores"].take(firsts)
    answers = answered(scores, Decisions(**told["decisions"]), told["labels"])
    for name in answers.column_names:
        found = found.append_column(name, answers[name])
    return found


def answered(scores: pa.ChunkedArray, decisions: Decisions, labels: Sequence[str]) -> pa.Table:
    """What scores come to: predicted, confidence, scores (calibrated); null where there are none.

    Args:
        scores: a model's own probabilities of all its labels, in their order; null for a row without a text.
        decisions: temperature and threshold.
        labels: names of the labels.
    """
    there = scores.is_valid().to_numpy()
    calibrated, chosen = chosen_of(scores, decisions, labels)
    table = pa.table(
        {
            "predicted": pa.array(list(labels), pa.string()).take(pa.array(chosen)),
            "confidence": pa.array(calibrated[np.arange(len(chosen)), chosen], pa.float64()),
            "scores": listed(calibrated),
        }
    )
    return table.take(pa.array(np.cumsum(there) - 1, mask=~there))


def chosen_of(
    scores: pa.ChunkedArray, decisions: Decisions, labels: Sequence[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Calibrated scores of the rows that have any, shape [rows, labels], and the place of the label chosen for each."""
    flat = scores.drop_null().combine_chunks().flatten().to_numpy(zero_copy_only=False)
    calibrated = decisions.calibrated(flat.reshape(-1, len(labels)))
    return calibrated, decisions.chosen(calibrated, labels)


def listed(scores: npt.NDArray[np.float64]) -> pa.Array:
    """Scores, shape [rows, labels], as a column of lists."""
    flat = pa.array(scores.ravel(), pa.float64())
    return pa.FixedSizeListArray.from_arrays(flat, scores.shape[1]).cast(pa.list_(pa.float64()))
