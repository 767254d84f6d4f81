"""Fixture that runs the step `validated` on rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.store.digests import digest_content, digest_json
from assets.store.step import Build, Measurements

Row = tuple[str | None, ...]


@dataclass(frozen=True)
class Validated:
    build: Build
    measurements: Measurements

    @property
    def rows(self) -> list[dict[str, Any]]:
        return list(pq.read_table(self.build.content / "rows.parquet").to_pylist())

    @property
    def quarantine(self) -> list[dict[str, Any]]:
        return list(pq.read_table(self.build.content / "quarantine.parquet").to_pylist())

    @property
    def reasons(self) -> dict[str | None, tuple[str, str]]:
        """Text of each row in quarantine → expectation and detail."""
        return {row["text"]: (row["expectation"], row["detail"]) for row in self.quarantine}

    @property
    def content(self) -> str:
        return digest_content(self.build.content)

    @property
    def page(self) -> str:
        return (self.build.trace / "data_docs" / "index.html").read_text(encoding="utf-8")


Validate = Callable[..., Validated]


def write_raw(folder: Path, rows: Sequence[Row], rejected: Sequence[tuple[str, str, str]], keep: Sequence[str]) -> None:
    """Write what the step raw would have written: (text, label, kept…) and (line, reason, detail)."""
    for name, columns, records in (
        ("rows", ["text", "label", *keep], [(digest_json(row)[:32], *row) for row in rows]),
        ("rejected", ["line_text", "reason", "detail"], [(digest_json(["rejected", r[0]])[:32], *r) for r in rejected]),
    ):
        schema = pa.schema([(column, pa.string()) for column in ["row_id", *columns]])
        table = pa.Table.from_pylist(
            [dict(zip(schema.names, record, strict=True)) for record in sorted(records)], schema
        )
        pq.write_table(table, folder / f"{name}.parquet")


@pytest.fixture
def validate_rows(make_build: Callable[..., Build]) -> Validate:
    """`validate_rows([(text, label), …], rejected=[(line, reason, detail)], **arguments)` runs the step."""
    from assets.validated.validate import validate

    def run(
        rows: Sequence[Row],
        *,
        rejected: Sequence[tuple[str, str, str]] = (),
        keep: tuple[str, ...] = (),
        **arguments: Any,
    ) -> Validated:
        raw = make_build().content
        write_raw(raw, rows, rejected, keep)
        build = make_build(inputs={"raw": raw})
        defaults: dict[str, Any] = {
            "labels": ["ham", "spam"],
            "text_length": {"min": 1, "max": 20},
            "expectations": [],
            "columns": {"text": "Text", "label": "Label", "keep": list(keep)},
        }
        return Validated(build, validate(build, **{**defaults, **arguments}))

    return run


def expectation(name: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    """An expectation as the YAML has it."""
    return {"type": name, "kwargs": kwargs, "severity": severity}
