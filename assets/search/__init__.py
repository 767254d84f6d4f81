"""The search for settings of the training: each trial trains a model and is scored on the validation side.

What is found stands above the settings in `defs.yaml` when the step `model` is run; see `assets.store.step.Step.tunes`.
"""

from __future__ import annotations

from typing import Any

from assets import model
from assets.config.settings import with_settings
from assets.model.base import observe
from assets.store.step import Step


def _libraries(config: Any) -> tuple[str, ...]:
    """Of all trainings that may be tried, so that one that is missing is told before the first."""
    tried = [
        with_settings(config, {path: value})
        for path, dimension in config.search.space.items()
        for _, value in dimension.values()
    ]
    return tuple(sorted({name for each in (config, *tried) for name in model.libraries(each)}))


STEP = Step(
    name="search",
    description=(
        "Tries settings of the training that `search.space` allows, and keeps those whose models are best on the "
        "validation side. The first trial is the training as it is configured."
    ),
    function="assets.search.search:search",
    # A trial is what the step `model` would be with other settings, so all that this reads counts here too.
    inputs=("splits",),
    configuration=("task.labels", "training", "search"),
    externals=observe,
    environment=("torch", "transformers", "tokenizers", "optuna"),
    libraries=_libraries,
    roots=lambda config: (model.STEP.function,),
    wanted=lambda config: config.search is not None,
    tunes="model",
    accelerator=True,
    kinds=("pytorch",),
)
