"""The step's function: tries settings until the budget is spent, and keeps the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import partial
from threading import Event as Flag
from threading import Lock
from typing import Any, Literal

from optuna.trial import FrozenTrial, Trial

from assets.config.search import SECTION
from assets.errors import DataError
from assets.model.recipe import better
from assets.progress import Event
from assets.search import report
from assets.search.study import Study, space_of
from assets.search.trial import Training, kept_epoch
from assets.store.digests import write_json
from assets.store.step import SETTINGS, Build, Measurements, Try

TOLD = "told"
"""Attribute of a trial: what came of it, for people."""


def search(
    build: Build,
    *,
    space: Mapping[str, Mapping[str, Any]],
    trials: int,
    minutes: float | None,
    seeds: int,
    workers: int,
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
    # What the model would be comes last: then it is known whether it is worth keeping.
    seeded = (*range(seed + 1, seed + seeds), seed)
    running = _Search(build, build.try_step, study, select_by=select_by, seeds=seeded, trials=trials, workers=workers)
    running.run(minutes)
    best, told = study.best, [_told(trial) for trial in study.finished]
    if best is None:
        raise DataError(
            f"none of {len(told)} trials could be trained to its end; the last one: {told[-1]['why']}",
            where="search",
            fix="look at the values of search.space; a learning rate that is too high is the usual cause",
        )
    write_json(build.content / SETTINGS, best.params)
    report.write(
        build.trace,
        told,
        best.number + 1,
        pipeline=build.pipeline,
        select_by=select_by,
        seeds=seeds,
        space=space,
        present=present,
        importance=study.importance(),
    )
    outcomes = [each["outcome"] for each in told]
    return {
        "best_trial": best.number + 1,
        "score": best.value,
        "select_by": select_by,
        "settings": best.params,
        "trials": len(told),
        "stopped_early": outcomes.count("stopped early"),
        "failed": outcomes.count("failed"),
        "known": sum(each["known"] for each in told),
    }


def _told(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as the report has it; see `assets.search.report.write`."""
    assert trial.duration is not None
    seconds = trial.duration.total_seconds()
    return {"number": trial.number + 1, "settings": trial.params, "seconds": seconds, **trial.user_attrs[TOLD]}


def _value(training: Mapping[str, Any], path: str) -> Any:
    found: Any = training
    for part in path.split(".")[1:]:
        found = found[part]
    return found


@dataclass(frozen=True)
class _Told:
    """What came of a trial; see `assets.search.report.write`."""

    outcome: Literal["trained", "stopped early", "failed"]
    score: float | None
    measured: Mapping[str, float] | None
    epochs: int
    known: bool
    why: str = ""


class _Search:
    """A search that is under way."""

    def __init__(
        self,
        build: Build,
        try_step: Try,
        study: Study,
        *,
        select_by: str,
        seeds: Sequence[int],
        trials: int,
        workers: int,
    ) -> None:
        self._progress, self._try_step, self._study = build.progress, try_step, study
        self._select_by, self._seeds, self._trials, self._workers = select_by, seeds, trials, workers
        self._over, self._telling = Flag(), Lock()

    def run(self, minutes: float | None) -> None:
        """Try until the budget is spent."""
        running: dict[Future[_Told], Trial] = {}
        with (
            self._progress.bar("trials", total=self._trials) as self._advance,
            ThreadPoolExecutor(self._workers) as pool,
        ):
            self._advance(len(self._study.finished))
            try:
                while True:
                    while len(running) < self._workers and self._goes_on(minutes, len(running)):
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

    def _goes_on(self, minutes: float | None, running: int) -> bool:
        finished = self._study.finished
        if len(finished) + running >= self._trials:
            return False
        spent = sum(trial.duration.total_seconds() for trial in finished if trial.duration is not None)
        return minutes is None or spent < 60 * minutes * self._workers

    def _train(self, trial: Trial) -> _Told:
        """Train with each seed."""
        told = ", ".join(f"{path.removeprefix(f'{SECTION}.')} {value}" for path, value in trial.params.items())
        self._say(trial, told)
        kept: list[Mapping[str, float]] = []
        epochs, known = 0, True
        for seed in self._seeds:
            training = Training(
                self._select_by,
                # One training is enough to see that a trial is not worth going on.
                report=(lambda *_: False) if kept else partial(self._report, trial),
                told=partial(self._pass_on, trial),
                over=self._over.is_set,
                worth_keeping=partial(self._is_best, [epoch[self._select_by] for epoch in kept]),
            )
            settings = {**trial.params, f"{SECTION}.seed": seed}
            summary = self._try_step(settings, training, at_once=self._workers)
            training.replay(summary)
            if not training.enough and not summary["finished"]:
                # An earlier search had seen enough, this one has not.
                summary = self._try_step(settings, training, whole=True, at_once=self._workers)
                training.replay(summary)
            kept.append(kept_epoch(training.epochs, self._select_by))
            epochs, known = epochs + len(training.epochs), known and not training.ran
            if training.enough:
                return _Told("stopped early", kept[0][self._select_by], None, epochs, known)
        measured = {
            metric: sum(each[metric] for each in kept) / len(kept) for metric in report.NAMES if metric in kept[0]
        }
        return _Told("trained", measured[self._select_by], measured, epochs, known)

    def _report(self, trial: Trial, epoch: int, score: float) -> bool:
        trial.report(score, epoch)
        return bool(trial.should_prune())

    def _is_best(self, others: Sequence[float], score: float) -> bool:
        """Whether the last training of a trial, after those with the other seeds, makes it the best so far."""
        if len(others) + 1 < len(self._seeds):
            return False
        best, mean = self._study.best, (sum(others) + score) / len(self._seeds)
        if best is None or best.value is None:
            return True
        return better({self._select_by: mean}, {self._select_by: best.value}, self._select_by)

    def _take(self, trial: Trial, future: Future[_Told]) -> None:
        try:
            told = future.result()
        except DataError as error:
            # A loss that is not finite, as of a learning rate that is too high: nothing to learn for the others.
            told = _Told("failed", None, None, 0, known=False, why=error.what)
        trial.set_user_attr(TOLD, asdict(told))
        self._study.tell(trial, told.score if told.outcome == "trained" else None)
        score = None if told.score is None else f"{self._select_by} {told.score:.4g}"
        known = "known before" if told.known else None
        self._say(trial, ", ".join(filter(None, (told.outcome, score, known, told.why))))
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
