"""The quality sensor, over the tiny chain with a step that measures a champion."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pytest

from assets.orchestration.looking import Looking
from assets.quality import CHECK
from assets.store.step import Build, Check, LogEntry, Measurements, Outcome, Step
from tests.orchestration import chain
from tests.orchestration.pipeline import Tiny


def first_champion(
    entries: Sequence[LogEntry], inputs: Mapping[str, str], _stood: Measurements | None
) -> dict[str, list[str]]:
    assert set(inputs) == {"raw"}
    return {"champion": [entry.fields["champion"] for entry in entries[:1]]}


def score(build: Build) -> Measurements:
    """The first champion is bad as soon as a row is called so."""
    rows = json.loads((build.inputs["raw"] / "rows.json").read_text())
    champion = [*build.externals["champion"].objects, None][0]
    return {"champion": champion, "alarm": any(row["text"] == "bad" for row in rows)}


def holds(measurements: Measurements, _config: Any) -> Outcome:
    return Outcome(not measurements["alarm"], "as good as ever", warning=True)


@pytest.fixture(autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    here, (raw, *others) = __name__, chain.CHAIN
    measuring = Step(
        "quality", "Scores.", f"{here}:score", ("raw",), promoted=first_champion, checks=(Check(CHECK, "", holds),)
    )
    monkeypatch.setattr(chain, "CHAIN", (raw, measuring, *others))


@pytest.fixture
def failing(tiny: Tiny, instance: dg.DagsterInstance) -> Tiny:
    """The champion turned out to be bad on rows that nothing was trained on yet."""
    tiny.run(instance)
    tiny.write("more.txt", "a bad")
    tiny.run(instance, "raw", "quality")
    return tiny


def tick(
    tiny: Tiny, instance: dg.DagsterInstance, cursor: str | None = None
) -> tuple[dg.RunRequest | str | None, str | None]:
    """What the sensor asks for, and its new cursor."""
    sensor = tiny.definitions().resolve_sensor_def("tiny_quality")
    ticked = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
    requests = list(ticked.run_requests or [])
    assert len(requests) <= 1
    return (requests[0] if requests else ticked.skip_message), ticked.cursor


def test_a_bad_champion_is_answered_once_for_each_state_of_the_source(
    failing: Tiny, instance: dg.DagsterInstance
) -> None:
    asked, cursor = tick(failing, instance)
    assert isinstance(asked, dg.RunRequest)
    assert [key.path[1] for key in asked.asset_selection or []] == ["model", "release"]
    assert asked.run_key == cursor
    again, cursor = tick(failing, instance, cursor)
    assert "already" in str(again)
    failing.write("third.txt", "a three")
    more, _ = tick(failing, instance, cursor)
    assert isinstance(more, dg.RunRequest)
    assert [key.path[1] for key in more.asset_selection or []] == ["raw", "quality", "model", "release"]
    assert more.run_key != asked.run_key


def test_a_tick_that_is_repeated_asks_for_the_same_run(failing: Tiny, instance: dg.DagsterInstance) -> None:
    first, second = tick(failing, instance)[0], tick(failing, instance)[0]
    assert isinstance(first, dg.RunRequest)
    assert isinstance(second, dg.RunRequest)
    assert first.run_key == second.run_key


def test_nothing_is_asked_for_without_an_alarm(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    assert tick(tiny, instance)[0] == "quality was never measured"
    tiny.run(instance)
    tiny.write("more.txt", "a four")
    assert tick(tiny, instance)[0] == "as good as ever"


def test_nothing_is_asked_for_once_another_champion_is_in_use(failing: Tiny, instance: dg.DagsterInstance) -> None:
    failing.run(instance)
    assert tick(failing, instance)[0] == "the champion that was too bad is not in use any more"


def test_where_nothing_is_stale_it_says_what_to_do(
    failing: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(build: Build, **_: object) -> Measurements:
        decision = {"decision": "refused", "challenger": build.digests["model"], "comparisons": []}
        (build.content / "decision.json").write_text(json.dumps(decision))
        (build.trace / "report.html").write_text("<html>")
        return {"decision": "refused"}

    monkeypatch.setattr(chain, "decide", refuse)
    failing.run(instance)
    assert str(tick(failing, instance)[0]).startswith("the champion is below quality.floor, but every step is fresh")


def test_it_waits_for_a_run_under_way_and_for_a_long_look(
    failing: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = failing.definitions().resolve_job_def("tiny_job")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert tick(failing, instance, "earlier") == (f"run {run.run_id} is under way", "earlier")
    monkeypatch.setattr(Looking, "take", lambda *_: None)
    assert tick(failing, instance)[0] == "the source is being read; this goes on until the next look"


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, "STOPPED"),
        ({"sensor": None}, "STOPPED"),
        ({"sensor": {"minimum_interval_seconds": 5}}, "RUNNING"),
        ({"schedule": {"cron": "0 3 * * *"}}, "RUNNING"),
    ],
)
def test_it_is_on_where_the_pipeline_runs_by_itself(tiny: Tiny, changed: dict[str, Any], status: str) -> None:
    tiny.changed = changed
    sensor = tiny.definitions().resolve_sensor_def("tiny_quality")
    assert sensor.default_status.value == status
    assert sensor.minimum_interval_seconds == ((changed.get("sensor") or {}).get("minimum_interval_seconds", 60))


def test_there_is_none_where_quality_is_not_measured(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "CHAIN", tuple(step for step in chain.CHAIN if step.name != "quality"))
    assert [sensor.name for sensor in tiny.definitions().sensors or []] == ["tiny_new_data"]
