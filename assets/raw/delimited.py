"""CSV and TSV: row by row, by Python's reader; the same for all rows at once where nothing is out of order."""

from __future__ import annotations

import codecs
import csv
import itertools
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv as arrow_csv

from assets.errors import DataError
from assets.raw.parse import Fault, Parsed, assemble, escape, positions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from assets.raw.decoding import Text

DELIMITERS = (",", "\t", ";", "|")
"""What may divide the fields of a CSV file."""
LOOKED_AT = 100
"""Rows by which the delimiter of a file without a header line is found."""
FIELD_LIMIT = 131_072
"""Longest field, in characters; a longer one is a quote that is not closed."""
STEP_BYTES = 1 << 24
BLOCK_BYTES = 1 << 20
"""What Arrow reads at once; longer than any row that it is given."""

Places = npt.NDArray[np.int64]


def delimiter_of(name: str, text: Text, wanted: Sequence[str], *, quoted: bool, names: Sequence[str] | None) -> str:
    """What divides the fields of a CSV file: the one by which its header line has all wanted columns.

    Without a header line: the comma if by it half of the first rows have as many fields as there are names, else the
    one by which all have. Where none does, the comma or what comes nearest, so that what is wrong can be told.

    Args:
        name: the file's name, for messages.
        text: its content.
        wanted: columns to take, at least two.
        quoted: whether `"` quotes fields.
        names: the columns of a file without a header line.

    Raises:
        DataError: several do, and the comma is not one of them.
    """
    first = {each: _first(text, each, quoted, 1 if names is None else LOOKED_AT) for each in DELIMITERS}
    if names is None:
        headers = {each: records[0] if records else [] for each, records in first.items()}
        fits = [each for each, header in headers.items() if set(wanted) <= set(header)]
        nearest = max(DELIMITERS, key=lambda each: (len(set(wanted) & set(headers[each])), len(headers[each])))
    else:
        right = {each: sum(len(record) == len(names) for record in records) for each, records in first.items()}
        fits = [each for each in DELIMITERS if right[each] == len(first[each]) > 0]
        nearest = ","
        if 2 * right[","] >= len(first[","]):
            return ","
    if len(fits) > 1 and "," not in fits:
        raise DataError(
            f"the fields may be divided by {' or by '.join(map(repr, fits))}",
            where=name,
            fix="write the file with commas",
        )
    return fits[0] if fits else nearest


def _first(text: Text, delimiter: str, quoted: bool, count: int) -> list[list[str]]:
    """The first records; an empty one where reading ends because quotes are out of order."""
    records: list[list[str]] = []
    try:
        records.extend(
            itertools.islice((record for record in _reader(text.lines(), delimiter, quoted) if record), count)
        )
    except csv.Error:
        records.append([])
    return records


def parse_delimited(
    name: str, text: Text, wanted: Sequence[str], *, delimiter: str, quoted: bool, names: Sequence[str] | None
) -> Parsed:
    """Parse CSV or TSV.

    Args:
        name: the file's name, for messages.
        text: its content.
        wanted: columns to take, at least two.
        delimiter: between fields.
        quoted: whether `"` quotes fields.
        names: the columns of a file without a header line.

    Raises:
        DataError: the header cannot be read, or a wanted column is missing or there twice.
    """
    header, skipped = (list(names), 0) if names else _header(name, text, delimiter, quoted)
    columns = positions(name, header, wanted, or_else="; if the file has no header line, set source.names")
    fast = None if text.utf8 is None else at_once(text.utf8, columns, len(header), skipped, delimiter, quoted)
    if fast is None:
        return one_by_one(text, wanted, columns, len(header), skipped, delimiter, quoted)
    return fast._replace(rows=fast.rows.rename_columns(list(wanted)))


def one_by_one(
    text: Text, wanted: Sequence[str], columns: Sequence[int], width: int, skipped: int, delimiter: str, quoted: bool
) -> Parsed:
    """Parse row by row, whatever is in the file.

    Args:
        text: the file's content.
        wanted: columns to take.
        columns: where they are.
        width: how many columns there are.
        skipped: lines of the header.
        delimiter: between fields.
        quoted: whether `"` quotes fields.
    """
    lines = list(text.lines())
    reader = _reader(itertools.islice(lines, skipped, None), delimiter, quoted)
    take = itemgetter(*columns)
    records: list[tuple[str, ...]] = []
    starts: list[int] = []
    ends: list[int] = []
    faults: list[Fault] = []
    done = skipped
    while done < len(lines):
        start = done
        try:
            record: list[str] = next(reader, [])
        except csv.Error as error:
            # Each line that an unclosed quote swallowed counts by itself: one stray quote must not hide many rows.
            why = (
                f"a field is longer than {FIELD_LIMIT:,} characters; is a quote not closed?"
                if "field limit" in str(error)
                else "quotes are not closed or not escaped"
            )
            done = skipped + reader.line_num
            faults.extend(
                Fault(number + 1, _shown(lines, number, number + 1), "unreadable", why) for number in range(start, done)
            )
            continue
        done = skipped + reader.line_num
        if len(record) == width:
            records.append(take(record))
            starts.append(start)
            ends.append(done)
        elif record:
            faults.append(_ragged(start + 1, _shown(lines, start, done), len(record), width))
    return assemble(
        wanted,
        list(zip(*records, strict=True)) if records else [()] * len(wanted),
        [start + 1 for start in starts],
        faults,
        lambda index: _shown(lines, starts[index], ends[index]),
        damaged=text.damaged,
    )


def at_once(
    utf8: bytes, columns: Sequence[int], width: int, skipped: int, delimiter: str, quoted: bool
) -> Parsed | None:
    """Parse all rows at once, by Arrow; None where that might not give what reading row by row gives.

    Every condition under which the two differ is looked for before: quotes that do not enclose a whole field, lone
    carriage returns, fields beyond the limit. Rows with another number of fields are left out, and counted anew.
    """
    if utf8.count(b"\r") != utf8.count(b"\r\n"):
        return None
    view = np.frombuffer(utf8, np.uint8)
    quotes = _places(view, ord('"')) if quoted else np.empty(0, np.int64)
    if len(quotes) and not _enclose(view, quotes, delimiter):
        return None
    starts, ends, lines = _records(view, quotes)
    below = np.searchsorted(lines, skipped, side="right")
    starts, ends, lines = starts[below:], ends[below:], lines[below:]
    # Arrow takes a byte order mark off, wherever it is given the rows from.
    if not len(lines) or (ends - starts).max() > FIELD_LIMIT or utf8.startswith(codecs.BOM_UTF8, starts[0]):
        return None
    skipped_rows = 0

    def skip(_row: Any) -> str:
        nonlocal skipped_rows
        skipped_rows += 1
        return "skip"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(pa.py_buffer(utf8).slice(int(starts[0]))),
            read_options=arrow_csv.ReadOptions(column_names=list(map(str, range(width))), block_size=BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=bool(len(quotes)),
                invalid_row_handler=skip,
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=list(map(str, columns)),
                column_types={str(column): pa.string() for column in columns},
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    faults: list[Fault] = []
    if skipped_rows:
        fields = _fields(view, quotes, delimiter, starts)
        for index in np.flatnonzero(fields != width):
            shown = utf8[starts[index] : ends[index]].decode().rstrip("\r\n")
            faults.append(_ragged(int(lines[index]), shown, int(fields[index]), width))
        lines = lines[fields == width]
    return Parsed(table, lines, faults) if table.num_rows == len(lines) else None


def _places(view: npt.NDArray[np.uint8], byte: int) -> Places:
    """Where a byte is."""
    found = [np.flatnonzero(view[at : at + STEP_BYTES] == byte) + at for at in range(0, len(view), STEP_BYTES)]
    return np.concatenate([np.empty(0, np.int64), *found])


def _enclose(view: npt.NDArray[np.uint8], quotes: Places, delimiter: str) -> bool:
    """Whether every quote opens a field at its beginning, closes it at its end, or is doubled inside.

    Then they alternate: each second one closes, and is followed by what ends a field or by one that opens again.
    """
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    before = view[opening[opening > 0] - 1]
    after = view[closing[closing < len(view) - 1] + 1]
    quote, division = ord('"'), ord(delimiter)
    return bool(
        np.isin(before, [division, quote, ord("\n")]).all()
        and np.isin(after, [division, quote, ord("\n"), ord("\r")]).all()
    )


def _records(view: npt.NDArray[np.uint8], quotes: Places) -> tuple[Places, Places, Places]:
    """Where each record that is not blank starts and ends, and its line; line ends between quotes end none."""
    breaks = _places(view, ord("\n"))
    if len(view) and view[-1] != ord("\n"):
        breaks = np.append(breaks, len(view))
    outside = np.flatnonzero(np.searchsorted(quotes, breaks) % 2 == 0)
    ends = breaks[outside]
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)[: len(ends)]
    lines = np.concatenate([[1], outside[:-1] + 2]).astype(np.int64)[: len(ends)]
    lengths = ends - starts
    blank = (lengths == 0) | ((lengths == 1) & (view[ends - 1] == ord("\r")))
    return starts[~blank], ends[~blank], lines[~blank]


def _fields(view: npt.NDArray[np.uint8], quotes: Places, delimiter: str, starts: Places) -> Places:
    """How many fields each record has."""
    divisions = _places(view, ord(delimiter))
    divisions = divisions[np.searchsorted(quotes, divisions) % 2 == 0]
    divisions = divisions[divisions >= starts[0]]
    return np.bincount(np.searchsorted(starts, divisions, side="right") - 1, minlength=len(starts)) + 1


def _ragged(line: int, shown: str, fields: int, width: int) -> Fault:
    return Fault(line, shown, "ragged_row", f"{fields} fields instead of {width}")


def _reader(lines: Iterable[str], delimiter: str, quoted: bool) -> Any:
    csv.field_size_limit(FIELD_LIMIT)
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True)


def _header(name: str, text: Text, delimiter: str, quoted: bool) -> tuple[list[str], int]:
    """Names of the columns, and how many lines they take."""
    reader = _reader(text.lines(), delimiter, quoted)
    try:
        header: list[str] = next(record for record in reader if record)
    except csv.Error as error:
        raise DataError(
            f"the header line cannot be read: {error}",
            where=name,
            fix="correct its quotes, or set source.quoting: none if quotes are plain characters in this file",
        ) from error
    return header, reader.line_num


def _shown(lines: Sequence[str], start: int, end: int) -> str:
    return escape("".join(lines[start:end]).rstrip("\r\n"))
