"""The command line over the tiny pipeline of `tests/cli/chain.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from assets import session
from assets.cli.main import app
from assets.store import ingredients
from tests.chains import pieces
from tests.cli.chain import Tiny

Freshtune = Callable[..., Any]


@pytest.fixture
def freshtune(monkeypatch: pytest.MonkeyPatch) -> Freshtune:
    """Run the command line in this process: `freshtune("run", "tiny")`; 100 columns wide, no colours."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")

    def invoke(*arguments: str, input: str | None = None) -> Any:  # noqa: A002 - as click calls it
        return CliRunner().invoke(app, list(arguments), input=input)

    return invoke


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """The tiny pipeline, found by every command under any name."""
    made = Tiny(tmp_path)
    launch = ModuleType("assets.orchestration.launch")
    launch.materialise = made.materialise  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "assets.orchestration", ModuleType("assets.orchestration"))
    monkeypatch.setitem(sys.modules, "assets.orchestration.launch", launch)
    monkeypatch.setattr(session, "open_runner", made.open_runner)
    monkeypatch.setattr(ingredients, "code_pieces", pieces)
    return made
