"""Which rows surely meet an expectation, as Arrow sees it: Great Expectations is asked about the others only.

It takes a Python object for each value, which costs many times more than all else. Nothing here says that a row fails,
or that it is passed over; where nothing is sure, it is asked about every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assets.validated.suite import SIMPLER

if TYPE_CHECKING:
    from assets.validated.frame import Rows

Mask = npt.NDArray[np.bool_]

ACCEPTED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "expect_column_values_to_not_be_null": frozenset(),
        "expect_column_value_lengths_to_be_between": frozenset({"min_value", "max_value"}),
        "expect_column_values_to_be_in_set": frozenset({"value_set"}),
        "expect_column_values_to_not_match_regex": frozenset({"regex"}),
    }
)
"""Arguments beside the column with which it is known what an expectation means."""


def surely_meets(rows: Rows, expectation: Any) -> Mask | None:
    """Which rows have a value and meet an expectation; others may do so too.

    Args:
        rows: some rows, with the columns that the expectation is about.
        expectation: of Great Expectations, one that judges each row by itself.

    Returns:
        Shape [rows], or None where nothing is known of such an expectation.
    """
    config = expectation.configuration
    given = {name: value for name, value in config.kwargs.items() if name != "batch_id" and value is not None}
    column = given.pop("column", None)
    if column not in rows.names or not set(given) <= ACCEPTED.get(config.type, frozenset()):
        return None
    found = _meets(config.type, rows.column(column), given)
    return None if found is None else pc.fill_null(found, False).to_numpy()


def _meets(kind: str, values: pa.ChunkedArray, given: Mapping[str, Any]) -> pa.ChunkedArray | None:
    if kind == "expect_column_values_to_not_be_null":
        return pc.is_valid(values)
    if kind == "expect_column_value_lengths_to_be_between":
        least, most = given.get("min_value", 0), given.get("max_value", np.iinfo(np.int32).max)
        if not isinstance(least, int) or not isinstance(most, int):
            return None
        lengths = pc.utf8_length(values).cast(pa.int64())
        return pc.and_(pc.greater_equal(lengths, least), pc.less_equal(lengths, most))
    if kind == "expect_column_values_to_be_in_set":
        accepted = [value for value in given.get("value_set", ()) if isinstance(value, str)]
        # Null is in no set here: it is passed over.
        return pc.and_(pc.is_valid(values), pc.is_in(values, value_set=pa.array(accepted, pa.string())))
    simpler = SIMPLER.get(given.get("regex", ""))
    return None if simpler is None else pc.invert(pc.match_substring_regex(values, simpler))
