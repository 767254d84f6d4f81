"""The search's memory and its choice of what to try next, by Optuna.

One worker gives the same trials every time: each choice follows from the finished trials and its own number alone. So a
search that was killed goes on as if it had not been, and one with more trials repeats the first ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from assets.store.digests import digest_json

NAME = "search"
ENOUGH = 8
"""Trials trained to the end from which on the importance of settings is told: of fewer it would be chance."""

Space = Mapping[str, BaseDistribution]


def space_of(declared: Mapping[str, Mapping[str, Any]], present: Mapping[str, Any]) -> Space:
    """Optuna's space, in the order of the names.

    Args:
        declared: dotted path → `choices`, or `low`, `high`, `log` and `step`; what is None is not declared.
        present: dotted path → value in the configuration.
    """
    return {path: _distribution(declared[path], present[path]) for path in sorted(declared)}


def _distribution(declared: Mapping[str, Any], present: Any) -> BaseDistribution:
    if declared["choices"] is not None:
        return CategoricalDistribution(declared["choices"])
    low, high, log, step = (declared[name] for name in ("low", "high", "log", "step"))
    # A field for any number holds a `float`, one for whole numbers an `int`, and either may hold nothing.
    if not isinstance(present, float) and all(float(value).is_integer() for value in (low, high, step or 1)):
        return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return FloatDistribution(low, high, log=log, step=step)


def has(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a space has a value."""
    if isinstance(distribution, CategoricalDistribution):
        return any(choice == value and type(choice) is type(value) for choice in distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if not isinstance(value, int | float) or not distribution.low <= value <= distribution.high:
        return False
    steps = (value - distribution.low) / distribution.step if distribution.step else 0.0
    return abs(steps - round(steps)) < 1e-8


class Study:
    """The trials so far, kept in a file.

    Args:
        journal: the file; the trials that it has are finished ones from then on.
        space: what may be tried.
        first: settings that are tried first if the space has them.
        seed: of every choice.
        minimise: whether lower scores are better.
        pruner: `startup_trials` and `warmup_epochs`, or None to stop no trial.
    """

    def __init__(
        self,
        journal: Path,
        space: Space,
        first: Mapping[str, Any],
        *,
        seed: int,
        minimise: bool,
        pruner: Mapping[str, int] | None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self._seed = space, seed
        storage = JournalStorage(JournalFileBackend(str(journal)))
        chosen: BasePruner = NopPruner()
        if pruner is not None:
            chosen = MedianPruner(pruner["startup_trials"], pruner["warmup_epochs"])
        direction: Literal["minimize", "maximize"] = "minimize" if minimise else "maximize"
        self._study = optuna.create_study(
            storage=storage, study_name=NAME, direction=direction, pruner=chosen, load_if_exists=True
        )
        finished = self.finished
        if len(finished) < len(self._study.trials):
            # A killed search leaves trials that nobody goes on with, and each would count as one of its own.
            optuna.delete_study(study_name=NAME, storage=storage)
            self._study = optuna.create_study(storage=storage, study_name=NAME, direction=direction, pruner=chosen)
            self._study.add_trials(finished)
        tried = any(trial.params == first for trial in finished)
        if not tried and all(has(space[path], value) for path, value in first.items()):
            self._study.enqueue_trial(dict(first))

    @property
    def finished(self) -> list[FrozenTrial]:
        """Trials that are over, whatever came of them, by their numbers."""
        return [trial for trial in self._study.get_trials(deepcopy=False) if trial.state.is_finished()]

    @property
    def best(self) -> FrozenTrial | None:
        """The best of those that were trained to their end, the earliest of equals."""
        sign = 1 if self._study.direction == optuna.study.StudyDirection.MINIMIZE else -1
        done = [trial for trial in self.finished if trial.state is TrialState.COMPLETE]
        return min(done, key=lambda trial: (sign * (trial.value or 0.0), trial.number), default=None)

    def importance(self) -> dict[str, float] | None:
        """How much each setting decides whether a trial is among the better ones, or None where too little tells."""
        done = [trial for trial in self.finished if trial.state is TrialState.COMPLETE]
        if len(self.space) == 1 or len(done) < ENOUGH or len({trial.value for trial in done}) == 1:
            return None
        shares = optuna.importance.get_param_importances(self._study)
        return shares if sum(shares.values()) > 0 else None

    def ask(self) -> Trial:
        """Choose what to try next."""
        number = sum(trial.state is not TrialState.WAITING for trial in self._study.get_trials(deepcopy=False))
        self._study.sampler = TPESampler(seed=int(digest_json([self._seed, number])[:8], 16))
        return self._study.ask(dict(self.space))

    def tell(self, trial: Trial, score: float | None) -> None:
        """Say what came of a trial: its score, or None if it has none because it was stopped or failed."""
        if score is None:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, score)
