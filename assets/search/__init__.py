"""The search for settings of the training: each trial trains a model and is scored on the validation side.

What is found stands above the settings in `defs.yaml` when the step `model` is run; see `assets.store.step.Step.tunes`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from assets import model


def _libraries(config: Any) -> tuple[str, ...]:
    """Of all trainings that may be tried, so that one that is missing is told before the first."""
    return model.LORA if "training.lora_rank" in config.search.space else model.libraries(config)


STEP = dataclasses.replace(
    # A trial is what the step `model` would be with other settings, so all that this reads counts here too.
    model.STEP,
    name="search",
    description=(
        "Tries settings of the training that `search.space` allows, and keeps those whose models are best on the "
        "validation side. The first trial is the training as it is configured."
    ),
    function="assets.search.search:search",
    inputs=tuple(name for name in model.STEP.inputs if name != "search"),
    wanted=lambda config: config.search is not None,
    configuration=(*model.STEP.configuration, "search"),
    environment=(*model.STEP.environment, "optuna"),
    libraries=_libraries,
    roots=lambda config: (model.STEP.function,),
    preflight=None,
    program=None,
    tunes="model",
    checks=(),
    kinds=("pytorch",),
)
