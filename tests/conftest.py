"""Fixtures that every room's tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from assets.progress import Event, Progress, Sink, discard
from assets.store.parts import Parts
from assets.store.step import Build, Observation
from assets.store.store import Store
from tests.tiny import make_base_model

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


@pytest.fixture(autouse=True, scope="session")
def _migrations() -> Iterator[None]:
    """Migrations of Dagster's and MLflow's databases are read once, not again for each database."""
    made, found = ScriptDirectory.from_config, dict[str, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        place = str(config.get_main_option("script_location"))
        if place not in found:
            found[place] = made(config)
        return found[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


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


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny pretrained model."""
    return make_base_model(tmp_path_factory.mktemp("base"))


def build_maker(folder: Path, sink: Sink, store: Store) -> MakeBuild:
    """What makes builds in a folder; see the fixture `make_build`."""
    numbers = count(1)
    part = Parts(store, folder / "work", Progress("test", sink), "tiny")

    def make(
        inputs: Mapping[str, Path] | None = None, externals: Mapping[str, Observation] | None = None, **more: object
    ) -> Build:
        base = folder / f"build-{next(numbers)}"
        for name in ("content", "trace", "work"):
            (base / name).mkdir(parents=True)
        given: dict[str, Any] = {
            "inputs": dict(inputs or {}),
            "externals": dict(externals or {}),
            "content": base / "content",
            "trace": base / "trace",
            "work": base / "work",
            "progress": Progress("test", sink),
            "pipeline": "tiny",
            "part": part,
            "digests": {name: folder.name for name, folder in (inputs or {}).items()},
        }
        return Build(**{**given, **more})

    return make


@pytest.fixture
def make_build(tmp_path: Path, events: list[Event], store: Store) -> MakeBuild:
    """Make what a step's function is given: `make_build(inputs={"raw": folder}, externals={...})`.

    Inputs are folders of `publish`, where anything reads parts of them or their digests. Parts are real ones.
    """
    return build_maker(tmp_path, events.append, store)


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of a module's tests together; where they make builds of what is in it, it is their `store`."""
    folder = tmp_path_factory.mktemp("store")
    return Store(str(folder / "store"), folder / "cache")


@pytest.fixture(scope="module")
def make_shared(shared_store: Store, tmp_path_factory: pytest.TempPathFactory) -> MakeBuild:
    """As `make_build`, for builds that the tests of a module read and none changes."""
    return build_maker(tmp_path_factory.mktemp("shared"), discard, shared_store)
