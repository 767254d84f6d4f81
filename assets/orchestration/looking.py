"""What a sensor sees of a pipeline: its source, whether that was taken in, and what a run would do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from itertools import takewhile
from pathlib import Path

from assets.orchestration.arrival import Look, Waiting
from assets.orchestration.execution import OpenRunner
from assets.orchestration.freshness import is_dear, training_step
from assets.store.digests import digest_json
from assets.store.plan import Plan
from assets.store.runner import Runner
from assets.store.step import Observation, ObservedFile, Step, load

QUIET_SECONDS = 2.0
"""A file that was written this recently may still be being written."""

Counted = dict[tuple[str, str], int]
"""New rows, by the content digests of what is there now and of what was there earlier."""


def look(open_runner: OpenRunner, counted: Counted, *, waits: bool) -> Look:
    """Look at a pipeline's source and plan.

    Args:
        open_runner: opens the pipeline.
        counted: what was counted before; what is counted now comes in its place.
        waits: whether rows wait for more of them before they are trained on.

    Raises:
        FreshtuneError: if the source cannot be read.
    """
    runner = open_runner()
    read = {
        step.name: {name: seen.digest for name, seen in runner.observe(step).items() if seen.kind != "source"}
        for step in runner.chain
    }
    return _look(
        runner,
        runner.chain[0],
        plan=runner.plan(),
        settings=_settings(runner, runner.chain, read),
        cheap=tuple(step.name for step in takewhile(lambda step: not is_dear(step), runner.chain)),
        waiting=_waiting(runner, counted) if waits else None,
    )


def look_alone(open_runner: OpenRunner, name: str) -> Look:
    """Look at what one step reads outside of the store, and at nothing of the steps that it comes after.

    Args:
        open_runner: opens the pipeline.
        name: the step's.

    Raises:
        FreshtuneError: if its source cannot be read.
    """
    runner = open_runner()
    step = runner.step(name)
    source, _ = source_of(runner, step)
    plan = runner.plan_alone(name)
    made = runner.made(step, {})
    read = {each: digest for each, digest in made.ingredients["inputs"].items() if each != source}
    return _look(runner, step, plan=plan, settings=_settings(runner, [step], {name: read}), cheap=(), waiting=None)


def _look(
    runner: Runner, step: Step, *, plan: Plan, settings: str, cheap: tuple[str, ...], waiting: Waiting | None
) -> Look:
    """How things are with the step that reads a source."""
    name, source = source_of(runner, step)
    standing = runner.store.reference(runner.environment, runner.name, step.name)
    known = standing is not None and standing.ingredients["inputs"].get(name) == source.digest
    before = {} if standing is None else standing.files.get(name, {})
    changed = [file for file in source.files if before.get(file.name, [""])[0] != file.sha256]
    return Look(
        step=step.name,
        digest=source.digest,
        known=known,
        unsettled="" if known else next(_unsettled(changed), ""),
        settings=settings,
        plan=plan,
        cheap=cheap,
        waiting=waiting,
    )


def source_of(runner: Runner, step: Step) -> tuple[str, Observation]:
    """The source that a step reads, with the name that it has among the step's inputs."""
    return next((name, seen) for name, seen in runner.observe(step).items() if seen.kind == "source")


def _unsettled(files: Sequence[ObservedFile]) -> Iterator[str]:
    """Why each file may still be being written."""
    for file in files:
        if file.size == 0:
            yield f"{file.name} is empty, as a file is that somebody has just begun to write"
        elif "://" not in file.path and _just_written(Path(file.path)):
            yield f"{file.name} was written a moment ago, and may not be whole yet"


def _just_written(path: Path) -> bool:
    try:
        # A clock that differs from the disk's is no reason to wait for ever.
        return abs(time.time() - path.stat().st_mtime) < QUIET_SECONDS
    except FileNotFoundError:
        return True


def _settings(runner: Runner, steps: Sequence[Step], read: Mapping[str, Mapping[str, str]]) -> str:
    """Digest of what a run depends on beside the source: a run that failed may do better when it is another."""
    code = {step.name: runner.code_version(step) for step in steps}
    return digest_json([runner.config.model_dump(mode="json"), code, read])


def _waiting(runner: Runner, counted: Counted) -> Waiting:
    training = training_step(runner.chain)
    holder = counting_step(runner.chain)
    rows, model = runner.stands_for(holder), runner.stands_for(training)
    now = "" if rows is None else rows.content
    trained = "" if model is None else model.ingredients["inputs"].get(holder.name, "")
    if now and (now, trained) not in counted:
        # What an earlier model was made from may be gone from the store; every row counts as new then.
        there = trained and runner.store.fault("objects", trained) is None
        earlier = runner.store.open("objects", trained, reading=False) if there else None
        assert holder.new_rows is not None
        new = load(holder.new_rows)(runner.store.open("objects", now, reading=False), earlier)
        counted.clear()
        counted[now, trained] = new
    begun = 0.0 if model is None else model.time - model.seconds
    return Waiting(now, trained, counted.get((now, trained), 0), begun)


def counting_step(chain: Sequence[Step]) -> Step:
    """The step whose rows the training is given."""
    inputs = training_step(chain).inputs
    return next(step for step in chain if step.name in inputs and step.new_rows is not None)


class Looking:
    """A look in a thread of its own, which goes on from tick to tick when the source is large."""

    def __init__(self, look: Callable[[], Look]) -> None:
        self._look = look
        self._begun: Future[Look] | None = None

    def take(self, seconds: float) -> Look | None:
        """What was seen, or None if the look is not over after some seconds.

        Raises:
            FreshtuneError: if the source cannot be read.
        """
        if self._begun is None:
            self._begun = Future()
            threading.Thread(target=self._run, args=(self._begun,), daemon=True).start()
        wait([self._begun], seconds)
        if not self._begun.done():
            return None
        over, self._begun = self._begun, None
        return over.result()

    def _run(self, begun: Future[Look]) -> None:
        try:
            begun.set_result(self._look())
        except Exception as error:  # noqa: BLE001 - raised in the tick that takes the result
            begun.set_exception(error)
