"""What starts runs without being asked: the schedule and the new-data sensor of a pipeline.

Both select only what is not fresh, so that what the store has already never queues behind a training. A schedule is on
as soon as the YAML declares it. Every pipeline has a sensor unless its YAML says `sensor: null`; it is on if the YAML
declares it, and else off until somebody turns it on in the UI, so that nothing trains without having been asked to.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass

import dagster as dg

from assets.config.pipeline import Schedule, Sensor
from assets.orchestration.execution import OpenRunner
from assets.orchestration.metadata import plan_tag
from assets.store.plan import Plan
from assets.store.runner import Runner

SOURCE = "source"
"""External input of the first step, and name of the asset that stands for it."""
LOOK_SECONDS = 40.0
"""How long a tick of the sensor waits for its look at the source; Dagster gives up on a tick after 60 seconds."""
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
RETRY_TAGS = {"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false"}
"""A run whose process died is launched again; one whose step failed is not, for a step retries itself what may pass."""


@dataclass(frozen=True)
class Look:
    """One look at a pipeline.

    Attributes:
        digest: of the source as it is now.
        known: whether the first step stands for this source already.
        plan: what a run would do.
    """

    digest: str
    known: bool
    plan: Plan


def look(open_runner: OpenRunner) -> Look:
    """Look at a pipeline's source and plan.

    Raises:
        FreshtuneError: if the source cannot be read.
    """
    runner = open_runner()
    first = runner.chain[0]
    plan, digest = runner.plan(), runner.observe(first)[SOURCE].digest
    standing = runner.store.reference(runner.environment, runner.name, first.name)
    return Look(digest, standing is not None and standing.ingredients["inputs"].get(SOURCE) == digest, plan)


class Looking:
    """A look in a thread of its own, which goes on from tick to tick when the source is large."""

    def __init__(self, open_runner: OpenRunner) -> None:
        self._open_runner = open_runner
        self._begun: Future[Look] | None = None

    def take(self, seconds: float) -> Look | None:
        """What was seen, or None if the look is not over after some seconds.

        Raises:
            FreshtuneError: if the source cannot be read.
        """
        if self._begun is None:
            self._begun = Future()
            threading.Thread(target=self._look, args=(self._begun,), daemon=True).start()
        wait([self._begun], seconds)
        if not self._begun.done():
            return None
        over, self._begun = self._begun, None
        return over.result()

    def _look(self, begun: Future[Look]) -> None:
        try:
            begun.set_result(look(self._open_runner))
        except Exception as error:  # noqa: BLE001 - raised in the tick that takes the result
            begun.set_exception(error)


def schedule(open_runner: OpenRunner, runner: Runner, job_name: str, declared: Schedule) -> dg.ScheduleDefinition:
    """The schedule: at its times, run what is not fresh."""

    @dg.schedule(
        name=f"{runner.name}_schedule",
        job_name=job_name,
        cron_schedule=declared.cron,
        execution_timezone=declared.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Runs the steps of {runner.name} that are not fresh.",
    )
    def at_its_times(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return _busy(context.instance, job_name) or _request(runner, open_runner().plan(), run_key=None)

    return at_its_times


def sensor(open_runner: OpenRunner, runner: Runner, job_name: str, declared: Sensor) -> dg.SensorDefinition:
    """The new-data sensor: when the source is not what the first step stands for, run what is not fresh.

    Its cursor is `{"digest": of the source last asked for, "number": of requests so far}`. The number is part of the
    run key, so that data which go back to what they once were are run again, and one change is run once.
    """
    looking = Looking(open_runner)
    chosen = "sensor" in runner.config.model_fields_set

    @dg.sensor(
        name=f"{runner.name}_new_data",
        job_name=job_name,
        minimum_interval_seconds=declared.minimum_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if chosen else dg.DefaultSensorStatus.STOPPED,
        description=f"Runs the steps of {runner.name} that are not fresh when its source changes.",
    )
    def on_new_data(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        seen = looking.take(LOOK_SECONDS)
        if seen is None:
            return dg.SkipReason("the source is being read; this goes on until the next look")
        if seen.known:
            return dg.SkipReason("the source is what the first step stands for")
        cursor = json.loads(context.cursor or '{"digest": "", "number": 0}')
        if cursor["digest"] == seen.digest:
            return dg.SkipReason(f"a run was asked for source {seen.digest[:12]} already")
        busy = _busy(context.instance, job_name)
        if busy is not None:
            return busy
        number = cursor["number"] + 1
        request = _request(runner, seen.plan, run_key=f"{seen.digest[:16]}-{number}")
        if isinstance(request, dg.SkipReason):
            return request
        return dg.SensorResult([request], cursor=json.dumps({"digest": seen.digest, "number": number}))

    return on_new_data


def _request(runner: Runner, plan: Plan, *, run_key: str | None) -> dg.RunRequest | dg.SkipReason:
    if not plan.to_run:
        return dg.SkipReason("every step is fresh")
    return dg.RunRequest(
        run_key=run_key,
        asset_selection=[dg.AssetKey([runner.name, step]) for step in plan.to_run],
        tags={**RETRY_TAGS, **plan_tag(plan), "freshtune/to_run": ", ".join(plan.to_run)},
    )


def _busy(instance: dg.DagsterInstance, job_name: str) -> dg.SkipReason | None:
    """Why nothing is asked for while a run of the job is under way: it may do the same."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=UNDER_WAY), limit=1)
    return dg.SkipReason(f"run {runs[0].run_id} is under way") if runs else None
