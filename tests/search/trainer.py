"""Stands for the training: scores by a formula, at once. Also a search that is killed, as a program."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assets.progress import Progress
from assets.search.search import search
from assets.store.step import Attempt, Build, Summary

EPOCHS = 4
TRAINING: Mapping[str, Any] = {
    "learning_rate": 1e-3,
    "batch_size": 16,
    "schedule": "linear",
    "epochs": EPOCHS,
    "seed": 3,
    "select_by": "loss",
}
ANY: Mapping[str, Any] = dict.fromkeys(("choices", "low", "high", "step"), None) | {"log": False}
SPACE: Mapping[str, Mapping[str, Any]] = {
    "training.learning_rate": {**ANY, "low": 1e-5, "high": 1e-1, "log": True},
    "training.batch_size": {**ANY, "choices": [8, 16, 32]},
}
BUDGET: Mapping[str, Any] = {
    "space": SPACE,
    "trials": 12,
    "minutes": None,
    "seeds": 1,
    "workers": 1,
    "pruner": {"startup_trials": 3, "warmup_epochs": 1},
}


def loss_of(settings: Mapping[str, Any], epoch: int) -> float:
    """Least at a learning rate of 3e-3 and batches of 8; falls over the epochs; the seed 4 is the luckiest."""
    rate = math.log10(settings["training.learning_rate"]) - math.log10(3e-3)
    other = 0.0 if settings["training.batch_size"] == 8 else 0.1
    return float(rate * rate + other + 0.01 * abs(settings["training.seed"] - 4) + 1 / epoch)


class Trainer:
    """Stands for `Build.try_step`.

    Attributes:
        ran: settings of the trainings that were run, in order.
        kept: settings of those whose model was kept.
        found: summaries that are in the store, by settings.
        kills: how many epochs are trained before this process is killed, or None.
    """

    def __init__(self, kills: int | None = None) -> None:
        self.ran: list[dict[str, Any]] = []
        self.kept: list[dict[str, Any]] = []
        self.found: dict[str, Summary] = {}
        self.kills = kills
        self._lock = threading.Lock()

    def __call__(
        self, settings: Mapping[str, Any], attempt: Attempt, *, whole: bool = False, at_once: int = 1
    ) -> Summary:
        name = str(sorted(settings.items()))
        if name in self.found and not (whole and not self.found[name]["finished"]):
            return self.found[name]
        with self._lock:
            self.ran.append(dict(settings))
        stopped = attempt.see({"kind": "message", "text": "training"})
        epochs = []
        for epoch in range(1, EPOCHS + 1):
            with self._lock:
                if self.kills is not None and self.kills <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                self.kills = None if self.kills is None else self.kills - 1
            measured = {"loss": loss_of(settings, epoch), "f1_macro": 1 / (1 + loss_of(settings, epoch))}
            epochs.append({"epoch": epoch, "step": 10 * epoch, **measured})
            values = {f"validation_{metric}": value for metric, value in measured.items()}
            stopped = attempt.see({"kind": "metrics", "at": 10 * epoch, "values": values})
            if stopped:
                break
        summary = attempt.summary(None) if stopped else {"epochs": epochs, "finished": True}
        if not stopped and attempt.worth_keeping(summary):
            self.kept.append(dict(settings))
        self.found[name] = summary
        return summary


def run(folder: Path, trainer: Trainer, progress: Progress | None = None, **changed: Any) -> dict[str, Any]:
    """A search that goes on from what is in `folder/work`; its measurements. The content is in `folder/content`."""
    for part in ("content", "trace", "work"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    build = Build(
        inputs={},
        externals={},
        content=folder / "content",
        trace=folder / "trace",
        work=folder / "work",
        progress=progress or Progress("search"),
        pipeline="tiny",
        try_step=trainer,
    )
    return search(build, **{**TRAINING, **BUDGET, **changed})


if __name__ == "__main__":
    run(Path(sys.argv[1]), Trainer(kills=int(sys.argv[2])))
