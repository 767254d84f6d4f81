"""Whether Dagster shows a pipeline's model as overdue.

Dagster goes by the last materialization, and a model that nothing has made stale is not materialised. So whoever looks
at the pipeline reports now and then that the model was looked at, and is what it should be.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from assets.config.automation import Freshness
from assets.store.plan import Plan
from assets.store.runner import Runner
from assets.store.step import Step

OFTEN = 4
"""How many reports there are in the shortest of the policy's durations: few rows in the history, and none too late."""


def training_step(chain: Sequence[Step]) -> Step:
    """The step that trains: the first dear one that does not only try another."""
    return next(step for step in chain if is_dear(step) and step.tunes is None)


def is_dear(step: Step) -> bool:
    """Whether a step wants the accelerator or has a program of its own."""
    return step.accelerator or step.program is not None


def policy(declared: Freshness | None) -> dg.FreshnessPolicy | None:
    """Dagster's policy for the step that trains."""
    if declared is None:
        return None
    return dg.FreshnessPolicy.time_window(fail_window=declared.fail_after, warn_window=declared.warn_after)


def report_fresh(instance: dg.DagsterInstance, runner: Runner, plan: Plan) -> None:
    """Report that the model was looked at, if the plan says that it is fresh and nothing said so for some time.

    Fresh means that it is what the source, as it is now, and the present configuration and code make of it.
    """
    declared = runner.config.freshness
    step = training_step(runner.chain)
    if declared is None or plan[step.name].state != "fresh":
        return
    key = dg.AssetKey([runner.name, step.name])
    last = instance.get_latest_materialization_event(key)
    shortest: timedelta = declared.warn_after or declared.fail_after
    if last is None or last.asset_materialization is None:
        return
    if time.time() - last.timestamp < shortest.total_seconds() / OFTEN:
        return
    # With its versions, which nothing has changed: what comes after it is no less fresh for this.
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            key,
            description="Looked at: it is what the source and the configuration make of it. Nothing was computed.",
            tags=last.asset_materialization.tags,
            metadata={"action": dg.MetadataValue.text("fresh"), "reused": dg.MetadataValue.bool(True)},
        )
    )
