"""What starts runs without being asked: the schedule and the new-data sensor of a pipeline.

Both select only what is not fresh, so that what the store has already never queues behind a training. A schedule is on
as soon as the YAML declares it. Every pipeline has a sensor unless its YAML says `sensor: null`; it is on if the YAML
declares it, and else off until somebody turns it on in the UI, so that nothing trains without having been asked to.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from itertools import takewhile
from pathlib import Path

import dagster as dg

from assets.config.automation import Schedule, Sensor
from assets.errors import ChangingError, TransientError
from assets.orchestration.arrival import Look, Memory, Waiting, decide
from assets.orchestration.execution import OpenRunner
from assets.orchestration.freshness import is_dear, report_fresh, training_step
from assets.orchestration.metadata import plan_tag
from assets.orchestration.runs import UNDER_WAY, asked_for, end_orphans, relaunched
from assets.store.digests import digest_json
from assets.store.plan import Plan
from assets.store.runner import Runner
from assets.store.step import ObservedFile, Step

SOURCE = "source"
"""External input of the first step, and name of the asset that stands for it."""
LOOK_SECONDS = 40.0
"""How long a tick of the sensor waits for its look at the source; Dagster gives up on a tick after 60 seconds."""
QUIET_SECONDS = 2.0
"""A file that was written this recently may still be being written."""
RETRY_TAGS = {"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false"}
"""A run whose process died is launched again; one whose step failed is not, for a step retries itself what may pass."""

Counted = dict[tuple[str, str], int]
"""New rows, by the content digests of what is there now and of what was there earlier."""


def look(open_runner: OpenRunner, counted: Counted, *, waits: bool) -> Look:
    """Look at a pipeline's source and plan.

    Args:
        open_runner: opens the pipeline.
        counted: what was counted before; what is counted now comes in its place.
        waits: whether rows wait for more of them before they are trained on.

    Raises:
        FreshtuneError: if the source cannot be read.
    """
    runner = open_runner()
    first = runner.chain[0]
    plan, source = runner.plan(), runner.observe(first)[SOURCE]
    standing = runner.store.reference(runner.environment, runner.name, first.name)
    known = standing is not None and standing.ingredients["inputs"].get(SOURCE) == source.digest
    before = {} if standing is None else standing.files.get(SOURCE, {})
    changed = [file for file in source.files if before.get(file.name, [""])[0] != file.sha256]
    return Look(
        digest=source.digest,
        known=known,
        unsettled="" if known else next(_unsettled(changed), ""),
        settings=_settings(runner),
        plan=plan,
        cheap=tuple(step.name for step in takewhile(lambda step: not is_dear(step), runner.chain)),
        waiting=_waiting(runner, counted) if waits else None,
    )


def _unsettled(files: Sequence[ObservedFile]) -> Iterator[str]:
    """Why each file may still be being written."""
    for file in files:
        if file.size == 0:
            yield f"{file.name} is empty, as a file is that somebody has just begun to write"
        elif "://" not in file.path and _just_written(Path(file.path)):
            yield f"{file.name} was written a moment ago, and may not be whole yet"


def _just_written(path: Path) -> bool:
    try:
        # A clock that differs from the disk's is no reason to wait for ever.
        return abs(time.time() - path.stat().st_mtime) < QUIET_SECONDS
    except FileNotFoundError:
        return True


def _settings(runner: Runner) -> str:
    """Digest of what a run depends on beside the source: a run that failed may do better when it is another."""
    others = {
        step.name: sorted([name, seen.digest] for name, seen in runner.observe(step).items() if name != SOURCE)
        for step in runner.chain
    }
    code = {step.name: runner.code_version(step) for step in runner.chain}
    return digest_json([runner.config.model_dump(mode="json"), code, others])


def _waiting(runner: Runner, counted: Counted) -> Waiting:
    training = training_step(runner.chain)
    holder = counting_step(runner.chain)
    rows, model = runner.stands_for(holder), runner.stands_for(training)
    now = "" if rows is None else rows.content
    trained = "" if model is None else model.ingredients["inputs"].get(holder.name, "")
    if now and (now, trained) not in counted:
        # What an earlier model was made from may be gone from the store; every row counts as new then.
        there = trained and runner.store.fault("objects", trained) is None
        earlier = runner.store.open("objects", trained, reading=False) if there else None
        assert holder.new_rows is not None
        module, _, name = holder.new_rows.partition(":")
        count = getattr(importlib.import_module(module), name)
        new = count(runner.store.open("objects", now, reading=False), earlier)
        counted.clear()
        counted[now, trained] = new
    begun = 0.0 if model is None else model.time - model.seconds
    return Waiting(now, trained, counted.get((now, trained), 0), begun)


def counting_step(chain: Sequence[Step]) -> Step:
    """The step whose rows the training is given."""
    inputs = training_step(chain).inputs
    return next(step for step in chain if step.name in inputs and step.new_rows is not None)


class Looking:
    """A look in a thread of its own, which goes on from tick to tick when the source is large."""

    def __init__(self, open_runner: OpenRunner, *, waits: bool) -> None:
        self._open_runner, self._waits = open_runner, waits
        self._counted: Counted = {}
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
            begun.set_result(look(self._open_runner, self._counted, waits=self._waits))
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
    looking = Looking(open_runner, waits=declared.min_new_rows is not None)
    name = f"{runner.name}_new_data"
    chosen = "sensor" in runner.config.model_fields_set
    max_wait = None if declared.max_wait is None else declared.max_wait.total_seconds()

    @dg.sensor(
        name=name,
        job_name=job_name,
        minimum_interval_seconds=declared.minimum_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if chosen else dg.DefaultSensorStatus.STOPPED,
        description=f"Runs the steps of {runner.name} that are not fresh when its source changes.",
    )
    def on_new_data(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            seen = looking.take(LOOK_SECONDS)
        except ChangingError as error:
            return dg.SkipReason(f"{error.where}: {error.what}; the next look is another")
        if seen is None:
            return dg.SkipReason("the source is being read; this goes on until the next look")
        report_fresh(context.instance, runner, seen.plan)
        memory = Memory.read(context.cursor)
        busy = why_busy(context.instance, job_name)
        if busy is not None:
            return busy
        decided = decide(
            seen,
            memory,
            asked_for(context.instance, name, memory.key, job_name),
            min_new_rows=declared.min_new_rows or 0,
            max_wait=max_wait,
            now=time.time(),
        )
        cursor = decided.memory.written()
        if not decided.steps:
            return dg.SensorResult(skip_reason=decided.reason, cursor=cursor)
        return dg.SensorResult(
            [request_run(runner, seen.plan, decided.steps, run_key=decided.memory.key)], cursor=cursor
        )

    return on_new_data


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
