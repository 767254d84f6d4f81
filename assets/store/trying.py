"""Trying a step with other settings: what came of it is remembered, its result only where it is worth that.

A try is what the step itself would be with these settings, and has that key. A result that the step or an earlier try
left there is taken. Of others only a summary is kept, as a part of its own, for results may be large.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from assets.errors import TransientError
from assets.progress import Event, Sink
from assets.store.build import get_or_build, publish
from assets.store.digests import write_json
from assets.store.ingredients import Made
from assets.store.program import STOP, THREADS, threads_each
from assets.store.step import Attempt, Measurements, Summary
from assets.store.store import Store

SUMMARY = "summary.json"


class Call(Protocol):
    """Runs the step's function."""

    def __call__(
        self, made: Made, folder: Path, *, work: Path, sink: Sink, environment: Mapping[str, str]
    ) -> Measurements:
        """Fill `content/` and `trace/` of a folder; the environment is that of the step's program, beside the usual."""
        ...


@dataclass(frozen=True)
class Trying:
    """Tries one step; see `assets.store.step.Try`.

    Attributes:
        store: where results and summaries are.
        step: the step's name.
        made: from settings to what the key of the step's result is made of.
        call: runs the step.
        work: from a key to the work folder.
        waiting: told who else is trying the same.
    """

    store: Store
    step: str
    made: Callable[[Mapping[str, Any]], Made]
    call: Call
    work: Callable[[str], Path]
    waiting: Callable[[str], None]
    _making: Lock = dataclasses.field(default_factory=Lock)

    def __call__(
        self, settings: Mapping[str, Any], attempt: Attempt, *, whole: bool = False, at_once: int = 1
    ) -> Summary:
        """See `assets.store.step.Try`."""
        with self._making:
            made = self.made(settings)
        tried = _part_of(made, self.step)
        full = self.store.record(made.key)
        # A summary is read where there is one: it is small, and results may be large.
        if self.store.whole(full) and (whole or not self.store.whole(self.store.record(tried.key))):
            assert full is not None
            return attempt.summary(self.store.open("objects", full.content))
        build = partial(self._build, made, self.work(tried.key), attempt, at_once)
        record, _ = get_or_build(
            self.store, tried, build, work=self.work(tried.key), waiting=self.waiting, forced=whole
        )
        summary: Summary = json.loads((self.store.open("objects", record.content) / SUMMARY).read_bytes())
        return summary

    def _build(self, made: Made, work: Path, attempt: Attempt, at_once: int, folder: Path) -> Measurements:
        started = time.perf_counter()
        shared = {} if at_once == 1 else {THREADS: threads_each(at_once)}

        def see(event: Event) -> None:
            if attempt.see(event):
                (work / STOP).touch()

        with self.store.staged() as result:
            for part in ("content", "trace"):
                (result / part).mkdir()
            try:
                measurements = self.call(made, result, work=work, sink=see, environment=shared)
            except TransientError:
                if not attempt.enough:
                    raise
                summary = attempt.summary(None)
            else:
                summary = attempt.summary(result / "content")
                if attempt.worth_keeping(summary):
                    keep = partial(_move, result, measurements)
                    after = self.store.record(made.key)
                    # Its work folder may be in use: nobody holds the lease of this key here.
                    publish(self.store, made, keep, work=result / "work", after=after, started=started)
        write_json(folder / "content" / SUMMARY, summary)
        return {}


def _part_of(made: Made, step: str) -> Made:
    """What the key of a summary is made of; inputs are objects of the store alone, as it is with every part."""
    ingredients = made.ingredients
    outside = {name: seen.digest for name, seen in made.externals.items()}
    inputs = {name: digest for name, digest in ingredients["inputs"].items() if name not in outside}
    changed = {"step": f"{step}:try", "configuration": {**ingredients["configuration"], **outside}, "inputs": inputs}
    return dataclasses.replace(made, ingredients={**ingredients, **changed}, files={})


def _move(result: Path, measurements: Measurements, folder: Path) -> Measurements:
    for part in ("content", "trace"):
        (folder / part).rmdir()
        (result / part).rename(folder / part)
    return measurements
