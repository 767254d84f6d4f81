"""Everything that Dagster knows of one pipeline: its assets with their checks, and the jobs over them."""

# No `from __future__ import annotations` here: Dagster reads the annotation of `context` as an object.
import warnings
from collections.abc import Iterator

import dagster as dg

from assets.errors import FreshtuneError
from assets.orchestration import quality
from assets.orchestration.automation import SOURCE, schedule, sensor, sensor_alone
from assets.orchestration.execution import SAMPLE_TAG, OpenRunner, Watch, execute, open_for_run
from assets.orchestration.freshness import policy, training_step
from assets.orchestration.metadata import Value, check_result, plan_table, plan_tag, step_metadata
from assets.store.runner import Runner
from assets.store.step import Observation, Step

GPU_POOL = "gpu"
DATA_VERSION_TAG = "dagster/data_version"
SAMPLE_ROWS = 500
"""Rows of a sample that is launched without a number."""


def pipeline_definitions(open_runner: OpenRunner, watch: Watch | None = None) -> dg.Definitions:
    """Definitions of one pipeline.

    Args:
        open_runner: opens the pipeline.
        watch: takes what happens in runs of this process, where somebody watches.
    """
    runner, watch = open_runner(), watch or Watch()
    assets = dg.define_asset_job(
        name=f"{runner.name}_job",
        selection=dg.AssetSelection.assets(*(asset_key(runner, step.name) for step in runner.chain)),
        description=f"Runs steps of {runner.name}; each reuses what the store has.",
        executor_def=dg.in_process_executor,
    )
    declared = runner.config
    # Each has a job of its own, for it waits for no training: what one run does, another finds in the store.
    alone = {f"{runner.name}_{step.name}": step for step in runner.chain if step.alone}
    return dg.Definitions(
        assets=[
            _source_asset(open_runner, runner, watch),
            *(_asset(open_runner, runner, step, watch) for step in runner.chain),
        ],
        jobs=[
            assets,
            _plan_job(open_runner, runner, watch),
            _sample_job(open_runner, runner, watch),
            *(
                dg.define_asset_job(
                    name=name,
                    selection=dg.AssetSelection.assets(asset_key(runner, step.name)),
                    description=f"Runs the step {step.name} of {runner.name} with the model in use.",
                    executor_def=dg.in_process_executor,
                )
                for name, step in alone.items()
            ),
        ],
        schedules=[schedule(open_runner, runner, assets.name, declared.schedule)] if declared.schedule else [],
        sensors=[
            *([sensor(open_runner, runner, assets.name, declared.sensor)] if declared.sensor else []),
            *(
                sensor_alone(open_runner, runner, step, name, declared.sensor)
                for name, step in alone.items()
                if declared.sensor
            ),
            *quality.sensors(open_runner, runner, assets.name),
        ],
    )


def asset_key(runner: Runner, name: str) -> dg.AssetKey:
    """Key of the asset that a step of a pipeline makes."""
    return dg.AssetKey([runner.name, name])


def _comes_after(step: Step, *, first: bool = False) -> tuple[str, ...]:
    return (*step.inputs, *step.after, *((SOURCE,) if first else ()))


def _source_asset(open_runner: OpenRunner, runner: Runner, watch: Watch) -> dg.AssetsDefinition:
    first = runner.chain[0]
    spec = dg.AssetSpec(
        asset_key(runner, SOURCE),
        group_name=runner.name,
        description="Labelled examples outside the store; the data version is the digest of what they are.",
    )
    with warnings.catch_warnings():
        # Observable source assets are marked as beta; they are what Dagster has for data that it does not make.
        warnings.simplefilter("ignore", dg.BetaWarning)

        @dg.multi_observable_source_asset(name=f"{runner.name}__{SOURCE}", specs=[spec])  # type: ignore[untyped-decorator]
        def observe(context: dg.AssetExecutionContext) -> dg.ObserveResult:
            try:
                opened = open_for_run(open_runner, context, watch)
                seen = opened.observe(first)[SOURCE]
                opened.store.index.save()
            except FreshtuneError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            return dg.ObserveResult(data_version=dg.DataVersion(seen.digest), metadata=_observed(seen))

    source: dg.AssetsDefinition = observe
    return source


def _observed(seen: Observation) -> dict[str, Value]:
    return {
        "location": dg.MetadataValue.text(seen.location),
        "files": dg.MetadataValue.int(len(seen.files)),
        "bytes": dg.MetadataValue.int(sum(file.size for file in seen.files)),
    }


def _asset(open_runner: OpenRunner, runner: Runner, step: Step, watch: Watch) -> dg.AssetsDefinition:
    key = asset_key(runner, step.name)
    reads_source = step is runner.chain[0]

    @dg.asset(
        key=key,
        deps=[asset_key(runner, name) for name in _comes_after(step, first=reads_source)],
        group_name=runner.name,
        kinds=set(step.kinds),
        description=step.description,
        code_version=runner.code_version(step),
        pool=GPU_POOL if step.accelerator else None,
        freshness_policy=policy(runner.config.freshness) if step is training_step(runner.chain) else None,
        check_specs=[
            dg.AssetCheckSpec(check.name, asset=key, description=check.description, blocking=check.blocking)
            for check in step.checks
        ],
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster takes the bare class only
        if SAMPLE_TAG in context.run.tags:
            raise dg.Failure(
                f"assets stand for the whole data; a sample is run by the job {runner.name}_sample", allow_retries=False
            )
        opened, result = execute(context, open_runner, step.name, watch)
        if reads_source:
            _report_source(context, asset_key(runner, SOURCE), opened.observe(step)[SOURCE])
        return dg.MaterializeResult(
            data_version=dg.DataVersion(result.record.content),
            metadata=step_metadata(opened, result),
            check_results=[check_result(key, check, result.outcomes[check.name]) for check in step.checks],
        )

    return asset


def _report_source(context: dg.AssetExecutionContext, source: dg.AssetKey, seen: Observation) -> None:
    """Report the source as the step saw it, so that the step counts as made from exactly this data version."""
    context.log_event(dg.AssetObservation(source, metadata=_observed(seen), tags={DATA_VERSION_TAG: seen.digest}))
    # Dagster looked at the source's last observation before the step began; let it look again.
    context.get_step_execution_context().wipe_input_asset_version_info(source)


def _plan_job(open_runner: OpenRunner, runner: Runner, watch: Watch) -> dg.JobDefinition:
    @dg.op(name=f"{runner.name}_plan_steps", out=dg.Out(dg.Nothing))
    def plan_steps(context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
        try:
            plan = open_for_run(open_runner, context, watch).plan()
        except FreshtuneError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        table, to_run = plan_table(plan), ", ".join(plan.to_run) or "nothing"
        said = f"to run: {to_run}\n{table}"
        context.log.info(said)
        context.instance.add_run_tags(context.run_id, {"freshtune/to_run": to_run, **plan_tag(plan)})
        yield dg.Output(
            None,
            metadata={
                "plan": dg.MetadataValue.md(table),
                "to_run": dg.MetadataValue.text(to_run),
                "plan_json": dg.MetadataValue.json(plan.json()),
            },
        )

    @dg.job(
        name=f"{runner.name}_plan",
        description=f"Shows what a run of {runner.name} would do and why, and runs nothing.",
        executor_def=dg.in_process_executor,
    )
    def plan_job() -> None:
        plan_steps()

    return plan_job


def _sample_job(open_runner: OpenRunner, runner: Runner, watch: Watch) -> dg.JobDefinition:
    """The chain over a few rows. Ops and not assets: the assets go on standing for the whole."""

    def op(step: Step) -> dg.OpDefinition:
        @dg.op(
            name=f"{runner.name}_sample__{step.name}",
            description=step.description,
            ins={name: dg.In(dg.Nothing) for name in _comes_after(step)},
            out=dg.Out(dg.Nothing),
            pool=GPU_POOL if step.accelerator else None,
        )
        def run(context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
            opened, result = execute(context, open_runner, step.name, watch)
            yield dg.Output(None, metadata=step_metadata(opened, result))

        return run

    ops = {step.name: op(step) for step in runner.chain}
    return dg.GraphDefinition(
        name=f"{runner.name}_sample",
        description=f"Tries {runner.name} on as many rows as the tag {SAMPLE_TAG} says, apart from all other results.",
        node_defs=list(ops.values()),
        dependencies={
            ops[step.name].name: {name: dg.DependencyDefinition(ops[name].name) for name in _comes_after(step)}
            for step in runner.chain
        },
    ).to_job(tags={SAMPLE_TAG: str(SAMPLE_ROWS)}, executor_def=dg.in_process_executor)
