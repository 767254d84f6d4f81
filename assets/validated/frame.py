"""Rows as Great Expectations takes them: a table of Python texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assets.store.tables import Ids, hexadecimal, order_of
from assets.validated.language import LANGUAGE, SCRIPT, languages_of, scripts_of
from assets.validated.suite import STRIPPED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    import pandas as pd

Places = npt.NDArray[np.intp]
"""Where rows are in a table."""


class Rows(NamedTuple):
    """Rows of one or more shards, one shard after another: all of them, or those that anything is asked about.

    Attributes:
        ids: row_id of each.
        table: text, label, further columns; those that are needed.
        names: all columns that expectations see.
        known: their places among all rows, ascending; None if they are all.
    """

    ids: Ids
    table: pa.Table
    names: Sequence[str]
    known: Places | None = None

    def some(self, places: Places, columns: Collection[str]) -> Rows:
        """Rows at some places, in the order of these, with some columns of the table."""
        table = self.table.select([name for name in self.table.column_names if name in columns])
        at = self._at(places)
        return Rows(self.ids[at], table.take(pa.array(at)), self.names)

    def by_id(self, places: Places) -> Places:
        """Places in the order of row_id."""
        return places[order_of(self.ids[self._at(places)])]

    def _at(self, places: Places) -> Places:
        if self.known is None:
            return places
        assert np.isin(places, self.known).all(), "a row that was not read"
        return np.searchsorted(self.known, places)

    def column(self, name: str) -> pa.ChunkedArray:
        """A column that expectations see."""
        if name == "row_id":
            return pa.chunked_array([hexadecimal(self.ids)])
        if name == SCRIPT:
            return pa.chunked_array([scripts_of(self.table["text"])])
        if name == LANGUAGE:
            return pa.chunked_array([languages_of(self.table["text"])])
        # It strips what str.strip does.
        return pc.utf8_trim_whitespace(self.table["text"]) if name == STRIPPED else self.table[name]

    def frame(self, wanted: Collection[str]) -> pd.DataFrame:
        """A table for Great Expectations; null is None. A column that is not wanted is there and holds only nulls."""
        import pandas as pd

        columns = {
            name: self.column(name).to_numpy(zero_copy_only=False) if name in wanted else None for name in self.names
        }
        return pd.DataFrame(columns, index=pd.RangeIndex(len(self.ids)), dtype=object)


def columns_seen(further: Iterable[str], derived: Iterable[str] = ()) -> list[str]:
    """The columns that expectations see, in the order in which they see them.

    Args:
        further: `source.columns.keep`.
        derived: those of `assets.validated.language` that are asked for; what they say depends on libraries that are
            part of the key only then.
    """
    return ["row_id", "text", "label", *further, STRIPPED, *derived]


def named(expectations: Iterable[Any], columns: Iterable[str]) -> set[str]:
    """Columns whose names occur in the arguments of expectations, wherever that is: also inside a condition."""
    texts = {text for expectation in expectations for text in _texts(expectation.configuration.kwargs)}
    return {column for column in columns if any(column in text for text in texts)}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
