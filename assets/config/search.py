"""Which settings of the training are searched for, and what that may cost."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from assets.config.section import OfTheMachine, Section, of_the_machine
from assets.config.training import Training

SECTION = "training"
FIXED = {
    "precision": "it is a matter of the device; set it in `training`",
    "seed": "it would be chosen for its luck; `search.seeds` takes the mean over several",
    "select_by": "it is what trials are compared by",
    "start": "`either` tries both; set it in `training`",
}
"""Fields of `training` that are not searched for, and why; nor are those of `OfTheMachine`."""
OF_THE_MACHINE = "it changes no result beyond rounding"

Choice = bool | int | float | str | None


class Dimension(Section):
    """Values that a setting may have: `choices`, or all from `low` to `high`."""

    choices: Annotated[tuple[Choice, ...], Field(min_length=2)] | None = None
    """The values, at least two, or null for `low` to `high`. `null` among them leaves the setting out."""
    low: float | None = None
    """Least value."""
    high: float | None = None
    """Greatest value, itself included."""
    log: bool = False
    """Whether equal factors count as equal distances, as with learning rates."""
    step: Annotated[float, Field(gt=0)] | None = None
    """Distance of the values that are tried, from `low` on, or null for any."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.choices is not None:
            if (self.low, self.high, self.step, self.log) != (None, None, None, False):
                raise ValueError("has `choices` and `low`, `high`, `log` or `step`; fix: keep one of the two kinds")
            if len({(type(choice), choice) for choice in self.choices}) < len(self.choices):
                raise ValueError("the same choice stands twice; fix: remove one of them")
        elif self.low is None or self.high is None:
            raise ValueError("says no values; accepted: `choices`, or `low` and `high`; fix: add them")
        else:
            self._check_range(self.low, self.high)
        return self

    def _check_range(self, low: float, high: float) -> None:
        if low >= high:
            raise ValueError(f"low {low:g} is not below high {high:g}; fix: change one of them")
        if self.log and low <= 0:
            raise ValueError(f"log wants low above 0, which is {low:g}; fix: raise low, or remove log")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other; fix: remove one of them, or write `choices`")
        if self.step is not None and self.step > high - low:
            raise ValueError(f"step {self.step:g} is more than high - low, {high - low:g}; fix: make it smaller")

    def values(self) -> Iterator[tuple[tuple[str | int, ...], Any]]:
        """The choices, or the bounds and the first step: where each stands in here, and a value that it stands for."""
        if self.choices is not None:
            for at, choice in enumerate(self.choices):
                yield ("choices", at), choice
        else:
            assert self.low is not None
            yield ("low",), self.low
            yield ("high",), self.high
            if self.step is not None:
                yield ("step",), self.low + self.step


class Pruner(Section):
    """When a trial is stopped early: after an epoch, when it is worse than half of the trials were then."""

    startup_trials: Annotated[int, Field(ge=1)] = 5
    """Trials that must have been trained to their end before any is stopped."""
    warmup_epochs: Annotated[int, Field(ge=1)] = 1
    """Epochs that every trial is given."""


def _fields(section: type[Section], prefix: str) -> Iterator[str]:
    """Dotted paths of the fields that may be searched for, those of sections below too."""
    for name, field in section.model_fields.items():
        inner = [each for each in (field.annotation, *get_args(field.annotation)) if isinstance(each, type)]
        inner = [each for each in inner if issubclass(each, Section)]
        if name in FIXED or of_the_machine(field):
            continue
        if inner:
            yield from _fields(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _searchable(path: str) -> str:
    accepted = list(_fields(Training, f"{SECTION}."))
    if path in accepted:
        return path
    name = path.removeprefix(f"{SECTION}.")
    field = Training.model_fields.get(name)
    why = OF_THE_MACHINE if field is not None and of_the_machine(field) else FIXED.get(name)
    if why is not None:
        raise ValueError(f"is not searched for: {why}; accepted: {', '.join(accepted)}; fix: remove it")
    near = difflib.get_close_matches(path, [*accepted], n=1) or [
        each for each in accepted if each.rpartition(".")[2] == path
    ]
    fix = f"did you mean {near[0]}?" if near else "remove it"
    raise ValueError(f"is no setting that can be searched for; accepted: {', '.join(accepted)}; fix: {fix}")


class Search(Section):
    """Which settings of the training are searched for before the model is trained with the best of them."""

    space: Annotated[dict[Annotated[str, AfterValidator(_searchable)], Dimension], Field(min_length=1)]
    """Dotted path of a setting below `training` → the values that it may have."""
    trials: Annotated[int, Field(ge=1, le=10_000)] = 20
    """How many settings are tried. The first are those of `training`, where the space has them."""
    minutes: Annotated[float, Field(gt=0.0)] | None = None
    """Minutes of training after which no further trial begins, or null for no limit."""
    seeds: Annotated[int, Field(ge=1, le=20)] = 1
    """Trainings of each trial, with seeds from `training.seed` on; trials are compared by their mean."""
    workers: Annotated[int, Field(ge=1, le=64), OfTheMachine()] = 1
    """Trials that are trained at the same time, each with its share of the machine's cores. With more than one, what is
    tried depends on which is done first. How a machine is used makes nothing stale."""
    pruner: Pruner | None = Pruner()
    """When a trial is stopped early, or null to train all of them to their end."""
