"""Which rows lie in which files, for the slices of evaluation: a file's name is in no later content."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.raw.frozen import rows_of_files
from assets.raw.rows import SOURCES, read_sources, shard_ids
from assets.store.tables import hexadecimal, order_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from assets.raw.memory import Memory
    from assets.store.step import Build
    from assets.store.tables import Ids


def write_sources(
    build: Build,
    shards: Sequence[Path],
    memory: Memory,
    ids: Ids,
    kept: npt.NDArray[np.bool_],
    patterns: Sequence[str],
) -> None:
    """Write which of the rows that are kept lie in files of each pattern; a row may lie in several.

    Args:
        build: external input `source`.
        shards: folders of the shards.
        memory: of files that are gone: where such rows lay is known from before.
        ids: identifier of each row of the shards.
        kept: which of these rows count.
        patterns: of names of files.
    """
    files = build.externals["source"].files
    found = []
    for pattern in patterns:
        wanted = {file.sha256 for file in files if fnmatchcase(file.name, pattern)}
        if not wanted:
            build.progress.message(f"evaluation.slices: {pattern!r} matches no file of the source")
        there = ids[rows_of_files(shards, ids, wanted) & kept]
        names = hexadecimal(there[order_of(there)])
        if memory.retained is not None and build.before is not None and (build.before / SOURCES).is_file():
            before = read_sources(build.before).filter(pc.field("files") == pattern)["row_id"]
            retained = before.filter(pc.is_in(before, value_set=hexadecimal(shard_ids([memory.retained]))))
            names = pa.chunked_array([names, *retained.chunks]).unique()
        names = names.sort()
        found.append(pa.table({"files": pa.repeat(pattern, len(names)), "row_id": names}))
    pq.write_table(pa.concat_tables(found), build.content / SOURCES, compression="zstd")
