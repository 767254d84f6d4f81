"""Fixtures of the tests of Dagster's face."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from assets.orchestration import looking
from assets.store import ingredients, program
from tests.chains import pieces
from tests.orchestration.pipeline import Tiny


@pytest.fixture(autouse=True)
def _code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingredients, "code_pieces", pieces)
    monkeypatch.setattr(program, "code_pieces", pieces)


@pytest.fixture(autouse=True, scope="session")
def _migrations() -> Iterator[None]:
    """Dagster's migrations are read once, not again for each database; each run has one of its own."""
    made, found = ScriptDirectory.from_config, dict[str, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        place = str(config.get_main_option("script_location"))
        if place not in found:
            found[place] = made(config)
        return found[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


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
