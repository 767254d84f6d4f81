"""Groups by a column's values, beside those of near-duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.splits.rule import Indices
from assets.store.tables import Ids, distinct, from_hexadecimal

Numbers = npt.NDArray[np.int32]


def values_of(column: pa.ChunkedArray) -> Numbers:
    """The values of a column as numbers from 0; -1 where there is none: null, or nothing but white space."""
    blank = pc.equal(pc.utf8_trim_whitespace(column), "")
    column = pc.if_else(blank, pa.scalar(None, column.type), column)
    numbers = pc.index_in(column, value_set=column.unique().drop_null())
    return numbers.fill_null(-1).to_numpy()  # type: ignore[no-any-return]


def counted(cleaned: Path, ids: Ids) -> npt.NDArray[np.intp]:
    """Rows that were merged into another one or have conflicting labels: they are not kept, but count in groups."""
    tables = [pq.read_table(cleaned / f"{name}.parquet", columns=["row_id"]) for name in ("merged", "quarantine")]
    wanted = from_hexadecimal(pa.concat_tables(tables)["row_id"].to_pylist())
    firsts, which = distinct(np.concatenate([ids, wanted]))
    return firsts[which[len(ids) :]]


def renamed(near: Indices, rows: Indices | npt.NDArray[np.intp]) -> Indices:
    """Name each group after its first row that is kept; groups without one have no name.

    Args:
        near: for each row that near-duplicates hold in a group, a row that names it; else -1.
        rows: those that are kept, in the order of their identifiers.
    """
    # One more place for rows without a group; of several assignments to one place the last one stands.
    names = np.full(len(near) + 1, -1, dtype=np.int32)
    names[near[rows[::-1]]] = rows[::-1]
    return names[near]


def connected(
    near: Indices,
    kept: Indices | npt.NDArray[np.intp],
    others: npt.NDArray[np.intp],
    *,
    keys: Ids,
    values: Numbers | None,
) -> Indices:
    """Find the groups of rows that near-duplicates, equal texts and equal values hold together.

    They are the connected components of texts and values, as nodes: a row connects its text with its value, and
    near-duplicates are connected. That is so for rows that are not kept as well, so that what came in later never takes
    a group apart.

    Args:
        near: for each row that near-duplicates hold in a group, the row that names it; else -1.
        kept: rows that are kept, in the order of their identifiers.
        others: all that are not kept.
        keys: key of each row's text.
        values: value of each row, or -1; None where no column is grouped by: then texts alone connect rows.

    Returns:
        For each row of a group that has kept rows, the first of those; else -1.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = np.concatenate([kept, others])
    values = np.full(len(near), -1, np.int32) if values is None else values
    firsts, text = distinct(keys.take(rows, axis=0))
    text_of = np.full(len(near), -1)
    text_of[rows] = text
    grouped, valued = np.flatnonzero(near >= 0), rows[values[rows] >= 0]
    size = len(firsts) + 1 + int(values.max())
    one = np.concatenate([text_of[grouped], text_of[valued]])
    other = np.concatenate([text_of[near[grouped]], len(firsts) + values[valued]])
    edges = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(size, size))
    found, component = connected_components(edges, directed=False)
    first = np.full(found, -1, dtype=np.int32)
    # Of several assignments to one place the last one stands.
    first[component[text_of[kept[::-1]]]] = kept[::-1]
    group = np.full(len(near), -1, dtype=np.int32)
    group[rows] = first[component[text]]
    return group
