"""Cleaned rows for the tests of this room."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.review.review import review
from assets.review.rows import read_suspects
from assets.store.step import Measurements
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.tiny import make_object, make_shard
from tests.validated.conftest import publish_anew

Row = tuple[str, str]
"""text, label; a text's last word after ` / ` names the group of near-duplicates that it is in."""


def row_id(row: Row) -> str:
    return hashlib.sha256(repr(row).encode()).hexdigest()[:32]


def write_cleaned(
    store: Store,
    batches: Sequence[Sequence[Row]],
    unwanted: Sequence[Row] = (),
    equal: Mapping[Row, Row] = MappingProxyType({}),
) -> Path:
    """Publish what the step `cleaned` would have made of different texts.

    Unwanted rows are not kept; `equal` are rows that were merged, and into which.
    """
    layout = [row for batch in batches for row in batch]
    ids = [row_id(row) for row in layout]
    kept = np.array([row not in unwanted for row in layout])
    lowest: dict[str, int] = {}
    for at in sorted(np.flatnonzero(kept).tolist(), key=ids.__getitem__):
        lowest.setdefault(layout[at][0].rpartition(" / ")[2], at)
    group = [lowest.get(text.rpartition(" / ")[2], -1) for text, _ in layout]
    links: dict[str, list[str]] = {"shards": [], "prepared": []}
    for batch in batches:
        texts, labels = (pa.array([row[column] for row in batch], pa.string()) for column in (0, 1))
        links["shards"].append(
            make_shard(store, pa.table({"row_id": [row_id(row) for row in batch], "text": texts, "label": labels}))
        )
        links["prepared"].append(make_object(store, {"texts.feather": pa.table({"text": texts})}))
    overlay = pa.table(
        {"kept": kept, "count": kept.astype(np.int32), "group": np.where(kept, group, -1).astype(np.int32)}
    )
    digested = sorted(name for name, there in zip(ids, kept, strict=True) if there)
    merged = pa.table({"row_id": [row_id(each) for each in equal], "kept": [row_id(equal[each]) for each in equal]})
    files = {
        "rows.json": digested,
        "number.json": [len(batch) for batch in batches],
        "merged.parquet": merged.cast(pa.schema([("row_id", pa.string()), ("kept", pa.string())])),
        "layout/rows.feather": overlay,
    }
    return store.open("objects", make_object(store, files, links))


@dataclass(frozen=True)
class Reviewed:
    folder: Path
    measurements: Measurements

    @property
    def suspects(self) -> list[dict[str, Any]]:
        return list(read_suspects(self.folder).to_pylist())

    @property
    def quarantine(self) -> list[dict[str, Any]]:
        return list(pq.read_table(self.folder / "quarantine.parquet").to_pylist())

    @property
    def texts(self) -> list[str]:
        return [row["text"] for row in self.suspects]


Review = Callable[..., Reviewed]


@pytest.fixture
def review_rows(make_build: MakeBuild, store: Store) -> Review:
    """`review_rows([[rows of a shard], …], upheld=[…], **arguments)` runs the step on rows that were cleaned.

    `upheld` are the rows whose label a person confirmed; for `equal` see `write_cleaned`.
    """

    def run(
        batches: Sequence[Sequence[Row]],
        upheld: Sequence[Row] = (),
        equal: Mapping[Row, Row] = MappingProxyType({}),
        **arguments: Any,
    ) -> Reviewed:
        names = pa.array([row_id(row) for row in upheld], pa.string())
        ruled = make_object(store, {"upheld.parquet": pa.table({"row_id": names})} if upheld else {"none.json": None})
        cleaned = write_cleaned(store, batches, equal=equal)
        build = make_build({"validated": store.open("objects", ruled), "cleaned": cleaned})
        defaults = {"quarantine": False, "min_confidence": 0.9, "max_rows": 50_000}
        measurements = review(build, **{**defaults, **arguments})
        return Reviewed(publish_anew(store, build.content), measurements)

    return run
