"""The search before the model: what is trained, what is found again, and what has which key."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from assets.errors import ConfigurationError
from assets.model import parent, train
from assets.progress import Event
from assets.splits import rows
from assets.store import ingredients
from assets.store.code_index import code_pieces
from assets.store.runner import Runner, StepResult
from assets.store.store import Store
from assets.tasks import tokens
from tests.search import chain
from tests.tiny import make_base_model, make_rows, make_splits

STEPS = ("splits", "search", "model")

Open = Callable[..., tuple[Runner, list[Event]]]


@pytest.fixture(scope="module")
def open_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Opens a runner over one store: `open_runner(search={"trials": 3}, training={"epochs": 1})`."""
    folder = tmp_path_factory.mktemp("searched")
    splits = make_splits(Store(str(folder / "store"), folder / "cache"), make_rows(120, seed=0))
    base = make_base_model(folder / "base")

    def make(
        search: Mapping[str, Any] | None = None, training: Mapping[str, Any] | None = None
    ) -> tuple[Runner, list[Event]]:
        return chain.open_runner(folder, splits, base, training or {}, search)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRESHTUNE_HOME", str(folder / "home"))
        patch.setattr(
            ingredients,
            "code_pieces",
            lambda roots: {"give": "1"} if roots[0].startswith("tests.") else code_pieces(roots),
        )
        yield make


@pytest.fixture(scope="module")
def searched(open_runner: Open) -> dict[str, StepResult]:
    """What came of a search with two trials, with the sides that were read and the trainings that were run."""
    chain.launched.clear()
    sides: list[str] = []

    def noted(splits: Path, side: str) -> Any:
        sides.append(side)
        return rows.read_places(splits, side)

    with pytest.MonkeyPatch.context() as patch:
        for module in (tokens, train):
            patch.setattr(module, "read_places", noted)
        runner, _ = open_runner({"trials": 2})
        found = {step: runner.run_step(step) for step in STEPS}
    found["search"].measurements["sides"] = sorted(set(sides))
    found["search"].measurements["launched"] = list(chain.launched)
    return found


def found_settings(open_runner: Open, result: StepResult) -> dict[str, Any]:
    runner, _ = open_runner({})
    settings: dict[str, Any] = json.loads(
        (runner.store.open("objects", result.record.content) / "settings.json").read_bytes()
    )
    return settings


def test_the_test_side_is_never_opened(searched: dict[str, StepResult]) -> None:
    assert searched["search"].measurements["sides"] == ["train", "validation"]


def test_the_model_is_trained_with_what_was_found_and_the_winner_is_not_trained_again(
    open_runner: Open, searched: dict[str, StepResult]
) -> None:
    settings = found_settings(open_runner, searched["search"])
    assert set(settings) == set(chain.SPACE)
    assert settings == searched["search"].measurements["settings"]
    assert searched["model"].action == "reused"
    made_with = searched["model"].record.ingredients["configuration"]
    assert {path: made_with[path] for path in settings} == settings
    assert searched["search"].measurements["launched"][0]["head_learning_rate"] == 1e-5
    assert settings["training.head_learning_rate"] > 1e-5, "the configured training is not the best one"
    assert len(searched["search"].measurements["launched"]) == 2
    score = searched["model"].measurements["validation"]["loss"]
    assert searched["search"].measurements["score"] == score


def test_settings_that_a_person_writes_down_make_the_same_model(
    open_runner: Open, searched: dict[str, StepResult]
) -> None:
    settings = found_settings(open_runner, searched["search"])
    by_hand = {path.removeprefix("training."): value for path, value in settings.items()}
    runner, _ = open_runner(training={**by_hand, "start": "base"})
    assert [step.name for step in runner.chain] == ["splits", "model"]
    assert runner.plan()["model"].state == "fresh"
    assert set(searched["model"].record.ingredients["inputs"]) == {"splits", "base_model"}


def test_another_search_repeats_no_training_and_where_it_finds_the_same_the_model_is_fresh(
    open_runner: Open, searched: dict[str, StepResult]
) -> None:
    chain.launched.clear()
    runner, events = open_runner({"trials": 2, "pruner": None})
    planned = runner.plan()
    assert [(step.step, step.state) for step in planned.steps] == [
        ("splits", "fresh"),
        ("search", "stale"),
        ("model", "pending"),
    ]
    assert [str(reason) for reason in planned["model"].reasons] == ["input search"]
    again = {step: runner.run_step(step) for step in STEPS}
    assert chain.launched == []
    assert (again["search"].action, again["model"].action) == ("built", "fresh")
    assert again["search"].record.content == searched["search"].record.content
    assert runner.plan().to_run == ()
    assert {event["step"] for event in events} == {"search"}


def test_while_it_is_unknown_what_will_be_found_what_else_changed_is_told(
    open_runner: Open, searched: dict[str, StepResult]
) -> None:
    runner, _ = open_runner({"trials": 2}, training={"weight_decay": 0.5})
    planned = runner.plan()["model"]
    assert [str(reason) for reason in planned.reasons] == ["config training.weight_decay 0.01 → 0.5", "input search"]


def test_what_a_model_was_made_from_is_known_by_the_settings(
    open_runner: Open, searched: dict[str, StepResult]
) -> None:
    runner, _ = open_runner({"trials": 2})
    model = runner.step("model")
    record = searched["model"].record
    with runner.store.staged() as folder:
        (folder / "settings.json").write_text('{"training.head_learning_rate": 1e-03}')
        other = runner.store.publish("objects", folder)
    assert runner.is_made_from(model, record, "search", searched["search"].record.content)
    assert not runner.is_made_from(model, record, "search", other)
    assert runner.is_made_from(model, record, "splits", searched["splits"].record.content)
    assert not runner.is_made_from(model, record, "splits", other)


def test_of_a_trial_that_is_not_the_best_no_model_is_kept(open_runner: Open, searched: dict[str, StepResult]) -> None:
    runner, _ = open_runner({"trials": 2})
    tries = [each for each in _records(runner.store) if each["ingredients"]["step"] == "model:try"]
    assert len(tries) == 2
    for each in tries:
        files = sorted(path.name for path in runner.store.open("objects", each["content"]).iterdir())
        assert files == ["manifest.json", "summary.json"]
        # All inputs are objects, so that the collection of garbage keeps it as long as they are kept.
        assert set(each["ingredients"]["inputs"]) == {"splits"}
        assert "base_model" in each["ingredients"]["configuration"]


def _records(store: Store) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(Path(store.url).glob("records/*/*/*.json"))]


@pytest.mark.parametrize(
    ("space", "configured", "used"),
    [
        ({"training.lora_rank": {"choices": [None, 4]}}, None, True),
        ({"training.batch_size": {"choices": [16, 32]}}, 4, True),
        ({"training.batch_size": {"choices": [16, 32]}}, None, False),
    ],
)
def test_a_library_that_a_trial_may_use_is_in_the_key_and_missed_before_the_first(
    open_runner: Open, monkeypatch: pytest.MonkeyPatch, space: dict[str, Any], configured: int | None, used: bool
) -> None:
    runner, _ = open_runner({"space": space}, {"lora_rank": configured})
    made = ingredients.made_of(runner.step("search"), runner.config, None, {}, {})
    assert ("peft" in made.ingredients["environment"]) == used

    installed = importlib.metadata.version

    def version(name: str) -> str:
        if name == "peft":
            raise importlib.metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    told = (
        r"the configuration asks for peft, which is not installed here\n  fix: pip install .*, or take out the setting"
    )
    with pytest.raises(ConfigurationError, match=told) if used else nullcontext():
        runner.plan()


def test_every_trial_starts_from_where_the_training_does(open_runner: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if a model is promoted in between."""
    begun: list[dict[str, Any]] = []
    champions: list[str | None] = [None, "later"]
    run_here = chain.run_here

    def noted(command: Any, environment: Any) -> None:
        begun.append(json.loads(Path(command[-1]).read_text())["externals"]["champion"])
        run_here(command, environment)

    monkeypatch.setattr(parent, "candidate", lambda *_: champions.pop(0))
    runner, _ = open_runner({"trials": 3, "pruner": None}, {"start": "either", "epochs": 1})
    runner.launcher = noted
    runner.run_step("splits")
    runner.run_step("search")
    assert len(begun) == 3
    assert [each["values"] for each in begun] == [["there is no champion yet"]] * 3
    assert runner.run_step("model").action == "reused"
