"""A part of the step `raw`: one batch of files, parsed once for all runs that find the same bytes."""

from __future__ import annotations

import hashlib
from json.encoder import encode_basestring
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assets.config.home import home
from assets.errors import DataError, TransientError
from assets.raw.columnar import parse_arrow, parse_parquet
from assets.raw.compressed import unpacked
from assets.raw.decoding import decode
from assets.raw.delimited import delimiter_of, parse_delimited
from assets.raw.kinds import refuse_impostor
from assets.raw.objects import parse_json, parse_jsonl, parse_label_studio
from assets.raw.parse import Fault, Parsed
from assets.raw.remote import read_bytes
from assets.raw.rows import LABELS
from assets.store.digests import write_json
from assets.store.forgotten import key_called, matching, matching_ids
from assets.store.tables import Ids, distinct, id_column, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assets.store.step import Build, Measurements, ObservedFile

TABLES = MappingProxyType({"parquet": parse_parquet, "arrow": parse_arrow})
OBJECTS = MappingProxyType({"json": parse_json, "jsonl": parse_jsonl, "label_studio": parse_label_studio})
ESCAPED = (*range(0x20), 0x22, 0x5C)
"""Codes of the characters that JSON escapes."""
BATCH_ROWS = 1 << 16
"""Rows of which the JSON is in memory at once."""


def parse(
    build: Build,
    *,
    form: str,
    names: Sequence[str] | None,
    quoting: str,
    encoding: str,
    wanted: Sequence[str],
    labels: Mapping[str, str] | None = None,
    labelled: bool = True,
    forgotten: Sequence[str] = (),
) -> Measurements:
    """Parse files of one format.

    Content:
        rows.feather: text, label (where there are labels), further columns; each distinct row once, in the order in
            which they were read.
        ids.feather: row_id of each row.
        labels.feather: label of each row (where there are labels), as a dictionary: nobody unpacks texts to count them.
        rejected.feather: row_id, line_text, reason, detail of each distinct line that is no row.
        places.feather: for every line that was read `row` (index of its row, or -1 - index of the rejected line),
            `file` (index in files.json), `line`.
        files.json: [sha256, lines read] of each file.

    Args:
        build: external input `files`.
        form: one of `assets.raw.kinds.NAMES`.
        names: columns of CSV and TSV files without a header line, or None.
        quoting: `auto`, `minimal` or `none`.
        encoding: of text files, or `auto`.
        wanted: columns that hold the text, the label, and whatever else is carried along.
        labels: label as the files have it → label that the row gets, or None.
        labelled: whether the second of the wanted columns is the label; else the files need none.
        forgotten: name of the secret key, and hashes of the texts and ids that are left out; see
            `assets.store.forgotten`.

    Returns:
        rows, rejected; renamed (rows read whose label was) where there are labels; forgotten (sha256 of a file → lines
        of it that were left out), where there are any.

    Raises:
        DataError: a file is not what it should be or lacks a column.
        ConfigurationError: the encoding does not exist.
        TransientError: a file changed after it was looked at.
    """
    named = ["text", "label"] if labelled else ["text"]
    columns = [*named, *list(wanted)[len(named) :]]
    parsed: list[Parsed] = []
    wrong: list[DataError] = []
    files = build.externals["files"].files
    for file in files:
        try:
            parsed.append(_parsed(build, file, form, wanted, names=names, quoting=quoting, encoding=encoding))
        except DataError as error:
            wrong.append(error)
    if wrong:
        raise together(wrong)
    told: Measurements = {}
    lines = _lines(parsed)
    if forgotten:
        parsed = [_without(found, forgotten, columns) for found in parsed]
        left_out = [read - rest for read, rest in zip(lines, _lines(parsed), strict=True)]
        if any(left_out):
            told["forgotten"] = {file.sha256: count for file, count in zip(files, left_out, strict=True) if count}
    rows = pa.concat_tables(found.rows for found in parsed).rename_columns(columns)
    if labels is not None:
        rows, told["renamed"] = _renamed(rows, labels)
    ids = row_ids(rows)
    firsts, which = distinct(ids)
    faults = [fault for found in parsed for fault in found.faults]
    rejected, rejected_which = _rejected(faults)
    once = rows if len(firsts) == rows.num_rows else rows.take(firsts)
    write_table(build.content / "rows.feather", once, compressed=True)
    write_table(build.content / "ids.feather", pa.table({"row_id": id_column(ids[firsts])}))
    if labelled:
        write_table(build.content / LABELS, pa.table({"label": once["label"].combine_chunks().dictionary_encode()}))
    write_table(build.content / "rejected.feather", rejected, compressed=True)
    numbers = np.arange(len(files), dtype=np.int32)
    places = {
        "row": np.concatenate([which, -1 - rejected_which]).astype(np.int32),
        "file": np.concatenate(
            [
                np.repeat(numbers, [len(found.lines) for found in parsed]),
                np.repeat(numbers, [len(found.faults) for found in parsed]),
            ]
        ),
        "line": np.concatenate([*(found.lines for found in parsed), np.array([fault.line for fault in faults], int)]),
    }
    write_table(build.content / "places.feather", pa.table(places), compressed=True)
    write_json(build.content / "files.json", [[file.sha256, read] for file, read in zip(files, lines, strict=True)])
    return {"rows": len(firsts), "rejected": rejected.num_rows, **told}


def _lines(parsed: Sequence[Parsed]) -> list[int]:
    return [len(found.lines) + len(found.faults) for found in parsed]


def _without(found: Parsed, forgotten: Sequence[str], columns: Sequence[str]) -> Parsed:
    """What was read of a file, without texts, ids and lines that are forgotten."""
    key, hashes = key_called(home().path, forgotten[0]), frozenset(forgotten[1:])
    stays = ~np.array(matching(found.rows.column(0).to_pylist(), key, hashes), bool)
    for at, column in enumerate(columns):
        if any(each.startswith(f"{column}=") for each in hashes):
            stays &= ~np.array(matching_ids(column, found.rows.column(at).to_pylist(), key, hashes), bool)
    lost = matching([fault.text for fault in found.faults], key, hashes)
    if stays.all() and not any(lost):
        return found
    faults = [fault for fault, gone in zip(found.faults, lost, strict=True) if not gone]
    return Parsed(found.rows.filter(pa.array(stays)), found.lines[stays], faults)


def _renamed(rows: pa.Table, labels: Mapping[str, str]) -> tuple[pa.Table, int]:
    """Rows with the labels that theirs were renamed to, and how many that are."""
    place = rows.schema.get_field_index("label")
    which = pc.index_in(rows["label"], value_set=pa.array(list(labels), pa.string()))
    new = pa.chunked_array([pa.array(list(labels.values()), pa.string())]).take(which)
    renamed = rows.set_column(place, "label", pc.coalesce(new, rows["label"]))
    return renamed, rows.num_rows - which.null_count


def together(faults: Sequence[DataError]) -> DataError:
    """One error that tells of many files."""
    if len(faults) == 1:
        return faults[0]
    listed = "\n".join(f"- {fault}" for fault in faults[:20])
    return DataError(f"{len(faults)} files cannot be used (first 20):\n{listed}", fix="each file's own, above")


def row_ids(rows: pa.Table) -> Ids:
    """Identifier of each row of texts: the first half of the SHA-256 of the JSON array of its values."""
    digests = [_digests(batch) for batch in rows.to_batches(max_chunksize=BATCH_ROWS)]
    return np.concatenate(digests) if digests else np.empty((0, 2), np.uint64)


def _digests(batch: pa.RecordBatch) -> Ids:
    values = _joined(*map(_json, batch.columns), ",")
    records = _joined("[", values, "]", "").cast(pa.large_binary()).to_pylist()
    digest = hashlib.sha256
    digests = b"".join([digest(record).digest() for record in records])
    return np.frombuffer(digests, ">u8").reshape(-1, 4)[:, :2].astype(np.uint64)


def _json(texts: pa.Array) -> pa.Array:
    """Each text as JSON has it, null as `null`."""
    texts = texts.cast(pa.large_string())
    _, offsets, data = texts.buffers()
    first, last = np.frombuffer(offsets, np.int64)[[texts.offset, texts.offset + len(texts)]]
    used = np.bincount(np.frombuffer(data or b"", np.uint8)[first:last], minlength=256)
    # The backslash is first among those that are there: the others bring more of it.
    for code in sorted(np.flatnonzero(used[[*ESCAPED]]), key=lambda place: ESCAPED[place] != ord("\\")):
        character = chr(ESCAPED[code])
        texts = pc.replace_substring(texts, character, encode_basestring(character)[1:-1])
    return pc.fill_null(_joined('"', texts, '"', ""), "null")


def _joined(*pieces: pa.Array | str) -> pa.Array:
    """Texts one after another, row by row, with the last piece between them."""
    large = [pa.scalar(piece, pa.large_string()) if isinstance(piece, str) else piece for piece in pieces]
    return pc.binary_join_element_wise(*large)


def _rejected(faults: Sequence[Fault]) -> tuple[pa.Table, npt.NDArray[np.intp]]:
    """Each distinct line that is no row, once; and for every fault its place among them."""
    lines = pa.array([fault.text for fault in faults], pa.string())
    ids = row_ids(pa.table({"rejected": pa.repeat("rejected", len(faults)), "line": lines}))
    firsts, which = distinct(ids)
    # The same line may fail differently in two files; which file came first must not matter.
    lowest: dict[int, tuple[str, str, str]] = {}
    for place, (_, text, reason, detail) in zip(which.tolist(), faults, strict=True):
        found = (text, reason, detail)
        lowest[place] = min(found, lowest.get(place, found))
    texts = [lowest[place] for place in range(len(firsts))]
    columns = zip(*texts, strict=True) if texts else [()] * 3
    named = zip(("line_text", "reason", "detail"), columns, strict=True)
    return pa.table(
        {"row_id": id_column(ids[firsts])} | {name: pa.array(column, pa.string()) for name, column in named}
    ), which


def _parsed(
    build: Build,
    file: ObservedFile,
    form: str,
    wanted: Sequence[str],
    *,
    names: Sequence[str] | None,
    quoting: str,
    encoding: str,
) -> Parsed:
    data = unpacked(file.name, _bytes(file))
    refuse_impostor(file.name, data, form)
    if form in TABLES:
        return TABLES[form](file.name, data, wanted)
    text = decode(file.name, data, encoding)
    if text.guessed:
        build.progress.message(
            f"{file.name}: read as {text.guessed}, which its bytes say; source.encoding can say else"
        )
    if form in OBJECTS:
        return OBJECTS[form](file.name, text, wanted)
    quoted = quoting == "minimal" or (quoting == "auto" and form == "csv")
    delimiter = "\t"
    if form == "csv":
        delimiter = delimiter_of(file.name, text, wanted, quoted=quoted, names=names)
        if delimiter != ",":
            build.progress.message(f"{file.name}: fields are divided by {delimiter!r}")
    return parse_delimited(file.name, text, wanted, delimiter=delimiter, quoted=quoted, names=names)


def _bytes(file: ObservedFile) -> bytes:
    """The very bytes that were observed: the digest is taken of what is parsed, not of a second reading."""
    try:
        data = read_bytes(file.path) if "://" in file.path else Path(file.path).read_bytes()
    except OSError as error:
        raise TransientError(
            f"cannot be read any more: {error.strerror or error}", where=file.name, fix="run again"
        ) from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise TransientError(
            "the file changed while it was read", where=file.name, fix="run again once nobody writes to it"
        )
    return data
