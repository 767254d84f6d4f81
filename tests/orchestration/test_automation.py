"""Tests of the schedule and the new-data sensor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.errors import DataError
from assets.orchestration.automation import Looking
from assets.store.runner import Runner
from tests.orchestration.pipeline import Tiny

DAILY = {"cron": "0 3 * * *", "timezone": "Europe/Paris"}


def test_a_bug_in_a_look_is_not_lost() -> None:
    def broken(**_: object) -> Runner:
        raise ZeroDivisionError("a bug")

    looking = Looking(broken, waits=False)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="a bug"):
            looking.take(60)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """One in a folder: a schedule's context opens it from there."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def schedule(tiny: Tiny, instance: dg.DagsterInstance) -> dg.RunRequest | str | None:
    tiny.changed = {**tiny.changed, "schedule": DAILY}
    made = tiny.definitions().resolve_schedule_def("tiny_schedule")
    assert isinstance(made, dg.ScheduleDefinition)
    ticked = made.evaluate_tick(dg.build_schedule_context(instance=instance))
    assert len(ticked.run_requests or []) <= 1
    return ticked.run_requests[0] if ticked.run_requests else ticked.skip_message


def tick(
    tiny: Tiny, instance: dg.DagsterInstance, cursor: str | None = None
) -> tuple[dg.RunRequest | str | None, str | None]:
    """What the sensor asks for, and its new cursor."""
    sensor = tiny.definitions().resolve_sensor_def("tiny_new_data")
    ticked = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
    requests = list(ticked.run_requests or [])
    assert len(requests) <= 1
    return (requests[0] if requests else ticked.skip_message), ticked.cursor


def steps(asked: dg.RunRequest | str | None) -> list[str]:
    assert isinstance(asked, dg.RunRequest)
    return [key.path[1] for key in asked.asset_selection or []]


def test_schedule_is_as_declared(tiny: Tiny) -> None:
    tiny.changed = {"schedule": DAILY}
    made = tiny.definitions().resolve_schedule_def("tiny_schedule")
    assert isinstance(made, dg.ScheduleDefinition)
    assert (made.cron_schedule, made.execution_timezone) == (DAILY["cron"], DAILY["timezone"])
    assert made.default_status == dg.DefaultScheduleStatus.RUNNING
    assert made.job_name == "tiny_job"


def test_no_schedule_unless_declared(tiny: Tiny) -> None:
    assert list(tiny.definitions().schedules or []) == []


def test_schedule_selects_only_what_is_not_fresh(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    assert steps(schedule(tiny, instance)) == ["raw", "model", "release"]
    tiny.run(instance)
    assert schedule(tiny, instance) == "every step is fresh"
    tiny.changed = {"training": {"epochs": 4}}
    assert steps(schedule(tiny, instance)) == ["model", "release"]


def test_schedule_waits_for_a_run_under_way(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    job = tiny.definitions().resolve_job_def("tiny_job")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert schedule(tiny, instance) == f"run {run.run_id} is under way"


@pytest.mark.parametrize(
    ("changed", "status"),
    [({}, "STOPPED"), ({"sensor": {}}, "RUNNING"), ({"sensor": {"minimum_interval_seconds": 5}}, "RUNNING")],
)
def test_sensor_is_on_if_it_is_declared(tiny: Tiny, changed: dict[str, object], status: str) -> None:
    tiny.changed = changed
    sensor = tiny.definitions().resolve_sensor_def("tiny_new_data")
    assert sensor.default_status.value == status
    assert sensor.minimum_interval_seconds == (5 if changed.get("sensor") else 60)


def test_no_sensor_where_the_configuration_says_null(tiny: Tiny) -> None:
    tiny.changed = {"sensor": None}
    assert list(tiny.definitions().sensors or []) == []


def test_sensor_asks_once_for_each_change_of_the_source(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    first, cursor = tick(tiny, instance)
    assert steps(first) == ["raw", "model", "release"]
    again, cursor = tick(tiny, instance, cursor)
    assert str(again).startswith("a run was asked for source")
    tiny.run(instance)
    assert tick(tiny, instance, cursor)[0] == "the source is what the first step stands for"
    tiny.write("more.txt", "a four")
    more, cursor = tick(tiny, instance, cursor)
    assert steps(more) == ["raw", "model", "release"]
    assert isinstance(first, dg.RunRequest)
    assert isinstance(more, dg.RunRequest)
    assert more.run_key != first.run_key
    assert more.tags["freshtune/to_run"] == "raw, model, release"


def test_sensor_asks_again_when_data_go_back_to_what_they_were(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    keys = []
    cursor: str | None = None
    for rows in (["a one"], ["a one", "b two"], ["a one"], ["a one", "b two"]):
        tiny.write("rows.txt", *rows)
        asked, cursor = tick(tiny, instance, cursor)
        assert isinstance(asked, dg.RunRequest)
        keys.append(asked.run_key)
        tiny.run(instance, "raw")
    assert len(set(keys)) == 4


def test_sensor_key_is_the_same_when_a_tick_is_repeated(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    """Dagster repeats a tick that was cut off; the run key keeps it from launching twice."""
    first, second = tick(tiny, instance)[0], tick(tiny, instance)[0]
    assert isinstance(first, dg.RunRequest)
    assert isinstance(second, dg.RunRequest)
    assert first.run_key == second.run_key


def test_sensor_does_not_ask_for_changed_settings(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.run(instance)
    tiny.changed = {"training": {"epochs": 4}}
    assert tick(tiny, instance)[0] == "the source is what the first step stands for"


def test_sensor_keeps_its_cursor_while_a_run_is_under_way(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    instance.create_run_for_job(tiny.definitions().resolve_job_def("tiny_job"), status=dg.DagsterRunStatus.STARTED)
    asked, cursor = tick(tiny, instance, '{"digest": "old", "number": 3}')
    assert "is under way" in str(asked)
    assert cursor == '{"digest": "old", "number": 3}'


def test_sensor_fails_with_what_is_wrong_with_the_source(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    (tiny.source / "rows.txt").unlink()
    with pytest.raises(DataError, match="no files"):
        tick(tiny, instance)


def test_a_long_look_goes_on_from_tick_to_tick(
    tiny: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = threading.Event()
    looks = 0

    def slow(**_: object) -> Runner:
        nonlocal looks
        looks += 1
        assert read.wait(60)
        return tiny.runner()

    looking = Looking(slow, waits=False)
    assert looking.take(0.01) is None
    assert looking.take(0.01) is None
    read.set()
    found = looking.take(60)
    assert found is not None
    assert found.plan.to_run == ("raw", "model", "release")
    assert looks == 1
    monkeypatch.setattr(Looking, "take", lambda *_: None)
    assert tick(tiny, instance)[0] == "the source is being read; this goes on until the next look"
