"""Reading what the step `splits` made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.splits.sides import SIDES
from assets.store.links import linked
from assets.store.tables import Ids, among, as_ids, distinct, from_hexadecimal, hexadecimal, order_of, read_tables

OVERLAY = "layout/rows.feather"


def read_side(splits: Path, side: str) -> pa.Table:
    """Rows of one side: row_id (hexadecimal), text, label, group (its row_id), further columns; in the order of row_id.

    Args:
        splits: content of the step.
        side: `train`, `validation` or `test`.
    """
    if _is_unsharded(splits):
        return _unsharded_side(splits / "dataset" / side)
    overlay = read_tables([splits], OVERLAY)
    shards, prepared = linked(splits, "shards"), linked(splits, "prepared")
    there = overlay["side"].to_numpy() == SIDES.index(side)
    ids = as_ids(read_tables(shards, "ids.feather")["row_id"])
    # Shard by shard, so that the rows of the other sides are never all in memory.
    found, start = [], 0
    for shard, texts in zip(shards, prepared, strict=True):
        rows = read_tables([shard], "rows.feather")
        rows = rows.set_column(rows.column_names.index("text"), "text", read_tables([texts], "texts.feather")["text"])
        found.append(rows.filter(pa.array(there[start : start + len(rows)])))
        start += len(rows)
    own, groups = ids[there], ids[overlay["group"].to_numpy()[there]]
    order = order_of(own)
    rows = pa.concat_tables(found).take(order)
    further = [name for name in rows.column_names if name not in {"text", "label"}]
    columns = {"row_id": hexadecimal(own[order]), "text": rows["text"], "label": rows["label"]}
    return pa.table({**columns, "group": hexadecimal(groups[order]), **{name: rows[name] for name in further}})


def read_places(splits: Path, side: str) -> pa.Table:
    """Rows of one side without their texts: row_id (hexadecimal), label, at; in the order of row_id.

    `at` is where a row lies in the shards, counted through all of them in the order of the link `prepared`.

    Args:
        splits: content of the step, with its rows in shards.
        side: `train`, `validation` or `test`.
    """
    at = np.flatnonzero(read_tables([splits], OVERLAY, ["side"])["side"].to_numpy() == SIDES.index(side))
    shards = linked(splits, "shards")
    ids = as_ids(read_tables(shards, "ids.feather")["row_id"])[at]
    order = order_of(ids)
    at = at[order]
    labels = read_tables(shards, "rows.feather", ["label"])["label"].take(at)
    return pa.table({"row_id": hexadecimal(ids[order]), "label": labels, "at": at})


def read_sides(splits: Path) -> pa.Table:
    """The side of every row: row_id (hexadecimal), group (its row_id), side; in the order of row_id."""
    if _is_unsharded(splits):
        return pq.read_table(splits / "sides.parquet")
    overlay = read_tables([splits], OVERLAY)
    ids = as_ids(read_tables(linked(splits, "shards"), "ids.feather")["row_id"])
    side, group = (overlay[name].to_numpy() for name in ("side", "group"))
    rows = np.flatnonzero(side >= 0)
    rows = rows[order_of(ids[rows])]
    names = pa.DictionaryArray.from_arrays(pa.array(side[rows]), pa.array(SIDES)).cast(pa.string())
    return pa.table({"row_id": hexadecimal(ids[rows]), "group": hexadecimal(ids[group[rows]]), "side": names})


def read_some(splits: Path, row_ids: pa.ChunkedArray) -> pa.Table:
    """Text and label of some of the rows that have a side, in no order; the texts of all are never in memory at once.

    Args:
        splits: content of the step.
        row_ids: hexadecimal, shape [rows]; one of them at least has a side.
    """
    if _is_unsharded(splits):
        sides = [_unsharded_side(splits / "dataset" / side) for side in SIDES]
        return pa.concat_tables(
            rows.filter(pc.is_in(rows["row_id"], value_set=row_ids)).select(["text", "label"]) for rows in sides
        )
    there = read_tables([splits], OVERLAY, ["side"])["side"].to_numpy() >= 0
    wanted = from_hexadecimal(row_ids.to_pylist())
    found, start = [], 0
    for shard, texts in zip(linked(splits, "shards"), linked(splits, "prepared"), strict=True):
        ids = as_ids(read_tables([shard], "ids.feather")["row_id"])
        rows = np.flatnonzero(there[start : start + len(ids)] & among(ids, wanted))
        start += len(ids)
        if len(rows):
            columns = (read_tables([texts], "texts.feather", ["text"]), read_tables([shard], "rows.feather", ["label"]))
            found.append(pa.table({name: each[name].take(rows) for each in columns for name in each.column_names}))
    return pa.concat_tables(found)


def read_groups(splits: Path, side: str) -> pa.Table:
    """Rows in one group with a row of a side, these among them: row_id (hexadecimal), text, group (its row_id).

    Others are there only where they are on no side: in quarantine, or left out for their likeness to the test set.

    Args:
        splits: content of the step.
        side: `train`, `validation` or `test`.
    """
    overlay = read_tables([splits], OVERLAY)
    sides, group = (overlay[name].to_numpy() for name in ("side", "group"))
    there = np.zeros(len(group), bool)
    there[group[sides == SIDES.index(side)]] = True
    rows = np.flatnonzero((group >= 0) & there[group])
    ids = as_ids(read_tables(linked(splits, "shards"), "ids.feather")["row_id"])
    rows = rows[order_of(ids[rows])]
    texts = read_tables(linked(splits, "prepared"), "texts.feather")["text"].take(rows)
    return pa.table({"row_id": hexadecimal(ids[rows]), "text": texts, "group": hexadecimal(ids[group[rows]])})


def alike(rows: pa.Table, known: pa.Table) -> pa.ChunkedArray:
    """Which rows have the identifier, the text or the group of a known one; each with the columns of `read_groups`."""
    by_id, by_text, by_group = (pc.is_in(rows[name], value_set=known[name]) for name in ("row_id", "text", "group"))
    return pc.or_(pc.or_(by_id, by_text), by_group)


def count_new(splits: Path, earlier: Path | None) -> int:
    """How many rows have a side and had none earlier. A row with another label or text is another row.

    Args:
        splits: content of the step.
        earlier: content of the step at another time, or None: every row is new.
    """
    now = _with_side(splits)
    if earlier is None:
        return len(now)
    before = _with_side(earlier)
    firsts, _ = distinct(np.concatenate([before, now]))
    return len(firsts) - len(before)


def _with_side(splits: Path) -> Ids:
    """Identifiers of the rows that have a side, each once."""
    if _is_unsharded(splits):
        return from_hexadecimal(read_sides(splits)["row_id"].to_pylist())
    there = read_tables([splits], OVERLAY, ["side"])["side"].to_numpy() >= 0
    ids: Ids = as_ids(read_tables(linked(splits, "shards"), "ids.feather")["row_id"])[there]
    return ids


def _is_unsharded(splits: Path) -> bool:
    """Whether it was made before rows lay in shards: a champion may come out of such splits."""
    return (splits / "sides.parquet").is_file()


def _unsharded_side(folder: Path) -> pa.Table:
    """Rows of a side as `datasets` wrote it, labels as numbers."""
    files = json.loads((folder / "state.json").read_bytes())["_data_files"]
    names = json.loads((folder / "dataset_info.json").read_bytes())["features"]["label"]["names"]
    rows = pa.concat_tables(pa.ipc.open_stream(folder / file["filename"]).read_all() for file in files)
    labels = pa.array(names, pa.string()).take(rows["label"].combine_chunks())
    return rows.set_column(rows.column_names.index("label"), "label", labels).replace_schema_metadata()


def dataset(splits: Path, labels: Sequence[str]) -> Any:
    """The sides as a `datasets.DatasetDict` in memory, with columns as `read_side` gives them.

    Args:
        splits: content of the step.
        labels: names of the classes, in the model's order; `label` is a `ClassLabel` of them.
    """
    import datasets
    from datasets.table import InMemoryTable

    def made(side: str) -> Any:
        rows = read_side(splits, side)
        features = datasets.Features(
            {
                name: datasets.ClassLabel(names=list(labels)) if name == "label" else datasets.Value("string")
                for name in rows.column_names
            }
        )
        numbers = pc.index_in(rows["label"], value_set=pa.array(labels, pa.string()))
        table = rows.set_column(rows.column_names.index("label"), "label", numbers).cast(features.arrow_schema)
        return datasets.Dataset(
            InMemoryTable(table), info=datasets.DatasetInfo(features=features), split=datasets.NamedSplit(side)
        )

    return datasets.DatasetDict({side: made(side) for side in SIDES})
