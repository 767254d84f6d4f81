"""`promote` and `rollback` with a real MLflow and a real webhook: killed anywhere, two at once, one after the other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assets.cli import model_changes
from assets.config.home import Home
from assets.config.pipeline import Pipeline
from assets.errors import ConfigurationError, StoreError
from assets.release import STEP, log, plots, webhook
from assets.release.registration import TAG
from assets.store import ingredients
from assets.store.runner import Runner
from assets.store.store import Store
from tests.chains import pieces
from tests.release.material import CHAIN, LABELS
from tests.release.test_webhook import Receiver, receiver  # noqa: F401 - a fixture

# MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


class KilledError(BaseException):
    """Stands for a process that is gone."""


@dataclass
class World:
    """A pipeline with versions 1, 2 and 3, each promoted by the gate when it came.

    Attributes:
        home: where all of it is.
        heard: what the webhook was told, or None before there is one.
    """

    home: Home
    heard: Receiver | None

    def runner(self, seed: int = 3) -> Runner:
        """Open the pipeline as a new process does."""
        fields = {
            "task": {"labels": LABELS},
            "source": {"files": ["x"]},
            "base_model": {"name": "m"},
            "training": {"seed": seed},
            "registry": {"webhook": "NEWS_URL"} if self.heard else {},
        }
        store = Store(self.home.store, self.home.path / "cache")
        return Runner(store, (*CHAIN[:-1], STEP), "tiny", Pipeline.model_validate(fields), self.home)

    def run(self, seed: int = 3) -> None:
        runner = self.runner(seed)
        for step in runner.chain:
            runner.run_step(step.name)

    def promote(self, version: int) -> None:
        model_changes.promote(self.runner(), version, "asked for")

    def rollback(self) -> None:
        model_changes.rollback(self.runner(), "asked for")

    @property
    def versions(self) -> dict[int, str]:
        """What MLflow's versions are: version → content digest of the model."""
        found = self._client().search_model_versions("name = 'tiny'")
        return {int(each.version): each.tags[TAG] for each in found}

    @property
    def aliases(self) -> dict[str, int]:
        return {alias: int(at) for alias, at in self._client().get_registered_model("tiny").aliases.items()}

    def _client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.home.tracking_uri, registry_uri=self.home.tracking_uri)

    @property
    def champion(self) -> int:
        """Version in use by the log, which MLflow, `settled.json` and the plan are shown to agree with."""
        runner = self.runner()
        entries = runner.store.log("default", "tiny")
        number = {digest: at for at, digest in self.versions.items()}
        due = {alias: number[model] for alias, model in log.aliases(entries).items() if model is not None}
        assert self.aliases == due
        settled = runner.store.settled("default", "tiny")
        assert settled is not None
        assert (settled["number"], settled["by_hand"], settled["champion"]) == (len(entries) - 1, [], due["champion"])
        assert not runner.plan().to_run
        # Each change of the champion was told, at least once and in order; whoever hears it twice knows by the id.
        assert self.heard is not None
        told = list(dict.fromkeys(body["number"] for body in self.heard.bodies))
        assert told == [entry.number for entry in log.replacements(entries) if entry.number >= len(BEGUN)]
        ids = {(headers["webhook-id"], json.loads(data)["number"]) for headers, data in self.heard.got}
        assert len(ids) == len(told)
        return due["champion"]

    @property
    def entries(self) -> list[tuple[str, int]]:
        """Kind and champion of the log's entries."""
        number = {digest: at for at, digest in self.versions.items()}
        found = self.runner().store.log("default", "tiny")
        return [(entry.fields["kind"], number[entry.fields["champion"]]) for entry in found]


BEGUN = [("decision", 1), ("decision", 2), ("decision", 3)]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The pipeline before anybody changed anything, and before it had a webhook; to be copied."""
    folder = tmp_path_factory.mktemp("changes")
    made = World(home_in(folder, folder), None)
    with pytest.MonkeyPatch.context() as patch:
        nothing_slow(patch)
        for seed in (1, 2, 3):
            made.run(seed)
    return made.home


@pytest.fixture
def world(begun: Home, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> World:  # noqa: F811
    nothing_slow(monkeypatch)
    copied = shutil.copytree(begun.path, tmp_path / "home")
    made = World(home_in(copied, begun.path), receiver)
    assert (made.entries, made.champion) == (BEGUN, 3)
    return made


def home_in(folder: Path, artifacts: Path) -> Home:
    uri = f"sqlite:///{folder}/mlflow.db"
    return Home(folder, str(folder / "store"), "default", uri, str(artifacts / "artifacts"), folder / "dagster")


def nothing_slow(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ingredients, "code_pieces", pieces)
    for plot in ("confusion", "curve"):
        patch.setattr(plots, plot, lambda *_: "<svg></svg>")


def killed(monkeypatch: pytest.MonkeyPatch, after: int, command: Callable[[], None]) -> list[str]:
    """Run a command that is gone right after so many writes, or before the first one; the writes that it did.

    With more than it does, it comes to its end.
    """
    from mlflow import MlflowClient

    done: list[str] = []

    def dying(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if not done and after == 0:
                raise KilledError
            found = real(*arguments, **more)
            done.append(name)
            if len(done) == after:
                raise KilledError
            return found

        return call

    with monkeypatch.context() as patch:
        for place, name in (
            (Store, "append"),
            (MlflowClient, "set_registered_model_alias"),
            (MlflowClient, "delete_registered_model_alias"),
            (webhook, "post"),
            (Store, "settle"),
        ):
            patch.setattr(place, name, dying(getattr(place, name), name))
        try:
            command()
        except KilledError:
            assert len(done) == after
    return done


WRITES = ["append", "set_registered_model_alias", "set_registered_model_alias", "post", "settle"]
"""What a promotion writes, and a rollback where something is left to go back to: entry, aliases, news, settled."""


@pytest.mark.parametrize("after", range(len(WRITES) + 1))
def test_a_killed_change_is_done_whole_by_the_next_run_or_not_at_all(
    world: World, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    assert killed(monkeypatch, after, lambda: world.promote(1)) == WRITES[:after]
    world.run()
    begun = [*BEGUN, ("promote", 1)] if after else BEGUN
    assert (world.entries, world.champion) == (begun, 1 if after else 3)
    killed(monkeypatch, after, world.rollback)
    world.run()
    back = begun if not after else [*begun, ("rollback", 3)]
    assert (world.entries, world.champion) == (back, 3)


@pytest.mark.parametrize("after", range(1, len(WRITES)))
def test_a_killed_change_is_made_whole_by_the_next_change(
    world: World, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Rollback after rollback, each killed: none is done twice, none is lost, and news come in the log's order."""
    killed(monkeypatch, after, world.rollback)
    last = killed(monkeypatch, after, world.rollback)
    assert after < 3 or "delete_registered_model_alias" in last, "there is no previous one any more"
    world.promote(3)
    assert world.entries == [*BEGUN, ("rollback", 2), ("rollback", 1), ("promote", 3)]
    assert world.champion == 3
    world.rollback()
    assert world.champion == 1
    with pytest.raises(ConfigurationError, match="nothing to roll back to: .* is the first champion"):
        world.rollback()


def test_who_is_slow_does_not_undo_what_came_after(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has written its entry and waits to settle it when another changes the champion again, and is done first."""
    real, others = Store.lease, [lambda: world.promote(1)]

    def waiting(store: Store, *arguments: Any) -> Any:
        if others:
            others.pop()()
        return real(store, *arguments)

    monkeypatch.setattr(Store, "lease", waiting)
    world.rollback()
    assert (world.entries, world.champion) == ([*BEGUN, ("rollback", 2), ("promote", 1)], 1)


def test_of_two_at_once_one_is_refused_and_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback has read the log when a promotion writes to it."""
    real, others = Store.append, [lambda: world.promote(1)]

    def late(store: Store, *arguments: Any) -> bool:
        if others:
            others.pop()()
        return real(store, *arguments)

    monkeypatch.setattr(Store, "append", late)
    with pytest.raises(StoreError, match="the promotion log changed at this very moment, and nothing was done"):
        world.rollback()
    assert (world.entries, world.champion) == ([*BEGUN, ("promote", 1)], 1)


def test_mlflow_goes_away_half_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is promoted by half: the log says it, nobody is told yet, and the next run brings MLflow in line."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    from assets.errors import TransientError

    def away(*_: Any) -> None:
        raise MlflowException("connection refused")

    assert world.heard is not None
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", away)
        with pytest.raises(TransientError, match="the promotion log says so, but the registry does not yet"):
            world.promote(1)
    assert (world.aliases["champion"], world.heard.got) == (3, [])
    assert world.runner().plan().to_run == ("release",)
    world.run()
    assert (world.entries, world.champion) == ([*BEGUN, ("promote", 1)], 1)
