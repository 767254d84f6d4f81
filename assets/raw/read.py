"""The step `raw`: parses every file of the source, batch by batch, and finds the distinct rows."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assets.errors import DataError
from assets.raw.frozen import frozen_rows
from assets.raw.kinds import format_of
from assets.raw.memory import Memory, Mode, remembered
from assets.raw.order import least_of_large
from assets.raw.rows import (
    COLUMNS,
    FROZEN,
    GONE,
    LARGE,
    PATTERNS,
    RETAINED,
    Ordered,
    files_of,
    frozen_ids,
    label_counts,
    shard_ids,
    sorted_rows,
)
from assets.raw.shard import together
from assets.raw.sources_of_rows import write_sources
from assets.store.digests import write_json
from assets.store.links import write_links
from assets.store.tables import (
    Ids,
    among,
    as_ids,
    digest_of_rows,
    distinct,
    hexadecimal,
    order_of,
    read_tables,
    write_table,
)
from assets.store.threads import side_by_side

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from assets.store.step import Build, Measurements, ObservedFile, Part

    Batches = list[tuple[str, list[ObservedFile]]]

BATCHES = 64
"""Into how many batches small files of one format are gathered: few enough that many files cost little, and so many
that a new file makes few of the others be parsed again."""
LARGE_BYTES = 1 << 20
"""A file of this size is a batch of its own."""


def read(
    build: Build,
    *,
    format: str,  # noqa: A002 - the argument is the configuration's field
    names: list[str] | None,
    quoting: str,
    encoding: str,
    columns: dict[str, Any],
    labels: dict[str, str] | None,
    mode: Mode,
    frozen: Mapping[str, Any] | None,
    source_files: Sequence[str] | None = None,
    sample: int | None,
) -> Measurements:
    """Parse the source's files.

    Content:
        rows.json: how many distinct rows, and the digest of their identifiers in order; the same of texts that are
            remembered (`gone`), and the names of further `columns`, where there are any.
        rejected.parquet: row_id, line_text, reason, detail of every distinct line that is no row.
        frozen.parquet: row_id of the rows of the frozen test set, in order; only where one is declared.
        sources.parquet: row_id of the rows of each pattern of files; only where evaluation slices by them.
        layout/: links `shards` (see `assets.raw.shard.parse`), and of them `large`, the large ones, which come first,
            and those that `assets.raw.memory` made: `gone` and `retained`; rows.feather with `kept` for each row of
            the shards.

    Trace:
        sources.json: `files` with name and sha256 of each; `shards` with the digests of those that were parsed.

    Args:
        build: external input `source`.
        format: `auto`, `csv`, `tsv`, `jsonl` or `parquet`.
        names: columns of CSV and TSV files without a header line, or None.
        quoting: `auto`, `minimal` or `none`.
        encoding: of text files.
        columns: names of the columns: `text`, `label` and a list `keep`.
        labels: labels as the source has them → labels of the task, or None.
        mode: what becomes of rows whose file is gone: `mirror` or `append`.
        frozen: which rows are the frozen test set: `files`, or `column` and `value`; or None.
        source_files: patterns of files that evaluation slices by, or None.
        sample: keep only so many rows, those with the lowest row_id, or None.

    Returns:
        files, bytes, rows_read (retained ones too), rows, rejected, repeated, renamed (rows whose label was, of equal
        files counted once), retained (rows of files that are gone), remembered (texts of rows that are gone), labels
        (the hundred most frequent), samples; with a frozen test set frozen (rows of it); where there are any, forgotten
        (rows read that are left out).

    Raises:
        DataError: a file is not what it should be, lacks a column, or there are no rows at all, or none in the frozen
            test set.
        ConfigurationError: a file's format cannot be told, the encoding does not exist, or a pattern of the frozen test
            set matches no file.
        TransientError: a file changed after it was looked at.
    """
    source = build.externals["source"]
    wanted = [columns["text"], columns["label"], *columns["keep"]]
    options: dict[str, Any] = {"names": names, "quoting": quoting, "encoding": encoding, "wanted": wanted}
    if labels:
        options["labels"] = labels
    if "forgotten" in build.externals:
        options["forgotten"] = list(build.externals["forgotten"].values)
    gathered = batches(source.files, format)
    parts = _parsed(build, gathered, options)
    # The same bytes may be files of two formats, and come out as one shard.
    sizes = {part.content: int(part.measurements["rows"]) for part in parts}
    memory = remembered(build, mode, list(sizes), ["text", "label", *columns["keep"]])
    if memory.retained is not None:
        sizes[memory.retained] = len(shard_ids([memory.retained]))
    least = least_of_large(list(sizes.values()))
    # Folders are named by their digests.
    shards = sorted(sizes, key=lambda shard: (sizes[shard] < least, shard.name))
    large = sum(size >= least for size in sizes.values())
    lines = _lines(gathered, parts, source.files, format)
    if memory.retained is not None:
        lines += sum(read for _, read in files_of(memory.retained))
    if not lines:
        raise DataError(
            "there are no rows, only header lines" if source.files else "there are no files",
            where=source.location,
            fix="put rows below the header, or set source.names if the first line is a row",
        )
    every = sorted_rows(build, shards, large)
    rows = every.firsts()
    rejected = _rejected(read_tables(shards, "rejected.feather"))
    if sample is not None:
        build.progress.message(f"sample of at most {sample} rows")
        rows, rejected = _lowest(rows, rejected, sample)
    kept = np.zeros(len(every.at), dtype=bool)
    kept[rows.at] = True
    gone = np.empty((0, 2), np.uint64) if memory.gone is None else shard_ids([memory.gone])
    _write(build, shards, large, memory, rows, kept, rejected, gone, columns["keep"])
    if source_files is not None:
        write_sources(build, shards, memory, shard_ids(shards), kept, source_files)
    renamed = sum(part.measurements["renamed"] for part in parts) if labels else 0
    if renamed:
        build.progress.message(f"{renamed:,} rows have a label that source.labels renames")
    left_out = _forgotten(gathered, parts, source.files, format)
    measured = _measure(
        build, shards, kept, lines=lines, rejected=rejected.num_rows, left_out=left_out, sampled=sample is not None
    )
    if frozen is not None:
        ids = shard_ids(shards)
        # Their file, by whose name they were of the test set, is gone.
        stay, may_be_gone = _retained_of_test(build, memory)
        of_test = frozen_rows(shards, ids, source.files, frozen, may_be_gone) | among(ids, stay)
        write_json(build.content / PATTERNS, frozen["files"] or [])
        measured["frozen"] = _write_frozen(build, ids, kept, of_test)
    retained = 0 if memory.retained is None else sizes[memory.retained]
    told = {"forgotten": left_out} if left_out and sample is None else {}
    return {**measured, **told, "renamed": renamed, "retained": retained, "remembered": len(gone)}


def _parsed(build: Build, gathered: Batches, options: Mapping[str, Any]) -> list[Part]:
    """A shard of each batch; what is wrong with any file is told at once."""
    part = build.part
    assert part is not None

    def parse(batch: tuple[str, list[ObservedFile]]) -> Part:
        form, files = batch
        return part("assets.raw.shard:parse", {"form": form, **options}, files=files, environment=("pyarrow:major",))

    parts: list[Part] = []
    faults: list[DataError] = []
    with build.progress.bar("files read", total=len(build.externals["source"].files)) as advance:
        for (_, files), done in zip(gathered, side_by_side(parse, gathered), strict=True):
            try:
                parts.append(done())
            except DataError as error:
                faults.append(error)
            advance(len(files))
    if faults:
        raise together(faults)
    return parts


def _retained_of_test(build: Build, memory: Memory) -> tuple[Ids, list[str]]:
    """Identifiers of rows whose files are gone and that were of the frozen test set, and the patterns of its files."""
    if memory.retained is None or build.before is None or not (build.before / FROZEN).is_file():
        return np.empty((0, 2), np.uint64), []
    retained = shard_ids([memory.retained])
    patterns = build.before / PATTERNS
    # Each of them once matched a file; older versions did not write them down.
    known = json.loads(patterns.read_bytes()) if patterns.is_file() else []
    return retained[among(retained, frozen_ids(build.before))], known


def _write_frozen(build: Build, ids: Ids, kept: npt.NDArray[np.bool_], of_test: npt.NDArray[np.bool_]) -> int:
    """Write which rows are the frozen test set, and return how many."""
    some = ids[kept & of_test]
    table = pa.table({"row_id": hexadecimal(some[order_of(some)])})
    pq.write_table(table, build.content / FROZEN, compression="zstd")
    return len(some)


def batches(files: Sequence[ObservedFile], configured: str) -> Batches:
    """Gather files into batches that are parsed together, by format and content alone: names and order don't matter.

    Returns:
        Format and files, each content once.

    Raises:
        ConfigurationError: a file's format cannot be told.
    """
    gathered: defaultdict[tuple[str, str], dict[str, ObservedFile]] = defaultdict(dict)
    for file in files:
        form = format_of(file.name, configured)
        place = file.sha256 if file.size >= LARGE_BYTES else str(int(file.sha256[:8], 16) % BATCHES)
        gathered[form, place].setdefault(file.sha256, file)
    return [(form, [found[sha256] for sha256 in sorted(found)]) for (form, _), found in sorted(gathered.items())]


def _lines(
    gathered: Batches,
    parts: Sequence[Part],
    files: Sequence[ObservedFile],
    configured: str,
) -> int:
    """Lines of all files that are rows or should be; those of equal files count for each."""
    names = Counter((format_of(file.name, configured), file.sha256) for file in files)
    return sum(
        lines * names[form, sha256]
        for (form, _), part in zip(gathered, parts, strict=True)
        for sha256, lines in files_of(part.content)
    )


def _forgotten(gathered: Batches, parts: Sequence[Part], files: Sequence[ObservedFile], configured: str) -> int:
    """Lines of all files that were left out because they are forgotten; those of equal files count for each."""
    names = Counter((format_of(file.name, configured), file.sha256) for file in files)
    return sum(
        lines * names[form, file]
        for (form, _), part in zip(gathered, parts, strict=True)
        for file, lines in part.measurements.get("forgotten", {}).items()
    )


def _rejected(found: pa.Table) -> pa.Table:
    """Each distinct line that is no row, in the order of its identifier."""
    ids = as_ids(found["row_id"])
    found = found.set_column(0, "row_id", hexadecimal(ids))
    # The same line may fail differently in two shards; which comes first must not matter.
    found = found.sort_by([(name, "ascending") for name in found.column_names])
    firsts, _ = distinct(ids[order_of(ids)])
    return found.take(firsts)


def _lowest(rows: Ordered, rejected: pa.Table, sample: int) -> tuple[Ordered, pa.Table]:
    """Those rows and rejected lines, all of them in order, that have the lowest identifiers of both."""
    names, others = hexadecimal(rows.ids[:sample]).to_pylist(), rejected["row_id"].to_pylist()
    lowest = set(sorted([*names, *others])[:sample])
    count = sum(name in lowest for name in names)
    return rows.only(np.arange(len(rows.at)) < count), rejected.filter(
        pa.array([name in lowest for name in others], pa.bool_())
    )


def _write(
    build: Build,
    shards: Sequence[Path],
    large: int,
    memory: Memory,
    some: Ordered,
    kept: npt.NDArray[np.bool_],
    rejected: pa.Table,
    remembered_ids: Ids,
    further: Sequence[str],
) -> None:
    gone = {"gone": {"rows": len(remembered_ids), "sha256": digest_of_rows(remembered_ids)}}
    rows = {"rows": len(some.at), "sha256": digest_of_rows(some.ids)}
    named_columns = {COLUMNS: list(further)} if further else {}
    write_json(build.content / "rows.json", rows | (gone if memory.gone else {}) | named_columns)
    pq.write_table(rejected, build.content / "rejected.parquet", compression="zstd")
    every = [shard.name for shard in (*shards, *filter(None, [memory.gone]))]
    named = {GONE: memory.gone, RETAINED: memory.retained}
    others = {name: [shard.name] for name, shard in named.items() if shard is not None}
    write_links(build.content, {"shards": every, LARGE: every[:large], **others})
    counts = np.concatenate([kept, np.zeros(len(remembered_ids), dtype=bool)])
    write_table(build.content / "layout" / "rows.feather", pa.table({"kept": counts}), compressed=True)
    sources = {
        "files": [[file.name, file.sha256] for file in build.externals["source"].files],
        "shards": [shard.name for shard in shards],
    }
    write_json(build.trace / "sources.json", sources)


def _measure(
    build: Build,
    folders: Sequence[Path],
    kept: npt.NDArray[np.bool_],
    *,
    lines: int,
    rejected: int,
    left_out: int,
    sampled: bool,
) -> Measurements:
    files = build.externals["source"].files
    counts: Counter[str] = Counter()
    for label, count in label_counts(folders, kept).items():
        counts["null" if label is None else label] += count
    rows = int(kept.sum())
    read_rows = rows + rejected if sampled else lines
    left_out = 0 if sampled else left_out
    repeated = read_rows - rows - rejected - left_out
    also = f", {left_out:,} forgotten" if left_out else ""
    build.progress.message(
        f"{read_rows:,} rows read: {rows:,} distinct, {repeated:,} repeated, {rejected:,} unreadable{also}"
    )
    return {
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "rows_read": read_rows,
        "rows": rows,
        "rejected": rejected,
        "repeated": repeated,
        # A wrong label column may hold as many labels as rows; nobody reads those.
        "labels": dict(sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:100]),
        "samples": _samples(folders, kept),
    }


def _samples(folders: Sequence[Path], kept: npt.NDArray[np.bool_]) -> list[dict[str, str | None]]:
    """The first five rows."""
    found: list[dict[str, str | None]] = []
    for folder in folders:
        if len(found) < 5:
            rows = read_tables([folder], "rows.feather", ["text", "label"])
            some = rows.take(np.flatnonzero(kept[: len(rows)])[: 5 - len(found)]).to_pylist()
            found += [{"text": (row["text"] or "")[:300], "label": row["label"]} for row in some]
            kept = kept[len(rows) :]
    return found
