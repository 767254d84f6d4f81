"""What is remembered of files that the source holds no more.

In `mode: append` their rows stay rows. In `mode: mirror` they are gone, but a text that a model was trained on must not
come back into a test set, nor may its near-duplicates: the texts of rows that are gone still count when sides are
given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.raw.rows import GONE, RETAINED, files_of
from assets.raw.shard import row_ids
from assets.store.digests import write_json
from assets.store.links import linked, read_links
from assets.store.tables import Ids, as_ids, distinct, id_column, order_of, read_tables, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from assets.store.step import Build, Measurements

Mode = Literal["mirror", "append"]
Indices = npt.NDArray[np.intp]


class Memory(NamedTuple):
    """Shards beside those of the source as it is now, or None.

    Attributes:
        retained: its rows count like those of the source.
        gone: only its texts count.
    """

    retained: Path | None = None
    gone: Path | None = None


def remembered(build: Build, mode: Mode, now: Sequence[Path], columns: Sequence[str]) -> Memory:
    """Find what is to be remembered, from what the step stood for before.

    Args:
        build: of the step `raw`.
        mode: of the source.
        now: shards of the source as it is now.
        columns: of their rows.
    """
    if build.before is None:
        return Memory()
    links = read_links(build.before)
    if not links:
        return Memory(None, _gathered(build, "remember", {}, now, columns, unsharded=build.before))
    gone, retained = (linked(build.before, name)[0] if name in links else None for name in (GONE, RETAINED))
    present = {file.sha256 for file in build.externals["source"].files}
    departed = {
        shard: absent
        for shard in linked(build.before, "shards")
        if shard != gone and (absent := [sha256 for sha256, _ in files_of(shard) if sha256 not in present])
    }
    # Shards are read as one table, so they have the columns that are asked for now.
    gone_fits, retained_fits = (shard is None or _columns(shard) == list(columns) for shard in (gone, retained))
    if mode == "mirror":
        if departed or not gone_fits:
            gone = _gathered(build, "remember", departed, now, columns, gone)
        return Memory(None, gone)
    if not gone_fits:
        gone = _gathered(build, "remember", {}, now, columns, gone)
    came_back = retained is not None and any(sha256 in present for sha256, _ in files_of(retained))
    if departed.keys() - {retained} or came_back or not retained_fits:
        retained = _gathered(build, "retain", departed, now, columns) if departed else None
    return Memory(retained, gone)


def _gathered(
    build: Build,
    function: str,
    departed: Mapping[Path, Sequence[str]],
    now: Sequence[Path],
    columns: Sequence[str],
    gone: Path | None = None,
    unsharded: Path | None = None,
) -> Path | None:
    """The shard that a part makes of departed ones; None if there is nothing in it."""
    assert build.part is not None
    inputs = {
        "now": now,
        "departed": departed,
        "gone": [] if gone is None else [gone],
        "unsharded": [] if unsharded is None else [unsharded],
    }
    files = sorted({sha256 for absent in departed.values() for sha256 in absent})
    part = build.part(
        f"assets.raw.memory:{function}",
        {"files": files, "columns": list(columns)},
        inputs={
            f"{name}-{at}": digest
            for name, shards in inputs.items()
            for at, digest in enumerate(sorted(shard.name for shard in shards))
        },
        environment=("pyarrow:major",),
    )
    found = part.measurements["rows"]
    what = "rows of theirs stay" if function == "retain" else "texts are remembered, which keeps them out of test sets"
    if not files:
        return part.content if found else None  # nothing went, only columns are others
    count = "1 file is" if len(files) == 1 else f"{len(files):,} files are"
    build.progress.message(f"{count} not in the source any more: {found:,} {what}")
    return part.content if found + part.measurements["rejected"] else None


def remember(build: Build, *, files: Sequence[str], columns: Sequence[str]) -> Measurements:
    """Gather the texts that no row has any more.

    Content:
        rows.feather: as a shard has it, in the order of row_id; the label is null. A text that a row has now, but with
            other further columns (a time, a user), is among them: those of before count still.
        ids.feather: row_id of each.

    Args:
        build: inputs `now-…` and `departed-…`: shards of the source as it is and as it was; `gone-…`: what was
            remembered before; `unsharded-…`: what the step made before its rows lay in shards.
        files: sha256 of the files that are gone.
        columns: of the rows.

    Returns:
        rows, rejected (0).
    """
    found = [_aligned(shard, columns) for shard in _inputs(build, "gone")]
    found += [_with(pq.read_table(each / "rows.parquet"), columns) for each in _inputs(build, "unsharded")]
    for shard in _inputs(build, "departed"):
        rows, _ = _of_files(shard, files)
        found.append(_aligned(shard, columns).take(rows))
    rows = _without_labels(pa.concat_tables(found))
    rows = rows.filter(pc.is_valid(rows["text"]))
    ids = row_ids(rows)
    known = [row_ids(_without_labels(_aligned(shard, columns))) for shard in _inputs(build, "now")]
    new, _ = _new(ids, np.concatenate([np.empty((0, 2), np.uint64), *known]), np.arange(len(ids)))
    return _write(build, rows.take(new), ids[new])


def retain(build: Build, *, files: Sequence[str], columns: Sequence[str]) -> Measurements:
    """Gather the rows of files that are gone, as far as files that are there do not hold them too.

    Content:
        as `assets.raw.shard.parse` makes it.

    Args:
        build: see `remember`.
        files: likewise.
        columns: likewise.

    Returns:
        rows, rejected.
    """
    now, departed = _inputs(build, "now"), _inputs(build, "departed")
    rows = pa.concat_tables(_aligned(shard, columns) for shard in departed)
    rejected = read_tables(departed, "rejected.feather")
    used, places, starts = [], [], [0, 0]
    names: list[str] = []
    for shard in departed:
        of_rows, of_rejected = _of_files(shard, files)
        used.append((of_rows + starts[0], of_rejected + starts[1]))
        table = read_tables([shard], "places.feather")
        row, file, line = (table[name].to_numpy() for name in ("row", "file", "line"))
        row = np.where(row >= 0, row + starts[0], row - starts[1]).astype(np.intp)
        of_shard = [sha256 for sha256, _ in files_of(shard)]
        stays = np.isin(file, [at for at, sha256 in enumerate(of_shard) if sha256 in set(files)])
        places.append((row[stays], file[stays] + len(names), line[stays]))
        names += of_shard
        starts = [starts[0] + len(_ids([shard], "ids")), starts[1] + len(_ids([shard], "rejected"))]
    row, file, line = (np.concatenate(each) for each in zip(*places, strict=True))
    ids = _ids(departed, "ids")
    own, row_at = _new(ids, _ids(now, "ids"), np.concatenate([each for each, _ in used]))
    lost, lost_at = _new(_ids(departed, "rejected"), _ids(now, "rejected"), np.concatenate([each for _, each in used]))
    at = np.full(len(row), -1)
    good = row >= 0
    at[good], at[~good] = row_at[row[good]], lost_at[-1 - row[~good]]
    stays = at >= 0
    found = {
        "row": np.where(good, at, -1 - at)[stays].astype(np.int32),
        "file": file[stays].astype(np.int32),
        "line": line[stays],
    }
    write_table(build.content / "places.feather", pa.table(found), compressed=True)
    lines = np.bincount(found["file"], minlength=len(names)).tolist()
    write_json(build.content / "files.json", [[name, count] for name, count in zip(names, lines, strict=True)])
    write_table(build.content / "rejected.feather", rejected.take(lost), compressed=True)
    return {**_write(build, rows.take(own), ids[own]), "rejected": len(lost)}


def _write(build: Build, rows: pa.Table, ids: Ids) -> Measurements:
    write_table(build.content / "rows.feather", rows, compressed=True)
    write_table(build.content / "ids.feather", pa.table({"row_id": id_column(ids)}))
    return {"rows": len(ids), "rejected": 0}


def _inputs(build: Build, name: str) -> list[Path]:
    return [build.inputs[each] for each in sorted(build.inputs) if each.startswith(f"{name}-")]


def _columns(shard: Path) -> list[str]:
    names: list[str] = read_tables([shard], "rows.feather").column_names
    return names


def _of_files(shard: Path, files: Sequence[str]) -> tuple[Indices, Indices]:
    """Which rows of a shard, and which rejected lines, some files have."""
    wanted = set(files)
    places = read_tables([shard], "places.feather", ["row", "file"])
    row, file = (places[name].to_numpy() for name in ("row", "file"))
    row = np.unique(row[np.isin(file, [at for at, (sha256, _) in enumerate(files_of(shard)) if sha256 in wanted])])
    return row[row >= 0].astype(np.intp), (-1 - row[row < 0]).astype(np.intp)


def _ids(shards: Sequence[Path], table: Literal["ids", "rejected"]) -> Ids:
    if not shards:
        return np.empty((0, 2), np.uint64)
    return as_ids(read_tables(shards, f"{table}.feather", ["row_id"])["row_id"])


def _new(ids: Ids, now: Ids, used: Indices) -> tuple[Indices, Indices]:
    """Those of some identifiers that are not there now, each once and in order; and for each where it is among these.

    Args:
        ids: all identifiers.
        now: those that are there.
        used: which of the identifiers count.

    Returns:
        Their places in `ids`; and for each of `ids` its place among these, or -1.
    """
    firsts, which = distinct(np.concatenate([now, ids[used]]))
    new = firsts[firsts >= len(now)] - len(now)
    new = new[order_of(ids[used][new])]
    place = np.full(len(firsts), -1)
    place[which[len(now) + new]] = np.arange(len(new))
    at = np.full(len(ids), -1)
    at[used] = place[which[len(now) :]]
    return used[new], at


def _without_labels(rows: pa.Table) -> pa.Table:
    return rows.set_column(rows.column_names.index("label"), "label", pa.nulls(len(rows), pa.string()))


def _aligned(shard: Path, columns: Sequence[str]) -> pa.Table:
    """Rows with these columns, null where the shard was read with others."""
    return _with(read_tables([shard], "rows.feather"), columns)


def _with(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    return pa.table(
        {name: rows[name] if name in rows.column_names else pa.nulls(len(rows), pa.string()) for name in columns}
    )
