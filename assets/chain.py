"""The chain: every step, in the order in which data flow. The one place where the order is written."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from assets import (
    cleaned,
    drift,
    evaluation,
    model,
    predictions,
    quality,
    raw,
    release,
    review,
    search,
    splits,
    validated,
)

if TYPE_CHECKING:
    from assets.config.pipeline import Pipeline
    from assets.store.step import Step

CHAIN = (
    raw.STEP,
    validated.STEP,
    cleaned.STEP,
    review.STEP,
    splits.STEP,
    drift.STEP,
    quality.STEP,
    search.STEP,
    model.STEP,
    evaluation.STEP,
    release.STEP,
    predictions.STEP,
)


def chain_of(config: Pipeline) -> tuple[Step, ...]:
    """The steps that a configuration asks for, each with those of its inputs that it asks for."""
    wanted = [step for step in CHAIN if step.wanted is None or step.wanted(config)]
    names = {step.name for step in wanted}
    return tuple(
        dataclasses.replace(
            step,
            inputs=tuple(
                name
                for name in step.inputs
                if name in names and (name not in step.optional or step.optional[name](config))
            ),
        )
        for step in wanted
    )
