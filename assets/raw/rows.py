"""Reading what the step `raw` made."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assets.store.digests import LAYOUT
from assets.store.links import checked, linked, read_links
from assets.store.tables import (
    Ids,
    as_ids,
    begins,
    from_hexadecimal,
    hexadecimal,
    order_of,
    places_after,
    read_tables,
)

if TYPE_CHECKING:
    from assets.store.step import Build

FROZEN = "frozen.parquet"
"""File with the `row_id` of every row of the frozen test set, where one is declared."""
PATTERNS = f"{LAYOUT}/frozen.json"
"""The patterns of names of its files; no part of the digest, for they say nothing about rows that are there."""
SOURCES = "sources.parquet"
"""File with the rows of each pattern of files that evaluation slices by, where it does."""
GONE = "gone"
"""Link to the shard of which only the texts count, those of rows that are gone: see `assets.raw.memory`. It is one of
the links `shards` too, and none of its rows counts."""
COLUMNS = "columns"
"""Names of further columns, in rows.json of every step that links shards."""
LABELS = "labels.feather"
"""File of a shard with the labels alone."""
LARGE = "large"
"""Link to the large shards, those of the links `shards` that come first: what is made of them all is kept, so that a
new file is held against it."""
ORDERED = "order.feather"
"""File of `assets.raw.order.sort`."""
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


def label_counts(shards: Sequence[Path], which: npt.NDArray[np.bool_]) -> dict[str | None, int]:
    """How many rows have each label.

    Args:
        shards: folders of shards.
        which: for each of their rows whether it counts.
    """
    counts: Counter[str | None] = Counter()
    start = 0
    for shard in shards:
        # A shard that was made when it had no labels by themselves may be linked still.
        file = LABELS if (shard / LABELS).is_file() else "rows.feather"
        column = read_tables([shard], file, ["label"])["label"].combine_chunks()
        column = column if file == LABELS else column.dictionary_encode()
        codes = column.indices.fill_null(-1).to_numpy()[which[start : start + len(column)]]
        found = np.bincount(codes + 1, minlength=len(column.dictionary) + 1).tolist()
        counts.update(dict(zip([None, *column.dictionary.to_pylist()], found, strict=True)))
        start += len(column)
    return {label: count for label, count in counts.items() if count}


Places = npt.NDArray[np.int32]
"""Where rows lie in shards, counted through all of them."""


class Ordered(NamedTuple):
    """Rows in the order of their identifiers; equal ones in that of the shards.

    Attributes:
        at: where each lies in the shards.
        ids: identifier of each.
    """

    at: Places
    ids: Ids

    def only(self, which: npt.NDArray[np.bool_]) -> Ordered:
        """Some of them.

        Args:
            which: for each in this order whether it is among them.
        """
        return self if which.all() else Ordered(self.at[which], self.ids.compress(which, axis=0))

    def where(self, which: npt.NDArray[np.bool_]) -> Ordered:
        """Some of them.

        Args:
            which: for each row of the shards, in their order, whether it is among them.
        """
        return self.only(which.take(self.at))

    def places_of(self, some: npt.NDArray[np.signedinteger[Any]]) -> npt.NDArray[np.intp]:
        """Where some of them stand in this order; quick where they are few.

        Args:
            some: where each lies in the shards.
        """
        wanted = np.zeros(int(self.at.max(initial=-1)) + 1, bool)
        wanted[some] = True
        found = np.flatnonzero(wanted.take(self.at))
        lie = self.at[found]
        order = np.argsort(lie)
        places: npt.NDArray[np.intp] = found[order[np.searchsorted(lie[order], some)]]
        return places

    def firsts(self) -> Ordered:
        """Of equal ones the first."""
        return self.only(begins(self.ids))


def in_order(build: Build, content: Path) -> Ordered:
    """The rows of the shards that a step links, in the order of their identifiers.

    Args:
        build: of the step that asks.
        content: of a step that links shards.
    """
    return sorted_rows(build, linked(content, "shards"), len(read_links(content).get(LARGE, ())))


def sorted_rows(build: Build, shards: Sequence[Path], large: int) -> Ordered:
    """The rows of shards in the order of their identifiers: those of the large ones are sorted once for all runs.

    Args:
        build: of the step that asks.
        shards: folders of shards.
        large: how many of them are large, the first ones.
    """
    known = Ordered(np.empty(0, np.int32), np.empty((0, 2), np.uint64))
    if large:
        assert build.part is not None
        inputs = {f"shard-{at:06}": shard.name for at, shard in enumerate(shards[:large])}
        part = build.part("assets.raw.order:sort", {}, inputs=inputs, environment=("pyarrow:major",))
        table = read_tables([part.content], ORDERED)
        ids = pa.chunked_array([each.flatten() for each in table["row_id"].chunks], pa.uint64())
        known = Ordered(table["row"].to_numpy(), ids.to_numpy().reshape(-1, 2))
    if large == len(shards):
        return known
    ids = shard_ids(shards[large:])
    order = order_of(ids)
    return _merged(known, Ordered((order + len(known.at)).astype(np.int32), ids.take(order, axis=0)))


def _merged(known: Ordered, new: Ordered) -> Ordered:
    """Rows together, those that come later in the shards behind equal ones."""
    at = places_after(known.ids, new.ids) + np.arange(len(new.at))
    old = np.ones(len(known.at) + len(new.at), bool)
    old[at] = False
    rows, ids = np.empty(len(old), np.int32), np.empty((len(old), 2), np.uint64)
    rows[old], rows[at] = known.at, new.at
    # As 16 bytes each: numpy is several times as quick with these as with rows of two numbers.
    whole = ids.view("V16")[:, 0]
    whole[old], whole[at] = (each.ids.view("V16")[:, 0] for each in (known, new))
    return Ordered(rows, ids)


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
