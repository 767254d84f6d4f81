"""Runs one step of a pipeline inside a Dagster run: progress, programs, errors and retries in Dagster's terms."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError
from dagster._core.storage.tags import HIDDEN_TAG_PREFIX

from assets.errors import ConfigurationError, FreshtuneError, StoreError
from assets.orchestration.metadata import plan_table, plan_tag
from assets.orchestration.runs import MAY_PASS
from assets.progress import Event, Sink, discard
from assets.store.plan import Plan, StepPlan
from assets.store.program import Launcher, start_program
from assets.store.runner import Runner, StepResult

FORCE_TAG = "freshtune/force"
"""Run tag: steps to build even if they are fresh, separated by commas."""
SAMPLE_TAG = "freshtune/sample"
"""Run tag of `<pipeline>_sample`: how many rows."""
PLANNED_TAG = f"{HIDDEN_TAG_PREFIX}freshtune/planned"
"""Run tag, by pipeline: the run that its plan was written down for. A run that is launched again copies the tags."""
RETRIES = 3
RETRY_SECONDS = 5.0
"""Wait before the first retry of a transient error; doubled for each further one."""
LOG_SECONDS = 5.0
"""Least time between two lines about one progress bar in Dagster's log."""

Context = dg.AssetExecutionContext | dg.OpExecutionContext


class OpenRunner(Protocol):
    """Opens the pipeline that the definitions are about."""

    def __call__(
        self,
        *,
        sample: int | None = None,
        forced: Iterable[str] = (),
        sink: Sink = discard,
        launcher: Launcher = start_program,
    ) -> Runner:
        """See `assets.session.open_runner`."""
        ...


@dataclass
class Watch:
    """What a caller in the same process sees of a run: the command line's terminal is one.

    Attributes:
        sink: takes every progress event, as it comes.
        results: what became of each step that was done, in order.
        errors: what steps raised on purpose, in order; of a transient one each attempt.
    """

    sink: Sink = discard
    results: list[StepResult] = field(default_factory=list)
    errors: list[FreshtuneError] = field(default_factory=list)


class LogSink:
    """Sink that writes progress into Dagster's log: messages always, bars and metrics now and then.

    Attributes:
        log: Dagster's logger of the step.
        also: sink that takes every event too.
    """

    def __init__(self, log: dg.DagsterLogManager, also: Sink) -> None:
        self.log, self.also = log, also
        self._said: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self.also(event)
        if event["kind"] == "message":
            self.log.info(event["text"])
        elif event["kind"] == "advance" and self._due(event["description"]):
            total = "" if event["total"] is None else f" of {event['total']:,}"
            self._say(f"{event['description']}: {event['completed']:,}{total}", event["values"])
        elif event["kind"] == "metrics" and self._due("metrics"):
            self._say(f"step {event['at']:,}", event["values"])

    def _say(self, text: str, values: Mapping[str, float]) -> None:
        said = ", ".join([text, *(f"{name} {value:.4g}" for name, value in values.items())])
        self.log.info(said)

    def _due(self, what: str) -> bool:
        now = time.monotonic()
        if now - self._said.get(what, now - LOG_SECONDS) < LOG_SECONDS:
            return False
        self._said[what] = now
        return True


def pipes_launcher(context: Context) -> Launcher:
    """Launcher that starts a step's program through Dagster Pipes."""
    # Pipes reads properties that are deprecated on an asset's context and not on the op's context behind it.
    op_context = context.op_execution_context if isinstance(context, dg.AssetExecutionContext) else context

    def launch(command: Sequence[str], environment: Mapping[str, str]) -> None:
        with warnings.catch_warnings():
            # Dagster's own Pipes client warns of a property that only Dagster reads.
            warnings.filterwarnings("ignore", ".*PipesMessageReader.expected_writer_count", dg.PreviewWarning)
            run(command, environment)

    def run(command: Sequence[str], environment: Mapping[str, str]) -> None:
        try:
            dg.PipesSubprocessClient().run(context=op_context, command=command, env=environment)
        except DagsterPipesExecutionError as error:
            # How the program ended is read from its result file, which says more than an exit code.
            context.log.warning(str(error))

    return launch


def open_for_run(open_runner: OpenRunner, context: Context, watch: Watch) -> Runner:
    """Open the pipeline as the tags of the run say."""
    tags = context.run.tags
    sample = tags.get(SAMPLE_TAG)
    if sample is not None and not (sample.isdecimal() and int(sample) > 0):
        raise ConfigurationError(f"{sample!r} is no number of rows", where=f"run tag {SAMPLE_TAG}", fix="use 1 or more")
    return open_runner(
        sample=None if sample is None else int(sample),
        forced=[name.strip() for name in tags.get(FORCE_TAG, "").split(",") if name.strip()],
        sink=LogSink(context.log, watch.sink),
        launcher=pipes_launcher(context),
    )


def execute(context: Context, open_runner: OpenRunner, name: str, watch: Watch) -> tuple[Runner, StepResult]:
    """Run one step.

    Returns:
        The runner that did it, and what became of the step.

    Raises:
        dagster.RetryRequested: if it failed in a way that may pass.
        dagster.Failure: if it failed otherwise; not retried.
    """
    try:
        runner = open_for_run(open_runner, context, watch)
        runner.run = context.run.run_id
        selected = _selected(context, runner)
        _begin(context, runner, selected)
        _refuse_gap(runner, name, selected)
        result = runner.run_step(name)
    except FreshtuneError as error:
        watch.errors.append(error)
        if error.transient and context.retry_number < RETRIES:
            context.log.warning(str(error))
            raise dg.RetryRequested(RETRIES, RETRY_SECONDS * 2**context.retry_number) from error
        raise dg.Failure(str(error), metadata={MAY_PASS: _may_pass(error)}, allow_retries=False) from error
    watch.results.append(result)
    reasons = "; ".join(str(reason) for reason in result.reasons)
    said = f"{name}: {result.action} in {result.seconds:.2f} s"
    context.log.info(f"{said} ({reasons})" if reasons else said)
    return runner, result


def _may_pass(error: FreshtuneError) -> bool:
    """Whether the same run may succeed later: a full disk, a training that was killed, a server that did not answer."""
    return error.transient or isinstance(error, StoreError)


def _selected(context: Context, runner: Runner) -> list[str]:
    """Steps of the pipeline that this run is about, in the order of the chain."""
    nodes = {node.name for node in context.job_def.nodes}
    prefix = runner.name if runner.sample is None else f"{runner.name}_sample"
    return [step.name for step in runner.chain if f"{prefix}__{step.name}" in nodes]


def _begin(context: Context, runner: Runner, selected: Sequence[str]) -> None:
    """Before the first step of a run: look for errors in the configuration, and write down what is to be done and why.

    Raises:
        ConfigurationError: if there are any.
    """
    mark = f"{PLANNED_TAG}/{runner.name}"
    run = context.instance.get_run_by_id(context.run.run_id)
    assert run is not None
    if run.tags.get(mark) == run.run_id:
        return
    # Not what comes after: nobody asked for it, and what is wrong with it stops nothing here.
    known: dict[str, StepPlan] = {}
    for name in reversed(selected):
        if name not in known:
            step = runner.step(name)
            # Nor what it comes after without reading it, if that is not run: it may not be in order.
            alone = step.alone and not set(step.after).intersection(selected)
            plan = runner.plan_alone(name) if alone else runner.plan(name)
            known |= {entry.step: entry for entry in plan.steps}
    plan = Plan(runner.name, tuple(known[name] for name in selected))
    runner.preflight(plan)
    context.log.info(plan_table(plan))
    context.instance.add_run_tags(run.run_id, {**plan_tag(plan), mark: run.run_id})


def _refuse_gap(runner: Runner, name: str, selected: Sequence[str]) -> None:
    """Refuse to make a step from results that do not belong together.

    Whoever selects steps one by one may leave out one in between, and so does "Materialize unsynced", which looks one
    step far. A model from earlier splits may have been trained on rows that are on the test side now.

    Raises:
        ConfigurationError: if a step before it was made from something that is not what stands now.
    """
    *before, step = runner.closure(name)
    if not step.inputs:
        # What it comes after may be anything: it reads nothing of theirs.
        return
    stands = {each.name: record for each in before if (record := runner.stands_for(each)) is not None}
    moved = {*step.inputs, *selected} & stands.keys()
    for each, record in stands.items():
        for made_from in moved.intersection(runner.step(each).inputs):
            if not runner.is_made_from(runner.step(each), record, made_from, stands[made_from].content):
                raise ConfigurationError(
                    f"{name} refuses to run: {each} was made from an earlier {made_from}",
                    where=runner.name,
                    fix=f"select {each} and what follows it too, or every step: what is fresh is only looked up",
                )
