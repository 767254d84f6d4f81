"""Fixture that runs the step `raw` on files given as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.raw.read import read
from assets.raw.rows import origins, read_rows
from assets.store.step import Build, Measurements, Observation, ObservedFile


@dataclass(frozen=True)
class Raw:
    folder: Path
    trace: Path
    measurements: Measurements

    @property
    def rows(self) -> list[dict[str, Any]]:
        return list(read_rows(self.folder).to_pylist())

    @property
    def rejected(self) -> list[dict[str, Any]]:
        return list(pq.read_table(self.folder / "rejected.parquet").to_pylist())

    @property
    def origins(self) -> list[dict[str, Any]]:
        return list(origins(self.folder, self.trace).to_pylist())

    @property
    def content(self) -> str:
        return self.folder.name

    @property
    def pairs(self) -> set[tuple[str | None, str | None]]:
        return {(row["text"], row["label"]) for row in self.rows}


Read = Callable[..., Raw]


def observed(folder: Path, files: Mapping[str, bytes]) -> Observation:
    folder.mkdir(parents=True, exist_ok=True)
    seen = []
    for number, (name, data) in enumerate(sorted(files.items())):
        path = folder / f"{number}.bytes"
        path.write_bytes(data)
        seen.append(ObservedFile(name=name, path=str(path), sha256=hashlib.sha256(data).hexdigest(), size=len(data)))
    return Observation(kind="source", location=", ".join(files), digest="0", files=tuple(seen))


@pytest.fixture
def read_files(make_build: Callable[..., Build], publish: Callable[[Path], Path]) -> Read:
    """`read_files({"a.csv": b"…"}, **arguments)` runs the step and gives its result; `before`: what it stood for."""

    def run(
        files: Mapping[str, bytes], *, keep: tuple[str, ...] = (), before: Raw | None = None, **arguments: Any
    ) -> Raw:
        build = make_build(before=None if before is None else before.folder)
        source = observed(build.work / "source", files)
        build = Build(**{**vars(build), "externals": {"source": source}})
        defaults: dict[str, Any] = {
            "format": "auto",
            "names": None,
            "quoting": "auto",
            "encoding": "utf-8",
            "columns": {"text": "text", "label": "label", "keep": list(keep)},
            "mode": "mirror",
            "sample": None,
        }
        measurements = read(build, **{**defaults, **arguments})
        return Raw(publish(build.content), build.trace, measurements)

    return run
