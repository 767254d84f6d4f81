"""Cleaned rows for the tests of this room."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
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


def write_cleaned(store: Store, batches: Sequence[Sequence[Row]], unwanted: Sequence[Row] = ()) -> Path:
    """Publish what the step `cleaned` would have made of different texts; unwanted rows are not kept."""
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
    files = {"rows.json": digested, "number.json": [len(batch) for batch in batches], "layout/rows.feather": overlay}
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
    """`review_rows([[rows of a shard], …], **arguments)` runs the step on rows that were cleaned."""

    def run(batches: Sequence[Sequence[Row]], **arguments: Any) -> Reviewed:
        build = make_build({"cleaned": write_cleaned(store, batches)})
        defaults = {"quarantine": False, "min_confidence": 0.9, "max_rows": 50_000}
        measurements = review(build, **{**defaults, **arguments})
        return Reviewed(publish_anew(store, build.content), measurements)

    return run
