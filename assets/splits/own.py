"""The side of each row by itself, by the rule that the configuration chooses: by a hash of its text, or by its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assets.splits.by_time import refuse_untimed, sides_since
from assets.splits.rule import Sides, sides_at
from assets.store.links import linked
from assets.store.tables import read_tables
from assets.store.threads import side_by_side

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from assets.store.step import Build
    from assets.store.tables import Ids


def sides_by_hash(build: Build, prepared: Sequence[str], *, salt: str, validation: float, test: float) -> Sides:
    """Sides by where texts stand on the line of `assets.splits.rule`.

    Args:
        build: of the step.
        prepared: digests of the shards of the step `cleaned`.
        salt: changes which texts go where.
        validation: share of rows for validation.
        test: share of rows for the test set; 0 where that came with the data.
    """
    placed = _parts(build, "assets.splits.shard:positions", {"salt": salt}, "prepared", prepared)
    at = read_tables(placed, "positions.feather")["at"].to_numpy()
    return sides_at(at, validation=validation, test=test)


def sides_by_time(
    build: Build, shards: Sequence[str], rows: npt.NDArray[np.intp], *, ids: Ids, by_time: Mapping[str, Any]
) -> Sides:
    """Sides by the times in a column.

    Args:
        build: of the step.
        shards: digests of the shards of the step `raw`.
        rows: which of their rows must have a time.
        ids: identifier of each of their rows.
        by_time: `column`, `validation_from` and `test_from`.

    Raises:
        DataError: a row has no time.
    """
    placed = _parts(build, "assets.splits.by_time:times", {"column": by_time["column"]}, "shard", shards)
    times = read_tables(placed, "times.feather")["time"].to_numpy()
    folders = linked(build.inputs["cleaned"], "shards")
    refuse_untimed(times, rows, ids=ids, shards=folders, column=by_time["column"])
    return sides_since(times, validation_from=by_time["validation_from"], test_from=by_time["test_from"])


def _parts(build: Build, function: str, arguments: Mapping[str, Any], name: str, digests: Sequence[str]) -> list[Path]:
    part = build.part
    assert part is not None

    def place(digest: str) -> Path:
        return part(function, arguments, inputs={name: digest}).content

    placed = []
    with build.progress.bar("shards placed", total=len(digests)) as advance:
        for done in side_by_side(place, digests):
            placed.append(done())
            advance(1)
    return placed
