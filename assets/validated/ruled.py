"""Rulings held against the rows: which are readmitted, relabelled or dropped, and a shard of the relabelled ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.raw.rows import shard_ids
from assets.store.digests import digest_json
from assets.store.links import linked, read_links
from assets.store.tables import as_ids, from_hexadecimal, hexadecimal, id_column, order_of, read_tables, write_table
from assets.validated.frame import Rows
from assets.validated.rulings import read_observed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from assets.store.step import Build, Measurements, Part
    from assets.validated.frame import Places
    from assets.validated.rulings import Row, Ruling


class Ruled(NamedTuple):
    """Which rows rulings are about.

    Attributes:
        readmitted: places of rows that are accepted whatever they fail.
        relabelled: places of rows that count with another label.
        labels: that label of each.
        dropped: places of rows that are not accepted.
        gone: how many rulings are about rows that are not there.
        any: whether there is a ruling at all.
    """

    readmitted: Places
    relabelled: Places
    labels: Sequence[str]
    dropped: Places
    gone: int
    any: bool

    def all(self) -> Places:
        """Every row that a ruling is about."""
        return np.concatenate([self.readmitted, self.relabelled, self.dropped])


class Settled(NamedTuple):
    """What became of the rows.

    Attributes:
        shards: folders of the shards in which they lie.
        rows: all of them, those that are relabelled last, with their new labels.
        accepted: for each of them whether it is accepted.
        upheld: rows whose label people confirmed or gave: row_id, and `came_as` and `label`, the row_id and label that
            they came with; in this order.
        merged: how many rows are, relabelled, equal to another one that is accepted.
        measurements: `rulings`, where there are any.
    """

    shards: list[Path]
    rows: Rows
    accepted: npt.NDArray[np.bool_]
    upheld: pa.Table
    merged: int
    measurements: Measurements


def find_ruled(build: Build, labels: Sequence[str], rows: Rows, kept: npt.NDArray[np.bool_]) -> Ruled:
    """Find the rows that rulings are about.

    Args:
        build: external input `rulings`, where there are any.
        labels: labels of the task.
        rows: all of them.
        kept: which of them count.
    """
    seen = build.externals.get("rulings")
    rulings = {} if seen is None else read_observed(Path(seen.files[0].path), seen, labels)
    places: dict[str, list[int]] = {"readmit": [], "relabel": [], "drop": []}
    to: list[str] = []
    found: set[Row] = set()
    for place, row in _candidates(rulings, rows, kept):
        ruling = rulings.get(row)
        if ruling is not None:
            found.add(row)
            places[ruling.action].append(place)
            to += [] if ruling.to is None else [ruling.to]
    readmitted, relabelled, dropped = (np.array(each, np.intp) for each in places.values())
    return Ruled(readmitted, relabelled, to, dropped, gone=len(rulings) - len(found), any=bool(rulings))


def _candidates(
    rulings: Mapping[Row, Ruling], rows: Rows, kept: npt.NDArray[np.bool_]
) -> list[tuple[int, tuple[str, str | None]]]:
    """Rows with a text that some ruling names: place, text and label, in the order of row_id."""
    if not rulings:
        return []
    texts = pa.array(sorted({text for text, _ in rulings}), pa.string())
    there = pc.is_in(rows.table["text"], value_set=texts, skip_nulls=True).to_numpy() & kept
    places = rows.by_id(np.flatnonzero(there))
    some = rows.table.select(["text", "label"]).take(places)
    return list(zip(places.tolist(), zip(*(column.to_pylist() for column in some.columns), strict=True), strict=True))


def settle(build: Build, rows: Rows, kept: npt.NDArray[np.bool_], failing: Sequence[Places], ruled: Ruled) -> Settled:
    """Let rulings stand above expectations.

    A relabelled row gets the row_id that it would have if it came with its new label: later steps tell rows apart by it
    alone, and once the source says the same, nothing changes for them.

    Args:
        build: input `raw`.
        rows: all of them.
        kept: which of them count.
        failing: places of rows that fail some critical expectation.
        ruled: what rulings are about.
    """
    fails = np.zeros(len(kept), bool)
    for places in failing:
        fails[places] = True
    told = {
        "readmitted": int(fails[ruled.readmitted].sum()),
        "relabelled": len(ruled.relabelled),
        "dropped": len(ruled.dropped),
        "about_no_row": ruled.gone,
    }
    if ruled.any:
        said = ", ".join(f"{told[what]:,} {what}" for what in ("readmitted", "relabelled", "dropped"))
        gone = f"; {ruled.gone:,} rulings are about rows that are not there" if ruled.gone else ""
        build.progress.message(f"rows by rulings: {said}{gone}")
    fails[ruled.readmitted] = False
    accepted = kept & ~fails
    accepted[np.concatenate([ruled.relabelled, ruled.dropped])] = False
    measurements = {"rulings": told} if ruled.any else {}
    shards = linked(build.inputs["raw"], "shards")
    same = rows.by_id(ruled.readmitted)
    came_as = hexadecimal(rows.ids[same])
    upheld = pa.table({"row_id": came_as, "came_as": came_as, "label": rows.table["label"].take(pa.array(same))})
    if not len(ruled.relabelled):
        return Settled(shards, rows, accepted, upheld, 0, measurements)
    part = _relabelled(build, ruled)
    folder = [part.content]
    ids = as_ids(read_tables(folder, "ids.feather")["row_id"])
    stands = pa.array(hexadecimal(rows.ids[accepted]))
    fresh = ~pc.is_in(hexadecimal(ids), value_set=stands).to_numpy(zero_copy_only=False)
    table = pa.concat_tables([rows.table, read_tables(folder, "rows.feather", rows.table.column_names)])
    return Settled(
        [*shards, part.content],
        Rows(np.concatenate([rows.ids, ids]), table, rows.names),
        np.concatenate([accepted, fresh]),
        pa.concat_tables([upheld, read_tables(folder, "origins.feather")]).sort_by(
            [("row_id", "ascending"), ("came_as", "ascending")]
        ),
        len(ruled.relabelled) - int(fresh.sum()),
        measurements,
    )


def _relabelled(build: Build, ruled: Ruled) -> Part:
    """The shard of the rows that are relabelled."""
    assert build.part is not None
    shards = read_links(build.inputs["raw"])["shards"]
    sizes = [len(shard_ids([folder])) for folder in linked(build.inputs["raw"], "shards")]
    ends = np.cumsum(sizes)
    which = np.searchsorted(ends, ruled.relabelled, side="right").tolist()
    told = zip(which, ruled.relabelled.tolist(), ruled.labels, strict=True)
    return build.part(
        "assets.validated.ruled:relabel",
        {"rows": [[str(shard), int(place - (ends[shard] - sizes[shard])), label] for shard, place, label in told]},
        inputs={str(shard): shards[shard] for shard in sorted(set(which))},
        environment=("pyarrow:major",),
    )


def relabel(build: Build, *, rows: Sequence[tuple[str, int, str]]) -> Measurements:
    """Copy rows with other labels.

    Content:
        rows.feather, ids.feather: as in a shard of `raw`, in the order of row_id, each row once.
        origins.feather: for every row that was copied `row_id`, and `came_as` and `label`, the row_id and label that it
            came with; in this order.

    Args:
        build: inputs named as in `rows`: shards of the step `raw`.
        rows: shard, place in it and new label of each.

    Returns:
        rows.
    """
    copies: list[tuple[str, dict[str, str | None]]] = []
    origins: list[tuple[str, str, str | None]] = []
    schema = None
    for shard, folder in sorted(build.inputs.items()):
        wanted = [(place, label) for name, place, label in rows if name == shard]
        places = pa.array([place for place, _ in wanted], pa.int64())
        some = read_tables([folder], "rows.feather").take(places)
        came_as = hexadecimal(as_ids(read_tables([folder], "ids.feather")["row_id"].take(places))).to_pylist()
        schema = some.schema
        for row, row_id, (_, label) in zip(some.to_pylist(), came_as, wanted, strict=True):
            changed = {**row, "label": label}
            new = digest_json(list(changed.values()))[:32]
            copies.append((new, changed))
            origins.append((new, row_id, row["label"]))
    once = dict(copies)
    ids = from_hexadecimal(once)
    order = order_of(ids)
    listed = list(once.values())
    write_table(build.content / "ids.feather", pa.table({"row_id": id_column(ids[order])}))
    table = pa.Table.from_pylist([listed[place] for place in order.tolist()], schema)
    write_table(build.content / "rows.feather", table, compressed=True)
    columns = zip(*sorted(origins, key=lambda each: each[:2]), strict=True)
    named = dict(zip(("row_id", "came_as", "label"), (pa.array(each, pa.string()) for each in columns), strict=True))
    write_table(build.content / "origins.feather", pa.table(named), compressed=True)
    return {"rows": len(ids)}
