"""Fixtures that every room's tests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from assets.progress import Event, Progress
from assets.store.step import Build, Observation

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
def make_build(tmp_path: Path, events: list[Event]) -> MakeBuild:
    """Make what a step's function is given: `make_build(inputs={"raw": folder}, externals={...})`."""
    made = 0

    def make(
        inputs: Mapping[str, Path] | None = None, externals: Mapping[str, Observation] | None = None, **more: object
    ) -> Build:
        nonlocal made
        made += 1
        base = tmp_path / f"build-{made}"
        for part in ("content", "trace", "work"):
            (base / part).mkdir(parents=True)
        return Build(
            inputs=dict(inputs or {}),
            externals=dict(externals or {}),
            content=base / "content",
            trace=base / "trace",
            work=base / "work",
            progress=Progress("test", events.append),
            pipeline="tiny",
            **more,  # type: ignore[arg-type]
        )

    return make
