"""Tests of when Dagster shows a model as overdue."""

from __future__ import annotations

import time
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from assets.orchestration.freshness import report_fresh
from tests.orchestration.pipeline import Tiny

MODEL = dg.AssetKey(["tiny", "model"])
POLICY = {"fail_after": "P2D", "warn_after": "P1D"}


def seen(tiny: Tiny, instance: dg.DagsterInstance) -> float:
    """When Dagster last heard of the model."""
    runner = tiny.runner()
    report_fresh(instance, runner, runner.plan())
    last = instance.get_latest_materialization_event(MODEL)
    assert last is not None
    return last.timestamp


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seven hours later."""
    now = time.time() + 7 * 3600
    monkeypatch.setattr("assets.orchestration.freshness.time.time", lambda: now)
    return now


def test_the_policy_is_that_of_the_step_that_trains(tiny: Tiny) -> None:
    assert tiny.definitions().resolve_asset_graph().get(MODEL).freshness_policy is None
    tiny.changed = {"freshness": POLICY}
    graph = tiny.definitions().resolve_asset_graph()
    assert graph.get(MODEL).freshness_policy == dg.FreshnessPolicy.time_window(
        fail_window=timedelta(days=2), warn_window=timedelta(days=1)
    )
    assert graph.get(dg.AssetKey(["tiny", "raw"])).freshness_policy is None


def test_a_model_that_nothing_made_stale_is_not_overdue(
    tiny: Tiny, instance: dg.DagsterInstance, request: pytest.FixtureRequest
) -> None:
    tiny.changed = {"freshness": POLICY}
    tiny.run(instance)
    built = seen(tiny, instance)
    assert seen(tiny, instance) == built, "not at every look"
    request.getfixturevalue("later")
    assert seen(tiny, instance) > built
    records = instance.fetch_materializations(MODEL, limit=2).records
    reported, made = (record.asset_materialization for record in records)
    assert reported is not None
    assert made is not None
    assert reported.tags == made.tags
    assert reported.metadata["action"].value == "fresh"
    graph = tiny.definitions().resolve_asset_graph()
    found = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    for step in ("model", "release"):
        assert found.get_status(dg.AssetKey(["tiny", step])) == StaleStatus.FRESH


@pytest.mark.usefixtures("later")
def test_a_model_that_is_not_what_it_should_be_becomes_overdue(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.changed = {"freshness": POLICY}
    tiny.run(instance)
    built = instance.get_latest_materialization_event(MODEL)
    assert built is not None
    tiny.write("more.txt", "a four")
    assert seen(tiny, instance) == built.timestamp


@pytest.mark.usefixtures("later")
def test_nothing_is_reported_without_a_policy_or_a_model(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    runner = tiny.runner()
    report_fresh(instance, runner, runner.plan())
    tiny.run(instance)
    built = instance.get_latest_materialization_event(MODEL)
    assert built is not None
    assert seen(tiny, instance) == built.timestamp


def test_the_sensor_and_the_schedule_report(
    tiny: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.changed = {"freshness": POLICY, "schedule": {"cron": "0 3 * * *"}}
    reported: list[str] = []
    monkeypatch.setattr(
        "assets.orchestration.automation.report_fresh", lambda _, runner, plan: reported.append(plan.pipeline)
    )
    definitions = tiny.definitions()
    definitions.resolve_sensor_def("tiny_new_data").evaluate_tick(dg.build_sensor_context(instance=instance))
    made = definitions.resolve_schedule_def("tiny_schedule")
    assert isinstance(made, dg.ScheduleDefinition)
    with dg.instance_for_test() as kept:
        made.evaluate_tick(dg.build_schedule_context(instance=kept))
    assert reported == ["tiny", "tiny"]
