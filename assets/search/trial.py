"""One training of a trial, as the search sees it while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from assets.model.recipe import better
from assets.model.rows import HISTORY
from assets.progress import Event
from assets.store.step import Summary

VALIDATION = "validation_"
"""What the names of metrics of the validation side begin with in the events of the training."""

Report = Callable[[int, float], bool]
"""Takes an epoch, counted from 1, and its score; returns whether the trial is to be stopped."""


class Training:
    """A training; the methods are those of `assets.store.step.Attempt`.

    Args:
        select_by: metric that is the score.
        report: told the score of each epoch once, in their order.
        told: takes every other event.
        over: asked at each event whether the search itself was told to stop.
        worth_keeping: from the score to whether the model itself is to be kept.

    Attributes:
        epochs: metrics of the validation side after each epoch that was looked at.
        enough: whether it was stopped because it is not worth going on.
    """

    def __init__(
        self,
        select_by: str,
        *,
        report: Report,
        told: Callable[[Event], None],
        over: Callable[[], bool],
        worth_keeping: Callable[[float], bool],
    ) -> None:
        self._select_by, self._report, self._told, self._over = select_by, report, told, over
        self._worth_keeping = worth_keeping
        self.epochs: list[dict[str, float]] = []
        self._seen = 0
        self.enough = False

    def see(self, event: Event) -> bool:
        """Take an event; whether to stop the training."""
        self._told(event)
        if event["kind"] == "metrics":
            found = {
                name.removeprefix(VALIDATION): value
                for name, value in event["values"].items()
                if name.startswith(VALIDATION)
            }
            if found:
                self._seen += 1
                self._add(self._seen, {"step": event["at"], **found})
        return self.enough or self._over()

    @property
    def ran(self) -> bool:
        """Whether it was run, and not found."""
        return self._seen > 0

    def _add(self, number: int, epoch: dict[str, float]) -> None:
        if number <= len(self.epochs) or self.enough:
            return
        self.epochs.append(epoch)
        self.enough = self._report(number, epoch[self._select_by])

    def replay(self, summary: Summary) -> None:
        """Report the epochs that were not seen, because the training was found and not run."""
        for number, epoch in enumerate(summary["epochs"], start=1):
            self._add(number, epoch)

    def summary(self, content: Path | None) -> Summary:
        """The epochs with what was measured on the validation side, and whether they are all."""
        if content is None:
            return {"epochs": self.epochs, "finished": False}
        history: Any = json.loads((content / HISTORY).read_bytes())
        # Where a training was done from two starts, it told of both.
        epochs = [epoch for each in history.get("trainings", [history]) for epoch in each["epochs"]]
        return {"epochs": epochs, "finished": True}

    def worth_keeping(self, summary: Summary) -> bool:
        """Whether the model is better than those of the search before."""
        return not self.enough and self._worth_keeping(kept_epoch(summary["epochs"], self._select_by)[self._select_by])


def kept_epoch(epochs: Sequence[Mapping[str, float]], select_by: str) -> Mapping[str, float]:
    """The epoch that the training keeps: the best one, the earliest of equals."""
    return reduce(lambda best, epoch: epoch if better(epoch, best, select_by) else best, epochs)
