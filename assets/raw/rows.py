"""Reading what the step `raw` made."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assets.store.links import checked, linked
from assets.store.tables import Ids, as_ids, from_hexadecimal, hexadecimal, order_of, read_tables, write_table

FROZEN = "frozen.parquet"
"""File with the `row_id` of every row of the frozen test set, where one is declared."""
SOURCES = "sources.parquet"
"""File with the rows of each pattern of files that evaluation slices by, where it does."""
GONE = "gone"
"""Link to the shard of which only the texts count, those of rows that are gone: see `assets.raw.memory`. It is one of
the links `shards` too, and none of its rows counts."""
COLUMNS = "columns"
"""Names of further columns, in rows.json of every step that links shards."""
ORDER = "layout/order.feather"
"""Where the rows lie that count, in the order of their row_id: to sort a million anew costs more than to read it."""
RETAINED = "retained"
"""Link to the shard with rows of files that are not in the source any more; it is one of the links `shards` too."""


def kept(raw: Path) -> npt.NDArray[np.bool_]:
    """For each row of the shards, in their order, whether it counts: repeated ones and those beyond a sample do not."""
    table = read_tables([raw], "layout/rows.feather")
    found: npt.NDArray[np.bool_] = table["kept"].to_numpy()
    return found


def columns_of(content: Path) -> dict[str, Any]:
    """The names of further columns, which a step that passes on the shards has in its rows.json; {} without any.

    Identifiers are of values alone, and the next step looks columns up by their names: with another name it is another
    result, whose shards have the columns under that name.
    """
    rows = json.loads((content / "rows.json").read_bytes())
    return {COLUMNS: rows[COLUMNS]} if COLUMNS in rows else {}


def gone_digest(content: Path) -> dict[str, Any]:
    """What a step that passes on the link `gone` has of it in its rows.json, so that it is another result; else {}."""
    rows = json.loads((content / "rows.json").read_bytes())
    return {GONE: rows[GONE]} if GONE in rows else {}


def shard_ids(shards: Sequence[Path]) -> Ids:
    """Identifier of each row of the shards, in their order."""
    return as_ids(read_tables(shards, "ids.feather")["row_id"])


def write_order(content: Path, places: npt.NDArray[np.intp]) -> None:
    """Write down where the rows lie that count.

    Args:
        content: of a step, which is being built.
        places: of the rows among those of all shards, in the order of row_id.
    """
    write_table(content / ORDER, pa.table({"row": places.astype(np.int32)}))


def in_order(content: Path, where: npt.NDArray[np.bool_], ids: Ids) -> npt.NDArray[np.intp]:
    """Where some of the rows lie that count, in the order of their row_id.

    Args:
        content: of a step that links shards.
        where: which rows of the shards, none of which does not count in `content`.
        ids: identifier of each row of the shards.
    """
    if not (content / ORDER).is_file():
        # It was made when no step wrote it; the same content is not published again.
        there = np.flatnonzero(where)
        return there[order_of(ids.take(there, axis=0))]
    places: npt.NDArray[np.intp] = read_tables([content], ORDER)["row"].to_numpy().astype(np.intp)
    return places[where[places]]


def files_of(shard: Path) -> list[tuple[str, int]]:
    """Digest of each file of a shard, and how many lines were read of it."""
    found: list[tuple[str, int]] = json.loads(checked(shard, "files.json").read_bytes())
    return found


def frozen_ids(raw: Path) -> Ids:
    """Identifiers of the rows of the frozen test set, ascending.

    Args:
        raw: content of the step, of a configuration that declares such a set.
    """
    return from_hexadecimal(pq.read_table(raw / FROZEN)["row_id"].to_pylist())


def read_sources(raw: Path) -> pa.Table:
    """Which rows lie in files of which pattern: files (the pattern), row_id (hexadecimal); in this order.

    Args:
        raw: content of the step, of a configuration that slices by source.
    """
    return pq.read_table(raw / SOURCES)


def read_rows(raw: Path, where: npt.NDArray[np.bool_] | None = None) -> pa.Table:
    """Rows as a table: row_id (hexadecimal), text, label, further columns; in the order of row_id.

    Args:
        raw: content of the step.
        where: which rows of the shards, in their order; None for those that `raw` kept.
    """
    shards = linked(raw, "shards")
    indices = np.flatnonzero(kept(raw) if where is None else where)
    ids = shard_ids(shards)[indices]
    order = order_of(ids)
    rows = read_tables(shards, "rows.feather").take(indices[order])
    return rows.add_column(0, "row_id", hexadecimal(ids[order]))


def origins(raw: Path, trace: Path) -> pa.Table:
    """Where everything that was read came from: row_id (also of rejected lines), file, line; in this order.

    Args:
        raw: content of the step; the shards that were parsed lie where its own do.
        trace: of the step.
    """
    sources = json.loads((trace / "sources.json").read_bytes())
    names_of: defaultdict[str, list[str]] = defaultdict(list)
    for name, sha256 in sources["files"]:
        names_of[sha256].append(name)
    found = []
    for digest in sources["shards"]:
        shard = raw.parents[1] / digest[:2] / digest
        ids = pa.concat_arrays(
            [hexadecimal(as_ids(read_tables([shard], f"{table}.feather")["row_id"])) for table in ("ids", "rejected")]
        )
        places = read_tables([shard], "places.feather")
        row, file, line = (places[name].to_numpy() for name in ("row", "file", "line"))
        rows = read_tables([shard], "ids.feather").num_rows
        row_ids = ids.take(np.where(row >= 0, row, rows - 1 - row))
        for at, (sha256, _) in enumerate(files_of(shard)):
            of_file = np.flatnonzero(file == at)
            for name in names_of.get(sha256, [f"sha256:{sha256[:12]} (not in the source any more)"]):
                where = pa.repeat(name, len(of_file))
                found.append(pa.table({"row_id": row_ids.take(of_file), "file": where, "line": line[of_file]}))
    return pa.concat_tables(found).sort_by([("row_id", "ascending"), ("file", "ascending"), ("line", "ascending")])
