"""Fixture that cleans rows given as (number, text, label) in shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.cleaned.clean import clean
from assets.cleaned.rows import read_quarantine, read_rows, read_withheld
from assets.store.step import Build, Measurements
from assets.store.store import Store
from tests.tiny import make_object, make_shard
from tests.validated.conftest import publish_anew

Row = tuple[int, str | None, str | None]
"""Its number stands for its row_id: 32 hexadecimal digits."""
Table = list[dict[str, Any]]


def shown(table: pa.Table) -> Table:
    """Rows with numbers for identifiers."""
    identifiers = {"row_id", "kept", "group"}
    return [
        {name: int(value, 16) if name in identifiers else value for name, value in row.items()}
        for row in table.to_pylist()
    ]


@dataclass(frozen=True)
class Cleaned:
    """What the step made; tables have numbers for identifiers."""

    folder: Path
    measurements: Measurements

    @property
    def digest(self) -> str:
        return self.folder.name

    @property
    def rows(self) -> Table:
        return shown(read_rows(self.folder))

    @property
    def withheld(self) -> Table:
        return shown(read_withheld(self.folder))

    @property
    def merged(self) -> Table:
        return shown(pq.read_table(self.folder / "merged.parquet"))

    @property
    def quarantine(self) -> Table:
        return shown(read_quarantine(self.folder))

    @property
    def groups(self) -> dict[int, int]:
        return {row["row_id"]: row["group"] for row in self.rows}


Clean = Callable[..., Cleaned]


@pytest.fixture
def clean_rows(make_build: Callable[..., Build], store: Store) -> Clean:
    """`clean_rows([[rows of a shard], …], refused=[…], source={…}, frozen=[…], **arguments)`.

    A row that an earlier shard has too, and those that are refused, are not accepted. Rows have a further column.
    `frozen` are the rows of the frozen test set, or None without one; `relabelled` row → row that it came as. `number`
    is one more column, where it is given.
    """

    def run(
        shards: Sequence[Sequence[Row]],
        *,
        refused: Sequence[int] = (),
        source: Mapping[int, str | None] = MappingProxyType({}),
        frozen: Sequence[int] | None = None,
        number: Mapping[int, str | None] | None = None,
        relabelled: Mapping[int, int] = MappingProxyType({}),
        **arguments: Any,
    ) -> Cleaned:
        digests, seen, accepted = [], set(refused), []
        for rows in shards:
            columns = [
                (f"{number:032x}", text, label, source.get(number, f"from {number}")) for number, text, label in rows
            ]
            values = zip(*columns, strict=True) if rows else [()] * 4
            named = zip(("row_id", "text", "label", "source"), values, strict=True)
            table = pa.table({name: pa.array(each, pa.string()) for name, each in named})
            if number is not None:
                table = table.append_column("number", pa.array([number.get(row[0]) for row in rows], pa.string()))
            digests.append(make_shard(store, table))
            for row in rows:
                accepted.append(row[0] not in seen)
                seen.add(row[0])
        overlay = {"layout/rows.feather": pa.table({"accepted": np.array(accepted, bool)})}
        ruled = {
            name: pa.array([f"{number:032x}" for number in each], pa.string())
            for name, each in (("row_id", relabelled), ("came_as", relabelled.values()))
        }
        files = {"rows.json": [digests, accepted], "upheld.parquet": pa.table(ruled), **overlay}
        validated = make_object(store, files, {"shards": digests})
        inputs = {"validated": store.open("objects", validated)}
        if frozen is not None:
            names = pa.table({"row_id": pa.array([f"{number:032x}" for number in sorted(frozen)], pa.string())})
            inputs["raw"] = store.open("objects", make_object(store, {"frozen.parquet": names}))
        build = make_build(inputs=inputs)
        defaults = {
            "unicode": "NFC",
            "whitespace": True,
            "mask_pii": None,
            "near_duplicates": {"similarity": 0.6, "ngram": 3},
            "conflicts": "quarantine",
            "newest_by": None,
        }
        measurements = clean(build, **{**defaults, **arguments})
        return Cleaned(publish_anew(store, build.content), measurements)

    return run
