"""What is noted while training goes on: losses on the way, and how fast it goes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assets.errors import DataError
from assets.tasks.unpadded import Layout

if TYPE_CHECKING:
    import torch


@dataclass
class Curve:
    """Training losses, kept on the device until a report.

    Attributes:
        step: training steps so far.
        points: what was reported: `step`, `loss` (mean since the point before, in nats), `learning_rate` (the body's).
        losses: of the batches since then.
        rows: identifiers of their rows.
    """

    step: int = 0
    points: list[dict[str, float]] = field(default_factory=list)
    losses: list[torch.Tensor] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def add(self, loss: torch.Tensor, row_ids: list[str]) -> None:
        """Take in the loss of the next batch without waiting for it."""
        self.step += 1
        self.losses.append(loss.detach())
        self.rows.append(row_ids)

    def report(self, learning_rate: float) -> dict[str, float]:
        """Wait for the losses since the last report and make a point of them.

        Raises:
            DataError: one of them is not finite.
        """
        import torch

        losses = torch.stack(self.losses).double().cpu()
        for at, loss in enumerate(losses.tolist()):
            if not math.isfinite(loss):
                raise DataError(
                    f"the loss of step {self.step - len(losses) + at + 1} is {loss}, not a finite number; "
                    f"the rows of its batch: {', '.join(self.rows[at])}",
                    where="training",
                    fix="lower training.learning_rate and training.head_learning_rate, or look at these rows",
                )
        self.points.append({"step": self.step, "loss": float(losses.mean()), "learning_rate": learning_rate})
        self.losses, self.rows = [], []
        return self.points[-1]


@dataclass
class Pace:
    """How fast training goes, since it began or was taken up again.

    Attributes:
        seconds: spent on training steps.
        examples: rows that were trained on, by all devices together.
        tokens: tokens of these rows.
        real: tokens of what this device ran.
        places: places in the row of tokens, padding included.
    """

    seconds: float = 0.0
    examples: int = 0
    tokens: int = 0
    real: int = 0
    places: int = 0

    def see(self, layout: Layout) -> None:
        """Count what was run."""
        self.real += layout.real
        self.places += layout.input_ids.numel()

    def values(self) -> dict[str, float]:
        """What people are shown."""
        seconds = max(self.seconds, 1e-9)
        return {
            "examples_per_second": self.examples / seconds,
            "tokens_per_second": self.tokens / seconds,
            "real_tokens": self.real / max(self.places, 1),
        }
