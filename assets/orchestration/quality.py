"""The quality sensor: when the champion is too bad on newly labelled rows, run what is not fresh, without waiting.

It looks at what the step `quality` measured last; it measures nothing itself. Only what is stale is trained anew, so it
matters where something holds training back: a schedule that is not due, a source that has not changed enough.
"""

from __future__ import annotations

from functools import partial

import dagster as dg

from assets.orchestration.automation import LOOK_SECONDS, request_run, why_busy
from assets.orchestration.execution import OpenRunner
from assets.orchestration.looking import Looking, look
from assets.quality import CHECK, STEP
from assets.release import log
from assets.store.runner import Runner

INTERVAL_SECONDS = 60
"""Least time between two looks where the pipeline declares none for its source."""


def sensors(open_runner: OpenRunner, runner: Runner, job_name: str) -> list[dg.SensorDefinition]:
    """The quality sensor of a pipeline that measures quality, else nothing.

    It is on if the pipeline declares a schedule or a sensor, and else off until somebody turns it on in the UI: to
    measure quality is not to ask for training. Its cursor is the run key that it asked for last, made of the champion
    and the source, so that a bad champion is answered once for each state of the source.
    """
    if not any(step.name == STEP.name for step in runner.chain):
        return []
    looking, declared = Looking(partial(look, open_runner, {}, waits=False)), runner.config
    by_itself = declared.schedule is not None or ("sensor" in declared.model_fields_set and declared.sensor is not None)

    @dg.sensor(
        name=f"{runner.name}_quality",
        job_name=job_name,
        minimum_interval_seconds=declared.sensor.minimum_interval_seconds if declared.sensor else INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if by_itself else dg.DefaultSensorStatus.STOPPED,
        description=f"Runs the steps of {runner.name} that are not fresh when its champion is too bad on new rows.",
    )
    def on_bad_quality(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        opened = open_runner()
        champion = log.champion(opened.store.log(opened.environment, opened.name))
        well = _why_well(opened, champion)
        if well is not None:
            return dg.SkipReason(well)
        seen = looking.take(LOOK_SECONDS)
        if seen is None:
            return dg.SkipReason("the source is being read; this goes on until the next look")
        key = f"quality-{champion}-{seen.digest}"
        if context.cursor == key:
            return dg.SkipReason(f"a run was asked for champion {champion} and source {seen.digest[:12]} already")
        busy = why_busy(context.instance, job_name)
        if busy is not None:
            return busy
        if not seen.plan.to_run:
            return dg.SkipReason(
                "the champion is below quality.floor, but every step is fresh: the gate refused what these rows and "
                "settings give; look at the newest rows, or change the training"
            )
        request = request_run(runner, seen.plan, seen.plan.to_run, run_key=key)
        return dg.SensorResult([request], cursor=key)

    return [on_bad_quality]


def _why_well(runner: Runner, champion: str | None) -> str | None:
    """Why no alarm stands about the model in use, or None if one does."""
    found = runner.standing(STEP.name)
    if found is None:
        return "quality was never measured"
    outcome = found.outcomes[CHECK]
    if outcome.passed:
        return outcome.message
    if found.measurements["champion"] != champion:
        return "the champion that was too bad is not in use any more"
    return None
