"""What somebody changed in MLflow by hand is told, and stays until a person speaks."""

from __future__ import annotations

from typing import Any

import pytest

from assets.errors import FreshtuneError
from assets.release import by_hand, log
from assets.release.registry import look, settle
from assets.store.step import LogEntry
from tests.release.material import WHEN, entry
from tests.release.test_registry import KilledError, Place, everything, place  # noqa: F401 - a fixture

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

SIGNED = {"by": "ada", "when": WHEN, "why": "asked for"}


class World:
    """A pipeline's log, its MLflow, and what was settled last."""

    def __init__(self, place: Place, name: str) -> None:  # noqa: F811 - a fixture
        self.place, self.name = place, name
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=place.uri, registry_uri=place.uri)
        self.entries: list[LogEntry] = []
        self.settled: dict[str, Any] = {}

    def decide(self, challenger: str, champion: str | None) -> None:
        self.entries.append(entry(len(self.entries), challenger, champion))

    def speak(self, fields: dict[str, Any]) -> None:
        self.entries.append(LogEntry(len(self.entries), fields))

    def settle(self, *, overwrite: bool = False) -> dict[str, Any]:
        made = self.place.settlement(self.name, self.entries, settled=self.settled, overwrite=overwrite)
        found = settle(made)
        self.settled = {**found, "number": len(self.entries) - 1}
        return found

    def point(self, alias: str, version: int) -> None:
        self.client.set_registered_model_alias(self.name, alias, str(version))

    @property
    def aliases(self) -> dict[str, int]:
        found = self.client.get_registered_model(self.name).aliases
        return {alias: int(version) for alias, version in found.items()}

    def seen(self) -> list[by_hand.Change]:
        return look(self.settled, self.place.uri)


@pytest.fixture
def world(place: Place, request: pytest.FixtureRequest) -> World:  # noqa: F811 - a fixture
    """Versions 1 and 2, of which 2 is the champion and was registered after 1 was."""
    made = World(place, request.node.name.removeprefix("test_")[:40])
    for model in "ab":
        made.decide(model, model)
        made.settle()
    return made


def test_nothing_by_hand(world: World) -> None:
    assert world.aliases == {"challenger": 2, "champion": 2, "previous": 1}
    assert world.seen() == []
    assert look({**world.settled, "server": "elsewhere"}, world.place.uri) == []


def test_a_moved_alias_stays_and_is_told(world: World) -> None:
    world.point("champion", 1)
    moved = [{"alias": "champion", "found": 1, "due": 2}]
    assert world.seen() == moved
    for _ in range(2):
        assert world.settle()["by_hand"] == moved, "in every run"
        assert world.aliases["champion"] == 1
    world.decide("c", "c")
    assert world.settle()["by_hand"] == [{"alias": "champion", "found": 1, "due": 3}]
    assert world.aliases == {"challenger": 3, "champion": 1, "previous": 2}, "what nobody touched goes on"
    assert by_hand.in_words(world.settled["by_hand"], "tiny")[0] == (
        "alias champion was set to version 1 in MLflow by hand; by the promotion log it is version 3"
    )


def test_an_alias_that_was_taken_away_stays_away(world: World) -> None:
    world.client.delete_registered_model_alias(world.name, "champion")
    assert world.settle()["by_hand"] == [{"alias": "champion", "found": None, "due": 2}] == world.seen()
    assert "champion" not in world.aliases
    assert "alias champion was taken away" in by_hand.in_words(world.settled["by_hand"], "tiny")[0]


def test_a_person_overwrites_what_was_set_by_hand(world: World) -> None:
    world.point("champion", 1)
    world.settle()
    assert world.settle(overwrite=True)["by_hand"] == []
    assert world.aliases["champion"] == 2


@pytest.mark.parametrize("model", ["a", "c"])
def test_a_promotion_settles_it(world: World, model: str) -> None:
    world.decide("c", "b")
    world.settle()
    world.point("champion", 1)
    world.settle()
    world.speak(log.promote(world.entries, model, **SIGNED))
    assert world.settle()["by_hand"] == []
    assert world.aliases["champion"] == {"a": 1, "c": 3}[model]


def test_a_killed_call_is_no_hand(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it set was not written down; the log has gone on since."""
    from mlflow import MlflowClient

    real = MlflowClient.set_registered_model_alias

    def die(*arguments: Any) -> None:
        real(*arguments)
        if arguments[2] == "champion":
            raise KilledError

    world.decide("c", "c")
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", die)
        with pytest.raises(KilledError):
            world.settle()
    assert world.aliases["champion"] == 3
    world.speak(log.rollback(world.entries, **SIGNED))
    world.decide("d", "d")
    assert world.settle()["by_hand"] == []
    assert world.aliases == {"challenger": 4, "champion": 4, "previous": 2}


def test_a_deleted_version_is_not_registered_again(world: World) -> None:
    world.client.delete_model_version(world.name, "1")
    found = world.settle()
    assert found["deleted"] == {"a": 1}
    assert {"version": 1, "model": "a"} in found["by_hand"]
    assert {"alias": "previous", "found": None, "due": None} not in found["by_hand"]
    assert world.seen() == found["by_hand"]
    assert everything(world.client, world.name)["versions"] == {2: "b"}
    assert "version 1 was deleted in MLflow by hand" in by_hand.in_words(found["by_hand"], "tiny")[0]
    world.speak(log.promote(world.entries, "a", **SIGNED))
    assert world.settle()["by_hand"] == [], "a person wants it again"
    assert world.aliases["champion"] == 3
    assert everything(world.client, world.name)["versions"] == {2: "b", 3: "a"}


def test_a_deleted_champion_is_told_and_restored(world: World) -> None:
    world.client.delete_model_version(world.name, "2")
    found = world.settle()
    assert {"version": 2, "model": "b"} in found["by_hand"]
    assert "champion" not in world.aliases
    assert world.settle(overwrite=True)["by_hand"] == []
    assert world.client.get_model_version_by_alias(world.name, "champion").tags["freshtune.model"] == "b"


def test_a_renamed_model_is_refused_and_restored(world: World) -> None:
    world.client.rename_registered_model(world.name, f"{world.name}_old")
    for call in (world.settle, world.seen):
        with pytest.raises(FreshtuneError, match="no registered model .* any more, and versions 1 to 2 were") as error:
            call()
        assert not error.value.transient
        assert f"`freshtune models {world.name} restore`" in error.value.fix
    world.client.rename_registered_model(f"{world.name}_old", world.name)
    assert world.settle()["by_hand"] == []
    world.client.delete_registered_model(world.name)
    assert world.settle(overwrite=True)["versions"] == {"a": 1, "b": 2}
    assert world.aliases == {"challenger": 2, "champion": 2, "previous": 1}


def test_another_server_begins_anew(world: World) -> None:
    world.settled = {**world.settled, "server": "http://elsewhere", "versions": {"a": 7, "b": 8}, "champion": 8}
    assert world.settle()["versions"] == {"a": 1, "b": 2}
    assert world.settled["by_hand"] == []
