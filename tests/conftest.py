"""Fixtures that every room's tests share."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from assets.progress import Event, Progress
from assets.store.build import get_or_build
from assets.store.ingredients import Making, made_part
from assets.store.step import Build, Measurements, Observation, ObservedFile, Part
from assets.store.store import Store

MakeBuild = Callable[..., Build]

SUMMARY = "summary"
"""Property of a test (`record_property`) whose value is a line of the summary: what it prints, xdist swallows."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have counted, passed or failed, below their results."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == SUMMARY:
                    terminalreporter.write_line(str(value))


@pytest.fixture
def events() -> list[Event]:
    """Progress events of the builds made by `make_build`, in order."""
    return []


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of this test's own."""
    return Store(str(tmp_path / "store"), tmp_path / "cache")


@pytest.fixture
def publish(store: Store) -> Callable[[Path], Path]:
    """Publish a folder as an object; returns its folder in the store. The folder itself is gone."""
    return lambda folder: store.open("objects", store.publish("objects", folder))


@pytest.fixture
def make_build(tmp_path: Path, events: list[Event], store: Store) -> MakeBuild:
    """Make what a step's function is given: `make_build(inputs={"raw": folder}, externals={...})`.

    Inputs are folders of `publish`, where anything reads parts of them or their digests. Parts are real ones.
    """
    numbers, making = count(1), Making()

    def part(
        function: str,
        arguments: Mapping[str, Any],
        *,
        inputs: Mapping[str, str] = MappingProxyType({}),
        files: Sequence[ObservedFile] = (),
        environment: Sequence[str] = (),
    ) -> Part:
        key = made_part(function, arguments, inputs, files, environment, making)

        def call(folder: Path) -> Measurements:
            build = make({name: store.open("objects", digest) for name, digest in inputs.items()}, key.externals)
            build = replace(build, content=folder / "content", trace=folder / "trace")
            module, _, name = function.partition(":")
            return getattr(importlib.import_module(module), name)(build, **arguments)  # type: ignore[no-any-return]

        record, _ = get_or_build(store, key, call, work=tmp_path / "work" / key.key, waiting=print)
        return Part(
            store.open("objects", record.content, reading=False), record.content, store.measurements(record.trace)
        )

    def make(
        inputs: Mapping[str, Path] | None = None, externals: Mapping[str, Observation] | None = None, **more: object
    ) -> Build:
        base = tmp_path / f"build-{next(numbers)}"
        for folder in ("content", "trace", "work"):
            (base / folder).mkdir(parents=True)
        given: dict[str, Any] = {
            "inputs": dict(inputs or {}),
            "externals": dict(externals or {}),
            "content": base / "content",
            "trace": base / "trace",
            "work": base / "work",
            "progress": Progress("test", events.append),
            "pipeline": "tiny",
            "part": part,
            "digests": {name: folder.name for name, folder in (inputs or {}).items()},
        }
        return Build(**{**given, **more})

    return make
