"""Parts of the test rows: which rows are in which slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assets.errors import DataError
from assets.times import parse_time

if TYPE_CHECKING:
    from datetime import datetime

SMALL = 30
"""Rows below which a slice is marked as small: its interval says little."""
MOST_VALUES = 20
"""Most values of a column that have a slice of their own, unless they are named."""
MOST_PERIODS = 24
OTHERS, NOTHING = "(others)", "(none)"
"""Names of what is left of a column: other values, and rows without one."""


class Slice(NamedTuple):
    """Some of the rows.

    Attributes:
        name: unlike that of every other slice of one evaluation.
        by: what it is by: `column`, `text_length`, `source`, `label` or `time`.
        rows: which rows are in it, in their order.
    """

    name: str
    by: str
    rows: npt.NDArray[np.bool_]


def slices_of(
    rows: pa.Table, declared: Sequence[Mapping[str, Any]], files: Mapping[str, Sequence[bool]], labels: Sequence[str]
) -> list[Slice]:
    """The slices that are declared and have rows.

    Each row is in exactly one slice of every declaration, but of that by source: there it may lie in several files.

    Args:
        rows: text, label and the columns that slices are by.
        declared: as the configuration has them; see `assets.config.evaluation.Slice`.
        files: pattern of files → which rows lie in files of it.
        labels: of the task, in their order.

    Raises:
        DataError: a row has no time where slices are by time.
    """
    found: list[Slice] = []
    for each in declared:
        if each["by"] == "source":
            found += _by_source(files, len(rows))
        else:
            names, codes = _PARTITIONS[each["by"]](rows, each, labels)
            found += [Slice(name, each["by"], codes == at) for at, name in enumerate(names)]
    return [each for each in found if each.rows.any()]


def names_of_rows(slices: Sequence[Slice], rows: int) -> list[list[str]]:
    """Names of the slices that each row is in."""
    found: list[list[str]] = [[] for _ in range(rows)]
    for each in slices:
        for at in np.flatnonzero(each.rows):
            found[at].append(each.name)
    return found


Codes = npt.NDArray[np.intp]


def _by_source(files: Mapping[str, Sequence[bool]], rows: int) -> Iterator[Slice]:
    rest = np.ones(rows, bool)
    for pattern, inside in files.items():
        there = np.asarray(inside, bool)
        rest &= ~there
        yield Slice(f"source {pattern}", "source", there)
    yield Slice(f"source {OTHERS}", "source", rest)


def _by_column(rows: pa.Table, declared: Mapping[str, Any], _labels: Sequence[str]) -> tuple[list[str], Codes]:
    column = declared["column"]
    values = rows[column].combine_chunks()
    named = declared.get("values")
    if named is None:
        counts = [(-each["counts"], each["values"]) for each in pc.value_counts(values.drop_null()).to_pylist()]
        named = [value for _, value in sorted(counts)[:MOST_VALUES]]
    codes = pc.index_in(values, value_set=pa.array(named, pa.string())).fill_null(len(named)).to_numpy().astype(np.intp)
    codes[values.is_null().to_numpy(zero_copy_only=False)] = len(named) + 1
    # A value may be called as what is left is.
    return [*(f"{column}={value}" for value in named), f"{column} {OTHERS}", f"{column} {NOTHING}"], codes


def _by_text_length(rows: pa.Table, declared: Mapping[str, Any], _labels: Sequence[str]) -> tuple[list[str], Codes]:
    limits = declared["limits"]
    lengths = pc.utf8_length(rows["text"]).to_numpy()
    between = [f"{low}–{high - 1}" for low, high in pairwise(limits)]
    names = [f"below {limits[0]}", *between, f"from {limits[-1]}"]
    return [f"text length {name}" for name in names], np.searchsorted(limits, lengths, side="right")


def _by_label(rows: pa.Table, _declared: Mapping[str, Any], labels: Sequence[str]) -> tuple[list[str], Codes]:
    codes = pc.index_in(rows["label"], value_set=pa.array(labels, pa.string())).to_numpy()
    return [f"label {label}" for label in labels], codes.astype(np.intp)


def _by_time(rows: pa.Table, declared: Mapping[str, Any], _labels: Sequence[str]) -> tuple[list[str], Codes]:
    column, every = declared["column"], declared["every"]
    said = []
    for row_id, value in zip(rows["row_id"].to_pylist(), rows[column].to_pylist(), strict=True):
        said.append(NOTHING if not (value or "").strip() else _PERIODS[every](_time(value, column, row_id)))
    periods = sorted(set(said) - {NOTHING})
    old = set(periods[:-MOST_PERIODS])
    names = [*([f"before {periods[-MOST_PERIODS]}"] if old else []), *periods[-MOST_PERIODS:], NOTHING]
    place = {name: at for at, name in enumerate(names)}
    return [f"{column} {name}" for name in names], np.array([place.get(name, 0) for name in said], np.intp)


def _time(value: str, column: str, row_id: str) -> datetime:
    from datetime import UTC

    try:
        return parse_time(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise DataError(
            f"{value!r} in column {column} of row {row_id} is no time in ISO 8601",
            where="evaluation.slices",
            fix="correct it in the source, add an expectation that puts such rows into quarantine, or slice by column",
        ) from None


_PERIODS: Mapping[str, Callable[[datetime], str]] = {
    "day": lambda time: f"{time:%Y-%m-%d}",
    "month": lambda time: f"{time:%Y-%m}",
    "quarter": lambda time: f"{time:%Y}-Q{(time.month + 2) // 3}",
    "year": lambda time: f"{time:%Y}",
}
_PARTITIONS: Mapping[str, Callable[[pa.Table, Mapping[str, Any], Sequence[str]], tuple[list[str], Codes]]] = {
    "column": _by_column,
    "text_length": _by_text_length,
    "label": _by_label,
    "time": _by_time,
}
