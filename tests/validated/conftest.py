"""Fixture that runs the step `validated` on rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.config.pipeline import ClassificationTask, Pipeline, PretrainedModel, Source
from assets.store.digests import digest_content, digest_json, write_json
from assets.store.links import write_links
from assets.store.step import Build, Measurements
from assets.store.store import Store
from assets.store.tables import ID, as_ids, distinct, write_table
from assets.validated.rows import accepted, read_rows
from assets.validated.rulings import FILE, observe

CONFIG = Pipeline(
    task=ClassificationTask(labels=("ham", "spam")),
    source=Source(files=("a.csv",)),
    base_model=PretrainedModel(name="owner/name"),
)
Row = tuple[str | None, ...]
Rejected = tuple[str, str, str]


@dataclass(frozen=True)
class Validated:
    folder: Path
    trace: Path
    measurements: Measurements

    @property
    def rows(self) -> list[dict[str, Any]]:
        return list(read_rows(self.folder).to_pylist())

    @property
    def accepted(self) -> list[bool]:
        return list(accepted(self.folder).tolist())

    @property
    def quarantine(self) -> list[dict[str, Any]]:
        return list(pq.read_table(self.folder / "quarantine.parquet").to_pylist())

    @property
    def reasons(self) -> dict[str | None, tuple[str, str]]:
        """Text of each row in quarantine → expectation and detail."""
        return {row["text"]: (row["expectation"], row["detail"]) for row in self.quarantine}

    @property
    def content(self) -> str:
        return self.folder.name

    @property
    def page(self) -> str:
        return (self.trace / "data_docs" / "index.html").read_text(encoding="utf-8")


Validate = Callable[..., Validated]


def ruling(text: str, label: str | None, action: str, **more: str) -> dict[str, Any]:
    """A ruling as it is written."""
    return {"text": text, "label": label, "action": action, "why": "seen", "by": "ann", "when": "2026-03-01", **more}


def publish_anew(store: Store, content: Path) -> Path:
    """Publish a folder in place of what has the same digest, so that what is read lies as this folder says."""
    digest = digest_content(content)
    store.storage.remove(f"objects/{digest[:2]}/{digest}")
    return store.open("objects", store.publish("objects", content))


def write_raw(
    make_build: Callable[..., Build],
    store: Store,
    shards: Sequence[Sequence[Row]],
    rejected: Sequence[Rejected],
    keep: Sequence[str],
) -> Path:
    """Publish what the step raw would have made: of (text, label, kept…) in shards and (line, reason, detail)."""
    digests, ids = [], []
    for rows in shards:
        content = make_build().content
        ids.append(pa.table({"row_id": pa.array([bytes.fromhex(digest_json(row)[:32]) for row in rows], ID)}))
        columns = zip(*rows, strict=True) if rows else [()] * (2 + len(keep))
        named = zip(["text", "label", *keep], columns, strict=True)
        write_table(content / "ids.feather", ids[-1])
        write_table(content / "rows.feather", pa.table({name: pa.array(each, pa.string()) for name, each in named}))
        digests.append(store.publish("objects", content))
    all_ids = as_ids(pa.concat_tables(ids)["row_id"])
    kept = np.zeros(len(all_ids), dtype=bool)
    kept[distinct(all_ids)[0]] = True
    content = make_build().content
    write_json(content / "rows.json", sorted(all_ids[kept].tolist()))
    schema = pa.schema([(name, pa.string()) for name in ("row_id", "line_text", "reason", "detail")])
    lines = sorted((digest_json(["rejected", line[0]])[:32], *line) for line in rejected)
    pq.write_table(
        pa.Table.from_pylist([dict(zip(schema.names, line, strict=True)) for line in lines], schema),
        content / "rejected.parquet",
    )
    write_links(content, {"shards": digests})
    write_table(content / "layout" / "rows.feather", pa.table({"kept": kept}))
    return publish_anew(store, content)


@pytest.fixture
def validate_rows(make_build: Callable[..., Build], store: Store) -> Validate:
    """`validate_rows([(text, label), …], rejected=[(line, reason, detail)], **arguments)` runs the step.

    Further shards are given as `more=[[(text, label), …], …]`, and rulings as `rulings=[ruling(…), …]`.
    """
    from assets.validated.validate import validate

    def run(
        rows: Sequence[Row],
        *,
        more: Sequence[Sequence[Row]] = (),
        rejected: Sequence[Rejected] = (),
        keep: tuple[str, ...] = (),
        rulings: Sequence[dict[str, Any]] = (),
        **arguments: Any,
    ) -> Validated:
        build = make_build(inputs={"raw": write_raw(make_build, store, [rows, *more], rejected, keep)})
        (build.work / FILE).write_text("".join(f"{json.dumps(each)}\n" for each in rulings))
        build = replace(build, externals=observe(build.work, CONFIG))
        defaults: dict[str, Any] = {
            "labels": ["ham", "spam"],
            "text_length": {"min": 1, "max": 20},
            "expectations": [],
            "language": None,
            "columns": {"text": "Text", "label": "Label", "keep": list(keep)},
        }
        measurements = validate(build, **{**defaults, **arguments})
        return Validated(publish_anew(store, build.content), build.trace, measurements)

    return run


def expectation(name: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    """An expectation as the YAML has it."""
    return {"type": name, "kwargs": kwargs, "severity": severity}
