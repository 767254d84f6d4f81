"""The step `raw`: parses every file of the source and keeps the ledger of what was taken in."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.errors import DataError, TransientError
from assets.raw.kinds import decode, format_of, refuse_impostor
from assets.raw.parse import Fault, Row, parse_delimited, parse_jsonl, parse_parquet
from assets.store.digests import digest_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from assets.store.step import Build, Measurements, ObservedFile


@dataclass
class Ledger:
    """What was taken in so far.

    Attributes:
        rows: row_id → values of each distinct row.
        rejected: row_id → line, reason and detail of each distinct line that is no row.
        origins: (row_id, file, line) of everything that was read.
    """

    rows: dict[str, tuple[str | None, ...]] = field(default_factory=dict)
    rejected: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    origins: list[tuple[str, str, int]] = field(default_factory=list)

    def take(self, name: str, items: Iterable[Row | Fault]) -> None:
        """Take in what was parsed from one file."""
        for item in items:
            if isinstance(item, Row):
                row_id = digest_json(item.values)[:32]
                self.rows[row_id] = item.values
            else:
                row_id = digest_json(["rejected", item.text])[:32]
                found = (item.text, item.reason, item.detail)
                # The same line may fail differently in two files; which file came first must not matter.
                self.rejected[row_id] = min(found, self.rejected.get(row_id, found))
            self.origins.append((row_id, name, item.line))

    def keep_lowest(self, count: int) -> None:
        """Keep only so many rows (also rejected ones), those with the lowest row_id."""
        kept = set(sorted([*self.rows, *self.rejected])[:count])
        self.rows = {row_id: values for row_id, values in self.rows.items() if row_id in kept}
        self.rejected = {row_id: found for row_id, found in self.rejected.items() if row_id in kept}
        self.origins = [origin for origin in self.origins if origin[0] in kept]


def read(
    build: Build,
    *,
    format: str,  # noqa: A002 - the argument is the configuration's field
    names: list[str] | None,
    quoting: str,
    encoding: str,
    columns: dict[str, Any],
    sample: int | None,
) -> Measurements:
    """Parse the source's files.

    Args:
        build: external `source`; content `rows.parquet` (row_id, text, label, kept columns) and `rejected.parquet`
            (row_id, line_text, reason, detail); trace `origins.parquet` (row_id, file, line).
        format: `auto`, `csv`, `tsv`, `jsonl` or `parquet`.
        names: columns of CSV and TSV files without a header line, or None.
        quoting: `auto`, `minimal` or `none`.
        encoding: of text files.
        columns: names of the columns: `text`, `label` and a list `keep`.
        sample: keep only so many rows, those with the lowest row_id, or None.

    Returns:
        files, bytes, rows_read, rows, rejected, repeated, labels (the hundred most frequent), samples.

    Raises:
        DataError: a file is not what it should be, lacks a column, or there are no rows at all.
        ConfigurationError: a file's format cannot be told, or the encoding does not exist.
        TransientError: a file changed after it was looked at.
    """
    keep = list(columns["keep"])
    wanted = [columns["text"], columns["label"], *keep]
    source = build.externals["source"]
    ledger = Ledger()
    faults: list[DataError] = []
    with build.progress.bar("files read", total=len(source.files)) as advance:
        for file in source.files:
            try:
                items = _parse(file, wanted, configured=format, names=names, quoting=quoting, encoding=encoding)
                ledger.take(file.name, items)
            except DataError as error:
                faults.append(error)
            advance()
    if faults:
        raise faults[0] if len(faults) == 1 else _together(faults)
    if not ledger.origins:
        raise DataError(
            "there are no rows, only header lines" if source.files else "there are no files",
            where=source.location,
            fix="put rows below the header, or set source.names if the first line is a row",
        )
    if sample is not None:
        build.progress.message(f"sample of at most {sample} rows")
        ledger.keep_lowest(sample)
    _write(build, ledger, keep)
    return _measure(build, ledger)


def _parse(
    file: ObservedFile, wanted: list[str], *, configured: str, names: list[str] | None, quoting: str, encoding: str
) -> Iterator[Row | Fault]:
    form = format_of(file.name, configured)
    data = _bytes(file)
    refuse_impostor(file.name, data, form)
    if form == "parquet":
        return parse_parquet(file.name, data, wanted)
    text, damaged = decode(file.name, data, encoding)
    if form == "jsonl":
        return parse_jsonl(file.name, text, wanted, damaged=damaged)
    return parse_delimited(
        file.name,
        text,
        wanted,
        delimiter="," if form == "csv" else "\t",
        quoted=quoting == "minimal" or (quoting == "auto" and form == "csv"),
        names=names,
        damaged=damaged,
    )


def _bytes(file: ObservedFile) -> bytes:
    """The very bytes that were observed: the digest is taken of what is parsed, not of a second reading."""
    try:
        data = Path(file.path).read_bytes()
    except OSError as error:
        raise TransientError(
            f"cannot be read any more: {error.strerror or error}", where=file.name, fix="run again"
        ) from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise TransientError(
            "the file changed while it was read", where=file.name, fix="run again once nobody writes to it"
        )
    return data


def _together(faults: list[DataError]) -> DataError:
    listed = "\n".join(f"- {fault}" for fault in faults[:20])
    return DataError(f"{len(faults)} files cannot be used (first 20):\n{listed}", fix="each file's own, above")


def _write(build: Build, ledger: Ledger, keep: list[str]) -> None:
    rows = [(row_id, *values) for row_id, values in sorted(ledger.rows.items())]
    rejected = [(row_id, *found) for row_id, found in sorted(ledger.rejected.items())]
    _table(build.content / "rows.parquet", ["row_id", "text", "label", *keep], rows)
    _table(build.content / "rejected.parquet", ["row_id", "line_text", "reason", "detail"], rejected)
    _table(build.trace / "origins.parquet", ["row_id", "file", "line"], sorted(ledger.origins))


def _table(path: Path, columns: list[str], records: list[tuple[Any, ...]]) -> None:
    """Write records as a Parquet file; every column is text, but for `line`."""
    values: Iterable[Any] = zip(*records, strict=True) if records else [()] * len(columns)
    kinds = [pa.int64() if column == "line" and path.stem == "origins" else pa.string() for column in columns]
    arrays = [pa.array(column, type=kind) for column, kind in zip(values, kinds, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, names=columns), path, compression="zstd")


def _measure(build: Build, ledger: Ledger) -> Measurements:
    files = build.externals["source"].files
    ordered = sorted(ledger.rows)
    labels = Counter("null" if ledger.rows[row_id][1] is None else ledger.rows[row_id][1] for row_id in ordered)
    read_rows, rows, rejected = len(ledger.origins), len(ledger.rows), len(ledger.rejected)
    build.progress.message(
        f"{read_rows:,} rows read: {rows:,} distinct, {read_rows - rows - rejected:,} repeated, {rejected:,} unreadable"
    )
    return {
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "rows_read": read_rows,
        "rows": rows,
        "rejected": rejected,
        "repeated": read_rows - rows - rejected,
        # A wrong label column may hold as many labels as rows; nobody reads those.
        "labels": dict(labels.most_common(100)),
        "samples": [
            {"text": (ledger.rows[row_id][0] or "")[:300], "label": ledger.rows[row_id][1]} for row_id in ordered[:5]
        ],
    }
