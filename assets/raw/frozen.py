"""Which rows are the frozen test set that the configuration declares."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from assets.errors import ConfigurationError, DataError
from assets.raw.rows import files_of
from assets.store.tables import Ids, among, read_tables

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from assets.store.step import ObservedFile

SHOWN = 10
"""Names or values that an error lists."""


def frozen_rows(
    shards: Sequence[Path],
    ids: Ids,
    files: Sequence[ObservedFile],
    declared: Mapping[str, Any],
    may_be_gone: Collection[str],
) -> npt.NDArray[np.bool_]:
    """For each row of the shards, in their order, whether it is of the frozen test set.

    A row that lies in a file of the test set and in another one is of the test set, wherever it was read first.

    Args:
        shards: folders of the shards.
        ids: identifier of each of their rows.
        files: files of the source.
        declared: `files`, patterns of names; or `column` and the `value` that it has in the test set.
        may_be_gone: patterns whose files may have been taken away, as their rows stay.

    Raises:
        ConfigurationError: a pattern matches no file, and its files may not be gone.
        DataError: no row has the value.
    """
    if declared["files"] is None:
        return _by_value(shards, declared["column"], declared["value"])
    return rows_of_files(shards, ids, _matched(files, declared["files"], may_be_gone))


def rows_of_files(shards: Sequence[Path], ids: Ids, wanted: set[str]) -> npt.NDArray[np.bool_]:
    """For each row of the shards, in their order, whether it lies in one of some files, wherever it was read first.

    Args:
        shards: folders of the shards.
        ids: identifier of each of their rows.
        wanted: digests of the files.
    """
    found = []
    for shard in shards:
        digests = [sha256 for sha256, _ in files_of(shard)]
        places = read_tables([shard], "places.feather", ["row", "file"])
        row, file = (places[name].to_numpy() for name in ("row", "file"))
        of_files = np.array([sha256 in wanted for sha256 in digests], bool)[file]
        rows = np.zeros(read_tables([shard], "ids.feather").num_rows, bool)
        rows[row[of_files & (row >= 0)]] = True
        found.append(rows)
    return among(ids, ids[np.concatenate(found)])


def _matched(files: Sequence[ObservedFile], patterns: Sequence[str], may_be_gone: Collection[str]) -> set[str]:
    """Digests of the files whose names match."""
    matched = {pattern: {file.sha256 for file in files if fnmatchcase(file.name, pattern)} for pattern in patterns}
    unmatched = [repr(pattern) for pattern, digests in matched.items() if not digests and pattern not in may_be_gone]
    if unmatched:
        names = [file.name for file in files]
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        raise ConfigurationError(
            f"{', '.join(unmatched)} matches no file of the source; these are {', '.join(names[:SHOWN])}{more}",
            where="splits.frozen.files",
            fix="write names as they are here; a file has to be in source.files as well",
        )
    return set().union(*matched.values())


def _by_value(shards: Sequence[Path], column: str, value: str) -> npt.NDArray[np.bool_]:
    values = read_tables(shards, "rows.feather", [column])[column]
    rows: npt.NDArray[np.bool_] = pc.fill_null(pc.equal(values, value), fill_value=False).to_numpy()
    if not rows.any():
        there = sorted(values.unique().drop_null().to_pylist())
        more = f" and {len(there) - SHOWN:,} more" if len(there) > SHOWN else ""
        raise DataError(
            f"no row has {value!r} in column {column}; there are {', '.join(map(repr, there[:SHOWN])) or 'none'}{more}",
            where="splits.frozen",
            fix="write the value that the rows of the test set have, or name another column",
        )
    return rows
