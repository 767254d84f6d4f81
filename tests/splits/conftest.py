"""Cleaned rows for the tests of this room."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from assets.cleaned import clean as cleaning
from assets.cleaned.normalise import Form
from assets.store.digests import write_json
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.tiny import make_object, make_shard

Row = tuple[str, str, str | None]
"""text, label, source"""
Batch = Sequence[Row]
Clean = Callable[..., Path]


def row_id(row: Row) -> str:
    return hashlib.sha256(json.dumps(row).encode()).hexdigest()[:32]


@pytest.fixture
def clean(make_build: MakeBuild, store: Store) -> Clean:
    """`clean(batches, similarity=0.6, unicode=None)` runs the step `cleaned` on rows that were accepted.

    `frozen` are those of the frozen test set, or None where there is none.
    """
    number = 0

    def run(
        batches: Sequence[Batch],
        similarity: float | None = 0.6,
        unicode: Form | None = None,
        frozen: Sequence[Row] | None = None,
    ) -> Path:
        nonlocal number
        number += 1
        shards = [list(dict.fromkeys(batch)) for batch in batches]
        layout = [row for shard in shards for row in shard]
        accepted = pa.table({"accepted": [row not in layout[:at] for at, row in enumerate(layout)]})
        digests = [
            make_shard(
                store,
                pa.table(
                    {
                        "row_id": pa.array([row_id(row) for row in shard], pa.string()),
                        "text": pa.array([f" {text}" for text, _, _ in shard], pa.string()),
                        "label": pa.array([label for _, label, _ in shard], pa.string()),
                        "source": pa.array([source for _, _, source in shard], pa.string()),
                    }
                ),
            )
            for shard in shards
        ]
        # Rows that lie differently are the same content; here they are meant to be another object.
        files = {"number.json": number, "rows.json": {}, "layout/rows.feather": accepted}
        validated = store.open("objects", make_object(store, files, {"shards": digests}))
        inputs = {"validated": validated}
        if frozen is not None:
            names = pa.table({"row_id": pa.array(sorted(map(row_id, frozen)), pa.string())})
            inputs["raw"] = store.open("objects", make_object(store, {"frozen.parquet": names}))
        build = make_build(inputs)
        near = None if similarity is None else {"similarity": similarity, "ngram": 1}
        cleaning.clean(
            build,
            unicode=unicode,
            whitespace=True,
            mask_pii=None,
            near_duplicates=near,
            conflicts="quarantine",
            newest_by=None,
        )
        write_json(build.content / "number.json", number)
        return store.open("objects", store.publish("objects", build.content))

    return run
