"""What starts runs without being asked: the schedule and the new-data sensors of a pipeline.

They select only what is not fresh, so that what the store has already never queues behind a training. A schedule is on
as soon as the YAML declares it. Every pipeline has a sensor unless its YAML says `sensor: null`; it is on if the YAML
declares it, and else off until somebody turns it on in the UI, so that nothing trains without having been asked to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import dagster as dg

from assets.config.automation import Schedule, Sensor
from assets.errors import ChangingError, TransientError
from assets.orchestration.arrival import Look, Memory, decide
from assets.orchestration.execution import OpenRunner
from assets.orchestration.freshness import report_fresh
from assets.orchestration.looking import Looking, look, look_alone
from assets.orchestration.metadata import plan_tag
from assets.orchestration.runs import UNDER_WAY, asked_for, end_orphans, relaunched
from assets.release import log
from assets.store.plan import Plan
from assets.store.runner import Runner
from assets.store.step import Step

SOURCE = "source"
"""External input of the first step, and name of the asset that stands for it."""
LOOK_SECONDS = 40.0
"""How long a tick of the sensor waits for its look at the source; Dagster gives up on a tick after 60 seconds."""
RETRY_TAGS = {"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false"}
"""A run whose process died is launched again; one whose step failed is not, for a step retries itself what may pass."""


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
        busy = why_busy(context.instance, job_name)
        if busy is not None:
            return busy
        try:
            plan = open_runner().plan()
        except TransientError:
            # A schedule has no second look at this time. The run has: it looks again, and waits in between.
            return request_run(runner, None, [step.name for step in runner.chain])
        report_fresh(context.instance, runner, plan)
        return request_run(runner, plan, plan.to_run) if plan.to_run else dg.SkipReason("every step is fresh")

    return at_its_times


def sensor(open_runner: OpenRunner, runner: Runner, job_name: str, declared: Sensor) -> dg.SensorDefinition:
    """The new-data sensor: when the source is not what the first step stands for, run what is not fresh.

    Where `min_new_rows` is set, the steps before the training are run at once, and all of them when so many rows wait.
    See `assets.orchestration.arrival` for what is asked for when, and for the cursor.
    """
    looking = Looking(partial(look, open_runner, {}, waits=declared.min_new_rows is not None))
    name = f"{runner.name}_new_data"
    description = f"Runs the steps of {runner.name} that are not fresh when its source changes."

    @_sensor(runner, name, job_name, declared, description)
    def on_new_data(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        seen = _looked(looking)
        if isinstance(seen, dg.SkipReason):
            return seen
        report_fresh(context.instance, runner, seen.plan)
        return _decided(context, runner, seen, name, job_name, declared)

    return on_new_data


def sensor_alone(
    open_runner: OpenRunner, runner: Runner, step: Step, job_name: str, declared: Sensor
) -> dg.SensorDefinition:
    """The sensor of a step that has a source of its own and comes after the one that decides: it runs that step alone.

    The same rules as for the source of the pipeline, but that rows do not wait for others.
    """
    looking = Looking(partial(look_alone, open_runner, step.name))
    name = f"{runner.name}_{step.name}"
    description = f"Runs the step {step.name} of {runner.name} when what it reads changes."

    @_sensor(runner, name, job_name, declared, description)
    def on_new_files(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if log.champion(runner.store.log(runner.environment, runner.name)) is None:
            return dg.SkipReason("there is no champion yet")
        seen = _looked(looking)
        if isinstance(seen, dg.SkipReason):
            return seen
        return _decided(context, runner, seen, name, job_name, declared)

    return on_new_files


def _sensor(
    runner: Runner, name: str, job_name: str, declared: Sensor, description: str
) -> Callable[[Callable[[dg.SensorEvaluationContext], dg.SensorResult | dg.SkipReason]], dg.SensorDefinition]:
    chosen = "sensor" in runner.config.model_fields_set
    return dg.sensor(
        name=name,
        job_name=job_name,
        minimum_interval_seconds=declared.minimum_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if chosen else dg.DefaultSensorStatus.STOPPED,
        description=description,
    )


def _looked(looking: Looking) -> Look | dg.SkipReason:
    """What is seen in this tick, or why nothing is."""
    try:
        seen = looking.take(LOOK_SECONDS)
    except ChangingError as error:
        return dg.SkipReason(f"{error.where}: {error.what}; the next look is another")
    return dg.SkipReason("the source is being read; this goes on until the next look") if seen is None else seen


def _decided(
    context: dg.SensorEvaluationContext, runner: Runner, seen: Look, name: str, job_name: str, declared: Sensor
) -> dg.SensorResult | dg.SkipReason:
    """What a tick comes to that has seen something."""
    memory = Memory.read(context.cursor)
    busy = why_busy(context.instance, job_name)
    if busy is not None:
        return busy
    decided = decide(
        seen,
        memory,
        asked_for(context.instance, name, memory.key, job_name),
        min_new_rows=declared.min_new_rows or 0,
        max_wait=declared.max_wait.total_seconds() if declared.max_wait is not None else None,
        now=time.time(),
    )
    cursor = decided.memory.written()
    if not decided.steps:
        return dg.SensorResult(skip_reason=decided.reason, cursor=cursor)
    return dg.SensorResult([request_run(runner, seen.plan, decided.steps, run_key=decided.memory.key)], cursor=cursor)


def request_run(
    runner: Runner, plan: Plan | None, steps: Sequence[str], *, run_key: str | None = None
) -> dg.RunRequest:
    """Ask for a run of some steps, with the plan that it is to carry."""
    return dg.RunRequest(
        run_key=run_key,
        asset_selection=[dg.AssetKey([runner.name, step]) for step in steps],
        tags={**RETRY_TAGS, **(plan_tag(plan) if plan else {}), "freshtune/to_run": ", ".join(steps)},
    )


def why_busy(instance: dg.DagsterInstance, job_name: str) -> dg.SkipReason | None:
    """Why nothing is asked for while a run of the job is under way: it may do the same."""
    end_orphans(instance)
    again = relaunched(instance, job_name, time.time())
    if again is not None:
        return dg.SkipReason(f"run {again.run_id} failed, and Dagster launches it again")
    runs = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=UNDER_WAY), limit=1)
    return dg.SkipReason(f"run {runs[0].run_id} is under way") if runs else None
