"""Fixtures of the tests of Dagster's face."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.orchestration import looking
from assets.store import ingredients, program
from tests.chains import pieces
from tests.orchestration.pipeline import Tiny


@pytest.fixture(autouse=True)
def _code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingredients, "code_pieces", pieces)
    monkeypatch.setattr(program, "code_pieces", pieces)


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests look at once at what they have just written."""
    monkeypatch.setattr(looking, "QUIET_SECONDS", 0.0)


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny(tmp_path)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made
