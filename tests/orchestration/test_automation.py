"""Tests of the schedule and the new-data sensor."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from assets.config.automation import Schedule
from assets.errors import ChangingError, DataError, TransientError
from assets.orchestration import execution, looking
from assets.orchestration.arrival import Look
from assets.orchestration.looking import Looking, counting_step, look
from assets.store.runner import Runner
from tests.orchestration.pipeline import Tiny

DAILY = {"cron": "0 3 * * *", "timezone": "Europe/Paris"}


def test_a_bug_in_a_look_is_not_lost() -> None:
    def broken() -> Look:
        raise ZeroDivisionError("a bug")

    over = Looking(broken)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="a bug"):
            over.take(60)


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
    assert tick(tiny, instance, cursor)[0] == "the source is what raw stands for"
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
    assert tick(tiny, instance)[0] == "the source is what raw stands for"


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

    def slow() -> Look:
        nonlocal looks
        looks += 1
        assert read.wait(60)
        return look(tiny.opener, {}, waits=False)

    long = Looking(slow)
    assert long.take(0.01) is None
    assert long.take(0.01) is None
    read.set()
    found = long.take(60)
    assert found is not None
    assert found.plan.to_run == ("raw", "model", "release")
    assert looks == 1
    monkeypatch.setattr(Looking, "take", lambda *_: None)
    assert tick(tiny, instance)[0] == "the source is being read; this goes on until the next look"


# What became of the run that was asked for


def run_asked(tiny: Tiny, instance: dg.DagsterInstance, asked: dg.RunRequest | str | None) -> dg.ExecuteInProcessResult:
    """Run what the sensor asked for, as the daemon does."""
    assert isinstance(asked, dg.RunRequest)
    tags = {**asked.tags, "dagster/run_key": str(asked.run_key), "dagster/sensor_name": "tiny_new_data"}
    return tiny.run(instance, *steps(asked), tags=tags)


def test_a_run_that_failed_for_the_data_is_named_and_not_repeated(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.write("rows.txt", "a broken")
    asked, cursor = tick(tiny, instance)
    failed = run_asked(tiny, instance, asked)
    assert not failed.success
    said, cursor = tick(tiny, instance, cursor)
    assert said == (
        f"run {failed.run_id} failed: rows.txt, line 1: a broken row fix: mend it; nothing is asked for until the "
        "source, the configuration or the code changes"
    )
    tiny.write("rows.txt", "a mended", "b two")
    asked, cursor = tick(tiny, instance, cursor)
    assert run_asked(tiny, instance, asked).success
    assert tick(tiny, instance, cursor)[0] == "the source is what raw stands for"


def test_a_run_that_failed_after_the_rows_were_taken_in_is_repeated_when_settings_change(
    tiny: Tiny, instance: dg.DagsterInstance
) -> None:
    tiny.changed = {"training": {"epochs": 13}}
    asked, cursor = tick(tiny, instance)
    failed = run_asked(tiny, instance, asked)
    assert str(tick(tiny, instance, cursor)[0]).startswith(
        f"run {failed.run_id} failed: training.epochs: thirteen epochs"
    )
    tiny.changed = {"training": {"epochs": 4}}
    assert steps(tick(tiny, instance, cursor)[0]) == ["model", "release"]
    # Somebody else was quicker.
    tiny.run(instance)
    assert tick(tiny, instance, cursor)[0] == "the source is what raw stands for"


def test_a_run_that_a_check_stopped_is_repeated_when_the_limit_changes(
    tiny: Tiny, instance: dg.DagsterInstance
) -> None:
    tiny.changed = {"splits": {"min_rows_per_label": 4}}
    asked, cursor = tick(tiny, instance)
    failed = run_asked(tiny, instance, asked)
    said, cursor = tick(tiny, instance, cursor)
    assert str(said).startswith(f"run {failed.run_id} failed: ")
    assert "tiny/raw: enough; nothing is asked for until" in str(said)
    tiny.changed = {"splits": {"min_rows_per_label": 3}}
    assert steps(tick(tiny, instance, cursor)[0]) == ["model", "release"]


def test_a_bug_is_not_repeated(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.write("rows.txt", "a bug")
    asked, cursor = tick(tiny, instance)
    run_asked(tiny, instance, asked)
    assert "ZeroDivisionError: a bug; nothing is asked for until" in str(tick(tiny, instance, cursor)[0])


def test_a_run_that_failed_for_what_may_pass_is_asked_for_again(
    tiny: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "RETRIES", 0)
    tiny.write("rows.txt", "a unreachable 1", "b two")
    asked, cursor = tick(tiny, instance)
    failed = run_asked(tiny, instance, asked)
    said, cursor = tick(tiny, instance, cursor)
    assert str(said).startswith(f"run {failed.run_id} failed: source: no connection at attempt 0 fix: wait; try 1 of 5")
    monkeypatch.setattr("assets.orchestration.arrival.WAIT_SECONDS", 0.0)
    again, cursor = tick(tiny, instance, cursor)
    assert isinstance(asked, dg.RunRequest)
    assert isinstance(again, dg.RunRequest)
    assert str(again.run_key) == f"{str(asked.run_key)[:-1]}2"
    assert run_asked(tiny, instance, again).success
    assert tick(tiny, instance, cursor)[0] == "the source is what raw stands for"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (dg.DagsterRunStatus.FAILURE, "failed: its process was killed, or did not start; try 1 of 5 more is at"),
        (dg.DagsterRunStatus.CANCELED, "was stopped; nothing is asked for until"),
    ],
)
def test_a_run_that_was_killed_may_do_better_and_one_that_was_stopped_was_meant_to(
    tiny: Tiny, instance: dg.DagsterInstance, status: dg.DagsterRunStatus, said: str
) -> None:
    asked, cursor = tick(tiny, instance)
    assert isinstance(asked, dg.RunRequest)
    tags = {"dagster/run_key": str(asked.run_key), "dagster/sensor_name": "tiny_new_data"}
    job = tiny.definitions().resolve_job_def("tiny_job")
    run = instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    report = instance.report_run_failed if status == dg.DagsterRunStatus.FAILURE else instance.report_run_canceled
    report(run)
    assert f"run {run.run_id} {said}" in str(tick(tiny, instance, cursor)[0])


# Rows that wait for more


def test_rows_are_taken_in_at_once_and_trained_on_when_there_are_enough(
    tiny: Tiny, instance: dg.DagsterInstance
) -> None:
    tiny.changed = {"sensor": {"min_new_rows": 4, "max_wait": "P1D"}}
    asked, cursor = tick(tiny, instance)
    assert steps(asked) == ["raw"]
    assert run_asked(tiny, instance, asked).success
    said, cursor = tick(tiny, instance, cursor)
    assert str(said).startswith("3 of 4 new rows; the oldest waits since 2")
    tiny.write("more.txt", "a four", "b three")
    asked, cursor = tick(tiny, instance, cursor)
    assert steps(asked) == ["raw"]
    assert run_asked(tiny, instance, asked).success
    asked, cursor = tick(tiny, instance, cursor)
    assert steps(asked) == ["model", "release"]
    assert run_asked(tiny, instance, asked).success
    said, cursor = tick(tiny, instance, cursor)
    assert said == "the model was trained on the rows that the source has"

    # One more, and one that is gone.
    tiny.write("rows.txt", "a one", "b three", "b five")
    asked, cursor = tick(tiny, instance, cursor)
    assert run_asked(tiny, instance, asked).success
    said, cursor = tick(tiny, instance, cursor)
    assert str(said).startswith("1 of 4 new rows; the oldest waits since ")
    remembered = json.loads(str(cursor))
    remembered["since"] -= 24 * 3600.0
    assert steps(tick(tiny, instance, json.dumps(remembered))[0]) == ["model", "release"]


def test_what_an_earlier_model_was_trained_on_may_be_gone(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.run(instance)
    before = tiny.runner().standing("raw")
    assert before is not None
    tiny.changed = {"sensor": {"min_new_rows": 4}}
    tiny.write("more.txt", "a four")
    tiny.run(instance, "raw")
    assert str(tick(tiny, instance)[0]).startswith("1 of 4 new rows")
    shutil.rmtree(Path(tiny.home.store) / "objects" / before.record.content[:2] / before.record.content)
    assert steps(tick(tiny, instance)[0]) == ["model", "release"]


def test_rows_that_were_taken_in_half_way_are_said(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.changed = {"sensor": {"min_new_rows": 4}}
    runner = tiny.runner()
    seen = look(tiny.opener, {}, waits=True)
    assert seen.cheap == ("raw",)
    assert seen.waiting is not None
    assert (seen.waiting.rows, seen.waiting.trained, seen.waiting.new) == ("", "", 0)
    assert counting_step(runner.chain).name == "raw"


# Files that are being written


def test_a_file_that_changes_under_the_look_is_looked_at_again(
    tiny: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changing(*_: object) -> Any:
        raise ChangingError("the file changed while it was looked at", where="rows.txt", fix="look again")

    with monkeypatch.context() as patched:
        patched.setattr(Looking, "take", changing)
        said, cursor = tick(tiny, instance, '{"digest": "old", "number": 3}')
    assert said == "rows.txt: the file changed while it was looked at; the next look is another"
    assert cursor == '{"digest": "old", "number": 3}'
    assert steps(tick(tiny, instance, cursor)[0]) == ["raw", "model", "release"]


def test_an_empty_file_is_waited_for_and_then_taken_as_it_is(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.run(instance)
    tiny.write("more.txt")
    said, cursor = tick(tiny, instance)
    assert said == "more.txt is empty, as a file is that somebody has just begun to write"
    remembered = json.loads(str(cursor))
    remembered["unsettled"] -= 3600.0
    assert steps(tick(tiny, instance, json.dumps(remembered))[0]) == ["raw", "model", "release"]
    tiny.write("more.txt", "a four")
    assert steps(tick(tiny, instance, cursor)[0]) == ["raw", "model", "release"]


def test_a_file_that_was_written_a_moment_ago_is_waited_for(
    tiny: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "QUIET_SECONDS", 3600.0)
    assert tick(tiny, instance)[0] == "rows.txt was written a moment ago, and may not be whole yet"
    os.utime(tiny.source / "rows.txt", (1, 1))
    assert steps(tick(tiny, instance)[0]) == ["raw", "model", "release"]
    tiny.run(instance)
    # Written again as it was.
    tiny.write("rows.txt", "a one", "a two", "b three")
    assert tick(tiny, instance)[0] == "the source is what raw stands for"


# The schedule


@pytest.mark.parametrize(
    ("cron", "day", "times"),
    [
        # One and the same hour of the day on both sides of the change.
        ("0 3 * * *", (2026, 3, 28), ["28 02:00", "29 01:00", "30 01:00"]),
        ("0 3 * * *", (2026, 10, 24), ["24 01:00", "25 02:00", "26 02:00"]),
        # 02:30 is not there on one day and there twice on another: it runs once.
        ("30 2 * * *", (2026, 3, 28), ["28 01:30", "29 01:00", "30 00:30"]),
        ("30 2 * * *", (2026, 10, 24), ["24 00:30", "25 01:30", "26 01:30"]),
    ],
)
def test_a_schedule_keeps_the_time_of_day_when_the_clocks_change(
    cron: str, day: tuple[int, int, int], times: list[str]
) -> None:
    declared = Schedule(cron=cron, timezone="Europe/Paris")
    ticks = schedule_execution_time_iterator(
        datetime(*day, tzinfo=UTC).timestamp(), declared.cron, declared.timezone, ascending=True
    )
    found = [next(ticks).astimezone(UTC) for _ in times]
    assert [f"{each:%d %H:%M}" for each in found] == times


def test_a_schedule_that_cannot_look_lets_the_run_do_so(
    tiny: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> Any:
        raise TransientError("no connection", where="source", fix="wait")

    monkeypatch.setattr(Runner, "plan", unreachable)
    assert steps(schedule(tiny, instance)) == ["raw", "model", "release"]
