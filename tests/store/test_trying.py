"""A step is tried with other settings: what is found, kept, stopped and tried again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from assets.errors import TransientError
from assets.progress import Event, Sink
from assets.store import program
from assets.store.ingredients import Made
from assets.store.program import STOP, THREADS
from assets.store.step import Measurements, Observation, Summary
from assets.store.store import Store
from assets.store.trying import Trying


class Attempt:
    """Has seen enough at a word; keeps what it is told to."""

    def __init__(self, *, stops_at: str = "", keeps: bool = False) -> None:
        self.stops_at, self.keeps = stops_at, keeps
        self.enough = False

    def see(self, event: Event) -> bool:
        self.enough = self.enough or event["text"] == self.stops_at
        return self.enough

    def summary(self, content: Path | None) -> Summary:
        return {"read": None if content is None else (content / "a.txt").read_text()}

    def worth_keeping(self, summary: Summary) -> bool:
        return self.keeps


class Workshop:
    """Tries a step that writes its setting down, and says two words."""

    def __init__(self, folder: Path) -> None:
        self.store, self.folder = Store(str(folder / "store"), folder / "cache"), folder
        self.built: list[Any] = []
        self.environments: list[Mapping[str, str]] = []
        self.try_step = Trying(self.store, "model", self.made, self.call, self.work, print)

    def made(self, settings: Mapping[str, Any]) -> Made:
        ingredients = {
            "step": "model",
            "code": {"a": "1"},
            "configuration": dict(settings),
            "environment": {},
            "inputs": {"splits": "0" * 64, "base_model": "b1"},
        }
        return Made(ingredients, {"base_model": Observation("input", "base", "b1")}, {"base_model": {}})

    def work(self, key: str) -> Path:
        return self.folder / "work" / key

    def call(self, made: Made, folder: Path, *, work: Path, sink: Sink, environment: Mapping[str, str]) -> Measurements:
        self.built.append(made.ingredients["configuration"]["a.b"])
        self.environments.append(environment)
        for word in ("one", "two"):
            sink({"kind": "message", "text": word})
            if (work / STOP).exists():
                (work / "checkpoint").touch()
                raise TransientError("stopped from outside")
        sink({"kind": "message", "text": "done"})
        (folder / "content" / "a.txt").write_text(f"b is {self.built[-1]}")
        return {"measured": self.built[-1]}


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_what_was_tried_is_known(workshop: Workshop) -> None:
    for _ in range(2):
        assert workshop.try_step({"a.b": 1}, Attempt()) == {"read": "b is 1"}
    assert workshop.built == [1]
    assert workshop.try_step({"a.b": 2}, Attempt()) == {"read": "b is 2"}
    assert workshop.built == [1, 2]
    assert workshop.store.record(workshop.made({"a.b": 1}).key) is None, "the result itself is not kept"
    assert list(workshop.folder.glob("work/*")) == []


def test_a_result_that_is_worth_it_has_the_key_of_the_step(workshop: Workshop) -> None:
    workshop.try_step({"a.b": 1}, Attempt(keeps=True))
    record = workshop.store.record(workshop.made({"a.b": 1}).key)
    assert record is not None
    assert (workshop.store.open("objects", record.content) / "a.txt").read_text() == "b is 1"
    assert workshop.store.measurements(record.trace) == {"measured": 1}
    assert record.ingredients == workshop.made({"a.b": 1}).ingredients


def test_a_result_of_the_step_itself_is_a_try(workshop: Workshop) -> None:
    workshop.try_step({"a.b": 1}, Attempt(keeps=True))
    for path in workshop.folder.glob("store/records/*/*/*.json"):
        if json.loads(path.read_text())["ingredients"]["step"] == "model:try":
            path.unlink()
    assert workshop.try_step({"a.b": 1}, Attempt()) == {"read": "b is 1"}
    assert workshop.built == [1]


def test_one_that_was_stopped_is_known_too_and_may_be_tried_whole(workshop: Workshop) -> None:
    assert workshop.try_step({"a.b": 1}, Attempt(stops_at="one")) == {"read": None}
    assert workshop.try_step({"a.b": 1}, Attempt()) == {"read": None}
    assert workshop.built == [1]
    assert workshop.try_step({"a.b": 1}, Attempt(), whole=True) == {"read": "b is 1"}
    assert workshop.try_step({"a.b": 1}, Attempt()) == {"read": "b is 1"}
    assert workshop.built == [1, 1]


def test_one_that_was_done_before_it_could_be_stopped_counts_whole(workshop: Workshop) -> None:
    attempt = Attempt(stops_at="done")
    assert workshop.try_step({"a.b": 1}, attempt) == {"read": "b is 1"}
    assert attempt.enough


class Interrupted(Attempt):
    """Stops the step although it has not seen enough."""

    def see(self, event: Event) -> bool:
        return True


def test_one_that_was_interrupted_leaves_what_it_saved(workshop: Workshop) -> None:
    with pytest.raises(TransientError, match="stopped from outside"):
        workshop.try_step({"a.b": 1}, Interrupted())
    (checkpoint,) = workshop.folder.glob("work/*/checkpoint")
    (checkpoint.parent / STOP).unlink()  # as `run_program` does
    assert workshop.try_step({"a.b": 1}, Attempt()) == {"read": "b is 1"}
    assert not checkpoint.exists()


def test_several_at_once_share_the_cores(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "cores", lambda: 8)
    monkeypatch.delenv(THREADS, raising=False)
    workshop.try_step({"a.b": 1}, Attempt())
    workshop.try_step({"a.b": 2}, Attempt(), at_once=3)
    workshop.try_step({"a.b": 3}, Attempt(), at_once=9)
    monkeypatch.setenv(THREADS, "4")
    workshop.try_step({"a.b": 4}, Attempt(), at_once=2)
    assert workshop.environments == [{}, {THREADS: "2"}, {THREADS: "1"}, {THREADS: "2"}]
