"""What is looked at before a step runs: the plan of the run, the configuration, and whether the inputs fit together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from assets.errors import ConfigurationError
from assets.orchestration.execution import SAMPLE_TAG
from assets.orchestration.metadata import LONGEST_TAG, plan_tag
from assets.orchestration.wiring import pipeline_definitions
from assets.store.plan import Plan, Reason, StepPlan
from assets.store.runner import Runner
from tests.orchestration import chain
from tests.orchestration.pipeline import Tiny

BUILT = {"raw": "built", "model": "built", "release": "built"}
FIRST = "raw stale: missing raw · model pending: input raw · release pending: input raw, input model"


@pytest.fixture(autouse=True)
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model needs no process of its own, which takes seconds."""
    change(monkeypatch, "model", program=None)


def change(monkeypatch: pytest.MonkeyPatch, name: str, **changed: Any) -> None:
    steps = tuple(replace(step, **changed) if step.name == name else step for step in chain.CHAIN)
    monkeypatch.setattr(chain, "CHAIN", steps)


def key(step: str) -> dg.AssetKey:
    return dg.AssetKey(["tiny", step])


def tags(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> dict[str, str]:
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return dict(run.tags)


def failure(result: dg.ExecuteInProcessResult, step: str) -> str:
    data = result.failure_data_for_node(f"tiny__{step}")
    assert data is not None
    assert data.user_failure_data is not None
    return str(data.user_failure_data.description)


# The plan


def test_a_run_carries_its_plan_with_the_reasons(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    first = tiny.run(instance)
    assert tags(instance, first)["freshtune.plan/tiny"] == FIRST
    [logged] = [entry.user_message for entry in instance.all_logs(first.run_id) if "| because |" in entry.user_message]
    assert "| raw | stale | missing raw |" in logged
    tiny.changed = {"training": {"epochs": 4}}
    only = tiny.run(instance, "model")
    assert tags(instance, only)["freshtune.plan/tiny"] == "model stale: config training.epochs unset → 4"
    # Launched again it has the tags of the run before, and a plan of its own.
    again = tiny.run(instance, tags=tags(instance, first))
    assert tags(instance, again)["freshtune.plan/tiny"] == "release stale: input model"
    again = tiny.run(instance, tags=tags(instance, again))
    assert tags(instance, again)["freshtune.plan/tiny"] == "nothing to do: every step is fresh"
    sample = tiny.definitions().resolve_job_def("tiny_sample").execute_in_process(instance=instance)
    assert tags(instance, sample)["freshtune.plan/tiny"] == FIRST
    assert tags(instance, sample)[SAMPLE_TAG] == "500"


def test_plan_job_carries_the_plan_that_the_run_after_it_carries(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    planned = tiny.definitions().resolve_job_def("tiny_plan").execute_in_process(instance=instance)
    assert tags(instance, planned)["freshtune.plan/tiny"] == FIRST


def test_a_run_over_two_pipelines_carries_both_plans(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    def other(**more: Any) -> Runner:
        runner = tiny.runner(**more)
        runner.name = "other"
        return runner

    tiny.run(instance, "raw")
    both = dg.Definitions.merge(tiny.definitions(), pipeline_definitions(other))
    everything = [dg.AssetKey([name, step]) for name in ("tiny", "other") for step in BUILT]
    job = both.get_repository_def().get_implicit_job_def_for_assets(everything)
    assert job is not None
    result = job.execute_in_process(instance=instance, asset_selection=everything)
    found = tags(instance, result)
    rest = "model stale: missing model · release pending: input model"
    assert found["freshtune.plan/tiny"] == rest
    assert found["freshtune.plan/other"] == f"raw reusable: missing raw · {rest}"


def test_a_long_plan_is_cut() -> None:
    reasons = tuple(Reason("code", f"assets.some.module:function_{number}") for number in range(200))
    [(name, text)] = plan_tag(Plan("p", (StepPlan("model", "stale", reasons),))).items()
    assert name == "freshtune.plan/p"
    assert text.startswith("model stale: code assets.some.module:function_0, code ")
    assert len(text) == LONGEST_TAG
    assert text.endswith("…")


# The configuration


def refuse(*, epochs: int) -> None:
    if epochs == 5:
        raise ConfigurationError("five epochs", where="training.epochs", fix="take four")


def test_what_is_wrong_with_a_later_step_is_found_before_the_first_runs(
    tiny: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch, "model", preflight=f"{__name__}:refuse")
    tiny.changed = {"training": {"epochs": 5}}
    result = tiny.run(instance)
    assert failure(result, "raw") == "training.epochs: five epochs\n  fix: take four"
    assert tiny.actions() == {}
    assert tiny.runner().standing("raw") is None
    assert tiny.run(instance, "raw").success, "nobody asked for the model"
    tiny.changed = {}
    assert tiny.run(instance).success
    tiny.changed = {"training": {"epochs": 5}}
    assert tiny.run(instance, "raw").success
    assert not tiny.run(instance, "model").success


def test_a_step_that_nobody_asked_for_stops_nothing(
    tiny: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> Any:
        raise ConfigurationError("no base model", where="base_model.name", fix="download it")

    change(monkeypatch, "model", externals=gone)
    assert failure(tiny.run(instance), "raw") == "base_model.name: no base model\n  fix: download it"
    assert tiny.run(instance, "raw").success


# Inputs that do not fit together


def test_a_step_refuses_inputs_of_which_one_was_made_from_what_the_other_no_longer_is(
    tiny: Tiny, instance: dg.DagsterInstance
) -> None:
    """Rows that a model was trained on could be on the test side by now."""
    tiny.run(instance)
    tiny.write("more.txt", "b four")
    tiny.changed = {"gate": {"metric": "accuracy"}}
    for steps in (("raw", "release"), ("release",)):
        result = tiny.run(instance, *steps)
        assert not result.success
        assert failure(result, "release") == (
            "tiny: release refuses to run: model was made from an earlier raw\n"
            "  fix: select model and what follows it too, or every step: what is fresh is only looked up"
        )
        assert len(tiny.runner().store.log("test", "tiny")) == 1
    assert tiny.run(instance, "model", "release").success
    assert tiny.actions() == {"model": "built", "release": "built"}


def test_a_selection_with_a_gap_is_refused_where_what_is_before_the_gap_changed(
    tiny: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would be built from before the gap had to be built again when the gap is closed."""
    change(monkeypatch, "release", inputs=("model",))
    tiny.run(instance)
    tiny.changed = {"gate": {"metric": "accuracy"}}
    tiny.write("again.txt", "a one")
    assert tiny.run(instance, "raw", "release").success, "the same rows"
    assert tiny.actions() == {"raw": "built", "release": "built"}
    tiny.changed = {}
    tiny.write("more.txt", "b four")
    result = tiny.run(instance, "raw", "release")
    assert "release refuses to run: model was made from an earlier raw" in failure(result, "release")
    assert tiny.actions() == {"raw": "built"}
    # By itself it is what somebody asked for, and its one input fits.
    assert tiny.run(instance, "release").success
