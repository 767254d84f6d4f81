"""The step's function: tries settings until the budget is spent, and keeps the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from threading import Event as Flag
from threading import Lock
from typing import Any

from optuna.trial import Trial, TrialState

from assets.errors import DataError
from assets.progress import Event
from assets.search.study import Study, space_of
from assets.search.trial import Training, score_of
from assets.store.digests import write_json
from assets.store.step import SETTINGS, Build, Measurements, Try

SECTION = "training"
FAILED = "failed"
"""Attribute of a trial whose training failed: why."""


def search(
    build: Build,
    *,
    space: Mapping[str, Mapping[str, Any]],
    trials: int,
    minutes: float | None,
    seeds: int,
    workers: int = 1,
    pruner: Mapping[str, int] | None,
    select_by: str,
    seed: int,
    **training: Any,
) -> Measurements:
    """Find the settings whose trainings are best on the validation side.

    Writes `settings.json` into the content: dotted path → value. The other arguments are the fields of `training`.

    Raises:
        DataError: no trial could be trained to its end.
        FreshtuneError: what a training raised, but for a `DataError`: that is its trial's end alone.
    """
    present = {path: _value(training, path) for path in space}
    study = Study(
        build.work / "study.log",
        space_of(space, present),
        present,
        seed=seed,
        minimise=select_by == "loss",
        pruner=pruner,
    )
    assert build.try_step is not None
    running = _Search(build, build.try_step, study, select_by, range(seed, seed + seeds), trials)
    running.run(minutes, workers)
    best = study.best
    if best is None:
        raise DataError(
            f"none of {trials} trials could be trained to its end; the last one: {running.failed}",
            where="search",
            fix="look at the values of search.space; a learning rate that is too high is the usual cause",
        )
    write_json(build.content / SETTINGS, best.params)
    finished = study.finished
    return {
        "best_trial": best.number + 1,
        "score": best.value,
        "select_by": select_by,
        "settings": best.params,
        "trials": len(finished),
        "stopped_early": sum(trial.state is TrialState.PRUNED and FAILED not in trial.user_attrs for trial in finished),
        "failed": sum(FAILED in trial.user_attrs for trial in finished),
    }


def _value(training: Mapping[str, Any], path: str) -> Any:
    found: Any = training
    for part in path.split(".")[1:]:
        found = found[part]
    return found


class _Search:
    """A search that is under way."""

    def __init__(
        self, build: Build, try_step: Try, study: Study, select_by: str, seeds: Sequence[int], trials: int
    ) -> None:
        self._progress, self._try_step, self._study = build.progress, try_step, study
        self._select_by, self._seeds, self._trials = select_by, seeds, trials
        self._over, self._telling, self._judging = Flag(), Lock(), Lock()
        self._best: float | None = None
        self.failed = ""

    def run(self, minutes: float | None, workers: int) -> None:
        """Try until the budget is spent."""
        running: dict[Future[float | None], Trial] = {}
        with self._progress.bar("trials", total=self._trials) as self._advance, ThreadPoolExecutor(workers) as pool:
            self._advance(len(self._study.finished))
            try:
                while True:
                    while len(running) < workers and self._goes_on(minutes, workers, len(running)):
                        trial = self._study.ask()
                        running[pool.submit(self._train, trial)] = trial
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        self._take(running.pop(future), future)
            except BaseException:
                # The others save what they have done, and end.
                self._over.set()
                raise
            tried = len(self._study.finished)
            if tried < self._trials:
                self._progress.message(f"the minutes are spent after {tried} of {self._trials} trials")

    def _goes_on(self, minutes: float | None, workers: int, running: int) -> bool:
        finished = self._study.finished
        if len(finished) + running >= self._trials:
            return False
        spent = sum(trial.duration.total_seconds() for trial in finished if trial.duration is not None) / workers
        return minutes is None or spent < 60 * minutes

    def _train(self, trial: Trial) -> float | None:
        """Train with each seed; the mean score, or None if it was stopped."""
        told = ", ".join(f"{path.removeprefix(f'{SECTION}.')} {value}" for path, value in trial.params.items())
        self._say(trial, told)
        scores = []
        for at, seed in enumerate(self._seeds):
            training = Training(
                self._select_by,
                report=partial(self._report, trial) if at == 0 else lambda *_: False,
                told=partial(self._pass_on, trial),
                over=self._over.is_set,
                worth_keeping=self._is_best if at == 0 else lambda _: False,
            )
            settings = {**trial.params, f"{SECTION}.seed": seed}
            summary = self._try_step(settings, training)
            training.replay(summary)
            if not training.enough and not summary["finished"]:
                # An earlier search had seen enough, this one has not.
                summary = self._try_step(settings, training, whole=True)
                training.replay(summary)
            if training.enough:
                return None
            scores.append(score_of(summary, self._select_by))
        return sum(scores) / len(scores)

    def _report(self, trial: Trial, epoch: int, score: float) -> bool:
        with self._judging:
            trial.report(score, epoch)
            return bool(trial.should_prune())

    def _is_best(self, score: float) -> bool:
        """Whether a training of the first seed is the best of those so far."""
        with self._judging:
            sign = 1 if self._select_by == "loss" else -1
            if self._best is not None and sign * score >= sign * self._best:
                return False
            self._best = score
            return True

    def _take(self, trial: Trial, future: Future[float | None]) -> None:
        try:
            score = future.result()
        except DataError as error:
            # A loss that is not finite, as of a learning rate that is too high: nothing to learn for the others.
            self.failed = error.what
            trial.set_user_attr(FAILED, error.what)
            score = None
            self._say(trial, f"failed: {error.what}")
        else:
            self._say(trial, "stopped early" if score is None else f"{self._select_by} {score:.4g}")
        self._study.tell(trial, score)
        best = self._study.best
        with self._telling:
            self._advance(1, **({} if best is None or best.value is None else {"best": best.value}))

    def _say(self, trial: Trial, text: str) -> None:
        with self._telling:
            self._progress.message(f"trial {trial.number + 1} of {self._trials}: {text}")

    def _pass_on(self, trial: Trial, event: Event) -> None:
        """Tell what a training says as what the search does."""
        if event["kind"] == "message":
            self._say(trial, event["text"])
        elif event["kind"] == "advance":
            with self._telling:
                self._advance(0, **event["values"])
