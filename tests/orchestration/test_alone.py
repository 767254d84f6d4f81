"""Tests of the sensor of a step that has a source of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.config.pipeline import Pipeline
from assets.errors import DataError, TransientError
from assets.orchestration import execution
from assets.store.step import Build, FileIndex, LogEntry, Measurements, Observation, Step
from tests.chains import observe
from tests.orchestration import chain
from tests.orchestration.pipeline import Tiny
from tests.orchestration.test_automation import steps

MAIN = ["raw", "model", "release", "answers"]


def look(config: Pipeline, index: FileIndex) -> Mapping[str, Observation]:
    seen = observe(Path(config.source.files[0]).with_name("inbox"), index)
    return {"inbox": seen["source"]}


def champion(entries: Sequence[LogEntry], _inputs: object, _stood: object) -> dict[str, tuple[str, ...]]:
    model = entries[-1].fields["champion"] if entries else None
    return {"champion": () if model is None else (model,)}


def answer(build: Build, *, epochs: int) -> Measurements:
    texts = [Path(file.path).read_text() for file in build.externals["inbox"].files]
    if "bad" in texts:
        raise DataError("a bad file", where="inbox", fix="mend it")
    if "away" in texts:
        raise TransientError("no connection", where="inbox", fix="wait")
    (build.content / "answers.txt").write_text("\n".join([*build.externals["champion"].objects, *texts]))
    return {"texts": len(texts), "epochs": epochs}


@pytest.fixture(autouse=True)
def _answering(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(
        "answers",
        "Answers.",
        f"{__name__}:answer",
        after=("release",),
        configuration=("training.epochs",),
        externals=look,
        promoted=champion,
    )
    monkeypatch.setattr(chain, "CHAIN", (*chain.CHAIN, step))
    monkeypatch.setattr(execution, "RETRIES", 0)


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    (tmp_path / "inbox").mkdir()
    return Tiny(tmp_path)


@pytest.fixture
def running(tiny: Tiny, instance: dg.DagsterInstance) -> Tiny:
    """One with a champion, and nothing to do."""
    assert tiny.run(instance).success
    return tiny


def drop(tiny: Tiny, name: str, text: str) -> None:
    (tiny.source.parent / "inbox" / name).write_text(text)


def tick(
    tiny: Tiny, instance: dg.DagsterInstance, cursor: str | None = None, sensor: str = "tiny_answers"
) -> tuple[dg.RunRequest | str | None, str | None]:
    """What the sensor asks for, and its new cursor."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    ticked = tiny.definitions().resolve_sensor_def(sensor).evaluate_tick(context)
    requests = list(ticked.run_requests or [])
    assert len(requests) <= 1
    return (requests[0] if requests else ticked.skip_message), ticked.cursor


def run_asked(
    tiny: Tiny, instance: dg.DagsterInstance, asked: Any, sensor: str = "tiny_answers", job: str = "tiny_answers"
) -> dg.ExecuteInProcessResult:
    """Run what a sensor asked for, as the daemon does."""
    tags = {**asked.tags, "dagster/run_key": str(asked.run_key), "dagster/sensor_name": sensor}
    made = tiny.definitions().resolve_job_def(job)
    return made.execute_in_process(
        instance=instance, asset_selection=list(asked.asset_selection), tags=tags, raise_on_error=False
    )


def test_new_files_start_this_step_alone_and_once(running: Tiny, instance: dg.DagsterInstance) -> None:
    said, cursor = tick(running, instance)
    assert said == "the source is what answers stands for"
    drop(running, "a.txt", "hello")
    asked, cursor = tick(running, instance, cursor)
    assert steps(asked) == ["answers"]
    assert isinstance(asked, dg.RunRequest)
    repeated, _ = tick(running, instance, None)
    assert isinstance(repeated, dg.RunRequest)
    assert repeated.run_key == asked.run_key
    assert str(tick(running, instance, cursor)[0]).startswith("a run was asked for source")
    assert run_asked(running, instance, asked).success
    assert running.actions() == {"answers": "built"}
    assert tick(running, instance, cursor)[0] == "the source is what answers stands for"
    drop(running, "b.txt", "more")
    again, _ = tick(running, instance, cursor)
    assert isinstance(again, dg.RunRequest)
    assert str(again.run_key).endswith("-2")


def test_the_other_sensor_does_not_start_for_them_nor_this_one_for_its_rows(
    running: Tiny, instance: dg.DagsterInstance
) -> None:
    drop(running, "a.txt", "hello")
    assert tick(running, instance, sensor="tiny_new_data")[0] == "the source is what raw stands for"
    asked, cursor = tick(running, instance)
    run_asked(running, instance, asked)
    running.write("more.txt", "a four")
    assert tick(running, instance, cursor)[0] == "the source is what answers stands for"
    assert steps(tick(running, instance, sensor="tiny_new_data")[0]) == MAIN


def test_it_waits_for_a_champion_and_then_takes_what_is_there(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    drop(tiny, "a.txt", "hello")
    assert tick(tiny, instance)[0] == "there is no champion yet"
    assert tiny.run(instance, "raw", "model", "release").success
    assert steps(tick(tiny, instance)[0]) == ["answers"]


def test_it_does_not_wait_for_a_training(running: Tiny, instance: dg.DagsterInstance) -> None:
    instance.create_run_for_job(running.definitions().resolve_job_def("tiny_job"), status=dg.DagsterRunStatus.STARTED)
    drop(running, "a.txt", "hello")
    asked, _ = tick(running, instance)
    assert steps(asked) == ["answers"]
    # What is wrong with the rows to train on is no affair of this step.
    (running.source / "rows.txt").unlink()
    assert run_asked(running, instance, asked).success
    own = running.definitions().resolve_job_def("tiny_answers")
    under_way = instance.create_run_for_job(own, status=dg.DagsterRunStatus.STARTED)
    drop(running, "b.txt", "more")
    assert tick(running, instance)[0] == f"run {under_way.run_id} is under way"


def test_a_failure_that_may_pass_is_tried_again_and_another_one_when_something_changes(
    running: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(running, "a.txt", "bad")
    asked, cursor = tick(running, instance)
    failed = run_asked(running, instance, asked)
    said, cursor = tick(running, instance, cursor)
    assert said == (
        f"run {failed.run_id} failed: inbox: a bad file fix: mend it; nothing is asked for until the source, the "
        "configuration or the code changes"
    )
    # Rows to train on are nothing that it reads.
    running.write("more.txt", "a four")
    assert tick(running, instance, cursor)[0] == said
    drop(running, "a.txt", "away")
    asked, cursor = tick(running, instance, cursor)
    failed = run_asked(running, instance, asked)
    said, cursor = tick(running, instance, cursor)
    assert str(said).startswith(f"run {failed.run_id} failed: inbox: no connection fix: wait; try 1 of 5 more is at ")
    monkeypatch.setattr("assets.orchestration.arrival.WAIT_SECONDS", 0.0)
    again, cursor = tick(running, instance, cursor)
    assert steps(again) == ["answers"]
    drop(running, "a.txt", "well")
    mended, cursor = tick(running, instance, cursor)
    assert run_asked(running, instance, mended).success
    assert tick(running, instance, cursor)[0] == "the source is what answers stands for"


def test_another_champion_is_a_reason_to_try_again(running: Tiny, instance: dg.DagsterInstance) -> None:
    drop(running, "a.txt", "bad")
    asked, cursor = tick(running, instance)
    run_asked(running, instance, asked)
    assert "a bad file" in str(tick(running, instance, cursor)[0])
    running.write("more.txt", "a four")
    running.run(instance, "raw", "model", "release")
    assert steps(tick(running, instance, cursor)[0]) == ["answers"]


def test_its_success_does_not_hide_that_a_training_failed(running: Tiny, instance: dg.DagsterInstance) -> None:
    running.changed = {"training": {"epochs": 13}}
    running.write("more.txt", "a four")
    asked, cursor = tick(running, instance, sensor="tiny_new_data")
    failed = run_asked(running, instance, asked, "tiny_new_data", "tiny_job")
    assert not failed.success
    drop(running, "a.txt", "hello")
    assert run_asked(running, instance, tick(running, instance)[0]).success
    assert str(tick(running, instance, cursor, "tiny_new_data")[0]).startswith(f"run {failed.run_id} failed: ")


def test_a_file_that_may_not_be_whole_yet_is_waited_for(running: Tiny, instance: dg.DagsterInstance) -> None:
    drop(running, "a.txt", "")
    assert tick(running, instance)[0] == "a.txt is empty, as a file is that somebody has just begun to write"


@pytest.mark.parametrize(("changed", "status"), [({}, "STOPPED"), ({"sensor": {}}, "RUNNING")])
def test_it_is_on_if_the_sensor_is_declared(tiny: Tiny, changed: dict[str, Any], status: str) -> None:
    tiny.changed = changed
    assert tiny.definitions().resolve_sensor_def("tiny_answers").default_status.value == status
    tiny.changed = {"sensor": None}
    assert list(tiny.definitions().sensors or []) == []
