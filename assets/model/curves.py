"""What is noted while training goes on: losses on the way, and how fast it goes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assets.errors import DataError
from assets.tasks.unpadded import Layout

if TYPE_CHECKING:
    import torch


DIVERGED = 5.0
"""Training has gone astray if its loss is so many times that of guessing."""
JUDGED = 512
"""Rows over which it must be so: single rows with a wrong label may cost any amount."""


@dataclass
class Curve:
    """Losses and gradients of training, kept on the device until a report.

    Attributes:
        classes: that are told apart.
        batch_size: rows in a step.
        step: training steps so far.
        points: what was reported: `step`, `loss` (mean since the point before, in nats), `learning_rate` (the body's).
        noted: for each batch since then its loss and the norm of its gradient, shape [2].
        rows: identifiers of their rows.
    """

    classes: int
    batch_size: int
    step: int = 0
    points: list[dict[str, float]] = field(default_factory=list)
    noted: list[torch.Tensor] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def add(self, loss: torch.Tensor, norm: torch.Tensor, row_ids: list[str]) -> None:
        """Take in loss and gradient of the next batch without waiting for them."""
        import torch

        self.step += 1
        self.noted.append(torch.stack([loss, norm]))
        self.rows.append(row_ids)

    def report(self, learning_rate: float) -> dict[str, float]:
        """Wait for the losses since the last report and make a point of them.

        Raises:
            DataError: a loss or a gradient is not finite, or the loss is far above that of guessing.
        """
        import torch

        losses, norms = torch.stack(self.noted).double().cpu().unbind(1)
        for at, (loss, norm) in enumerate(zip(losses.tolist(), norms.tolist(), strict=True)):
            for what, value in (("loss", loss), ("gradient", norm)):
                if not math.isfinite(value):
                    raise self._error(at, f"the {what} of step {{step}} is {value}, not a finite number")
        self.points.append({"step": self.step, "loss": float(losses.mean()), "learning_rate": learning_rate})
        lately, guessing = self._lately(), math.log(self.classes)
        if lately > DIVERGED * guessing:
            raise self._error(
                int(losses.argmax()),
                f"training has diverged: a loss of {lately:.3g} nats over the last {JUDGED} rows, where guessing costs "
                f"{guessing:.3g}; lately step {{step}} had the highest",
            )
        self.noted, self.rows = [], []
        return self.points[-1]

    def _lately(self) -> float:
        """Mean loss of the last reports that cover `JUDGED` rows together; 0 until there are so many."""
        total, ends = 0.0, [0, *(int(point["step"]) for point in self.points)]
        for point, begin in zip(reversed(self.points), reversed(ends[:-1]), strict=True):
            total += point["loss"] * (point["step"] - begin)
            steps = self.step - begin
            if steps * self.batch_size >= JUDGED:
                return total / steps
        return 0.0

    def _error(self, at: int, what: str) -> DataError:
        """What went wrong in one of the batches since the last report."""
        return DataError(
            f"{what.format(step=self.step - len(self.rows) + at + 1)}; the rows of its batch: "
            f"{', '.join(self.rows[at])}",
            where="training",
            fix="lower training.learning_rate and training.head_learning_rate, or look at these rows",
        )


@dataclass
class Pace:
    """How fast training goes, since it began or was taken up again.

    Attributes:
        seconds: spent on training steps.
        examples: rows that were trained on, by all devices together.
        tokens: tokens of these rows.
        real: tokens of what this device ran.
        places: places in the row of tokens, padding included.
        parameters: that a token is multiplied with: all but the embeddings.
        peak: operations a second that this device can do, or None if that is not known.
        first: when the first step was done, in Unix seconds; 0 before.
        resuming: seconds that it took to find and take up a checkpoint.
    """

    seconds: float = 0.0
    examples: int = 0
    tokens: int = 0
    real: int = 0
    places: int = 0
    parameters: int = 0
    peak: float | None = None
    first: float = 0.0
    resuming: float = 0.0

    def see(self, layout: Layout) -> None:
        """Count what was run."""
        self.real += layout.real
        self.places += layout.input_ids.numel()

    def values(self) -> dict[str, float]:
        """What people are shown; nothing of a training that was done already when it was taken up."""
        if not self.examples:
            return {}
        seconds = max(self.seconds, 1e-9)
        values = {
            "examples_per_second": self.examples / seconds,
            "tokens_per_second": self.tokens / seconds,
            "real_tokens": self.real / max(self.places, 1),
        }
        if self.peak is None:
            return values
        # Two operations for each weight forwards and four backwards (Kaplan et al. 2020), those of attention left out.
        return {**values, "mfu": 6 * self.parameters * self.real / seconds / self.peak}
