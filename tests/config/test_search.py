"""The section `search`: what may be searched for, and everything that is wrong with a space at once."""

# ruff: noqa: E501 - a message is easier to compare on one line

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from assets.chain import chain_of
from assets.config.load import COMPONENT, load_pipeline
from assets.config.pipeline import Pipeline
from assets.config.search import FIXED, OF_THE_MACHINE
from assets.config.settings import with_settings
from assets.config.training import Training
from assets.errors import ConfigurationError
from assets.orchestration.freshness import is_dear, training_step
from tests.config.test_pipeline import make

HEAD = f"""\
type: {COMPONENT}
attributes:
  task: {{labels: [ham, spam]}}
  source: {{files: [data/*.csv]}}
  base_model: {{name: tiny}}
  search:
    space:
"""
RATE = {"training.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}


def load(root: Path, *lines: str, after: str = "") -> Pipeline:
    (root / "pyproject.toml").touch()
    folder = root / "pipelines" / "mine"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "defs.yaml").write_text(HEAD + "".join(f"      {line}\n" for line in lines) + after)
    return load_pipeline("mine", root)


def errors(root: Path, *lines: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(root, *lines)
    _, *rest = str(caught.value).split("\n")
    return [line.removeprefix("  pipelines/mine/defs.yaml:") for line in rest]


def test_the_step_is_there_where_it_is_asked_for() -> None:
    with_search, without = chain_of(make(search={"space": RATE})), chain_of(make())
    assert [step.name for step in with_search if step not in without and step.name != "model"] == ["search"]
    names = [step.name for step in with_search]
    assert names.index("search") + 1 == names.index("model")
    for chain, inputs in ((with_search, ("splits", "search")), (without, ("splits",))):
        assert next(step for step in chain if step.name == "model").inputs == inputs
        # What shows a model as overdue, and counts the rows that wait for one, looks at the model; the search is dear too.
        assert training_step(chain).name == "model"
    assert [step.name for step in with_search if is_dear(step)][:2] == ["search", "model"]


def test_a_space_is_read(tmp_path: Path) -> None:
    search = load(
        tmp_path,
        "training.learning_rate: {low: 1e-5, high: 1e-3, log: true}",
        "training.batch_size: {choices: [8, 16]}",
        "training.layer_decay: {choices: [null, 0.9]}",
        "training.epochs: {low: 2, high: 6, step: 2}",
        after="    trials: 7\n    pruner: null\n",
    ).search
    assert search is not None
    assert (search.trials, search.pruner, search.minutes, search.seeds) == (7, None, None, 1)
    assert search.space["training.layer_decay"].choices == (None, 0.9)
    assert search.space["training.epochs"].step == 2


def test_everything_that_is_wrong_with_a_space_is_said_at_once(tmp_path: Path) -> None:
    found = errors(
        tmp_path,
        "training.learnin_rate: {low: 1e-5, high: 1e-3}",
        "learning_rate: {low: 1e-5, high: 1e-3}",
        "training.seed: {choices: [1, 2]}",
        "training.warmup: {low: 0.5, high: 0.1}",
        "training.devices: {choices: [1, 2]}",
        "training.weight_decay: {low: 0, high: 0.1, log: true}",
        "training.batch_size: {choices: [8, 16], low: 3}",
        "training.epochs: {}",
        "training.patience: {choices: [1, 1]}",
        "training.max_tokens: {low: 8, high: 64, log: true, step: 8}",
        "training.layer_decay: {low: 0.1, high: 0.2, step: 0.5}",
        "training.schedule: {choices: [linear]}",
        "training.order: {choice: [grouped, random]}",
    )
    accepted = found[0].partition("accepted: ")[2].partition("; fix")[0]
    assert accepted.startswith("training.epochs, training.batch_size, training.learning_rate, ")
    of_the_machine = {f"training.{name}" for name in ("devices", "activation_checkpointing", "sharding", "compile")}
    assert not {"training.seed", *of_the_machine} & set(accepted.split(", "))
    none = "is no setting that can be searched for; accepted: "
    assert found == [
        f"8: search.space.training.learnin_rate: {none}{accepted}; fix: did you mean training.learning_rate?",
        f"9: search.space.learning_rate: {none}{accepted}; fix: did you mean training.learning_rate?",
        f"10: search.space.training.seed: is not searched for: {FIXED['seed']}; accepted: {accepted}; fix: remove it",
        "11: search.space.training.warmup: low 0.5 is not below high 0.1; fix: change one of them",
        f"12: search.space.training.devices: is not searched for: {OF_THE_MACHINE}; accepted: {accepted}; fix: remove it",
        "13: search.space.training.weight_decay: log wants low above 0, which is 0; fix: raise low, or remove log",
        "14: search.space.training.batch_size: has `choices` and `low`, `high`, `log` or `step`; fix: keep one of the two kinds",
        "15: search.space.training.epochs: says no values; accepted: `choices`, or `low` and `high`; fix: add them",
        "16: search.space.training.patience: the same choice stands twice; fix: remove one of them",
        "17: search.space.training.max_tokens: log and step exclude each other; fix: remove one of them, or write `choices`",
        "18: search.space.training.layer_decay: step 0.5 is more than high - low, 0.1; fix: make it smaller",
        "19: search.space.training.schedule.choices: is not accepted; accepted: a list with at least 2 entries of true or false or a whole number or a number or text or null or null; fix: write one that is accepted, or remove the line for the default null",
        "20: search.space.training.order.choice: there is no such field; accepted: choices, low, high, log, step; fix: did you mean choices?",
    ]


def test_every_value_that_its_setting_does_not_take_is_said(tmp_path: Path) -> None:
    assert errors(
        tmp_path,
        "training.learning_rate: {low: 0.1, high: 5}",
        "training.batch_size:",
        "  choices: [8, 0, sixteen, 16.5]",
        "training.epochs: {low: 1.5, high: 3}",
        "training.schedule: {choices: [linear, cosin]}",
        "training.max_tokens: {low: 8, high: 64, step: 0.5}",
    ) == [
        "8: search.space.training.learning_rate.high: 5 is no value of training.learning_rate; accepted: a number, more than 0, at most 1 or null; fix: change it",
        "10: search.space.training.batch_size.choices[1]: 0 is no value of training.batch_size; accepted: a whole number, at least 1; fix: change it",
        "10: search.space.training.batch_size.choices[2]: sixteen is no value of training.batch_size; accepted: a whole number, at least 1; fix: change it",
        "10: search.space.training.batch_size.choices[3]: 16.5 is no value of training.batch_size; accepted: a whole number, at least 1; fix: change it",
        "11: search.space.training.epochs.low: 1.5 is no value of training.epochs; accepted: a whole number, at least 1, at most 1000 or null; fix: change it",
        "12: search.space.training.schedule.choices[1]: cosin is no value of training.schedule; accepted: linear, cosine; fix: change it",
        "13: search.space.training.max_tokens.step: 0.5 is no value of training.max_tokens; accepted: a whole number, at least 8; fix: change it",
    ]


def test_a_space_must_not_be_empty(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        make(search={"space": {}})


def test_what_is_not_searched_for_is_a_setting() -> None:
    assert set(FIXED) <= set(Training.model_fields)


def test_settings_are_replaced() -> None:
    config = make(training={"epochs": 2})
    changed = with_settings(config, {"training.learning_rate": 3e-5, "training.layer_decay": None})
    assert (changed.training.learning_rate, changed.training.epochs, config.training.learning_rate) == (3e-5, 2, None)
    with pytest.raises(ValidationError, match="learning_rate"):
        with_settings(config, {"training.learning_rate": 3})
