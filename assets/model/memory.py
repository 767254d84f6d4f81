"""What to do when a device runs out of memory: the same rows in smaller parts, which come to the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from assets.errors import ConfigurationError
from assets.model.devices import ALONE, Devices
from assets.model.examples import micro_batches
from assets.progress import Progress

T = TypeVar("T")


@contextmanager
def said_plainly() -> Iterator[None]:
    """Say what to do where memory runs out beside the parts of a batch: there is nothing to make smaller then.

    Raises:
        ConfigurationError: it ran out.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _too_little("the model, what its optimizer keeps, and two of the longest texts", error) from error


def _too_little(what: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the device has too little memory for {what}: {str(error).splitlines()[0]}",
        where="training.max_tokens",
        fix="lower it, take a smaller base_model, a device with more memory, or several (training.devices)",
    )


class Parts:
    """Runs rows in as few parts as memory allows, and remembers how small they have to be.

    Args:
        lengths: tokens of each row.
        progress: told when memory ran out.
        most: tokens in a part, as long as memory suffices.
        devices: that run rows together, each its own.

    Attributes:
        most: tokens in a part; falls when memory runs out.
    """

    def __init__(
        self, lengths: Sequence[int], progress: Progress, most: float = math.inf, devices: Devices = ALONE
    ) -> None:
        self._lengths, self._progress, self.most, self._devices = lengths, progress, most, devices

    def run(
        self, rows: list[int], compute: Callable[[list[list[int]], int], T], again: Callable[[], None] = lambda: None
    ) -> T:
        """Compute something of rows, given in parts.

        Args:
            rows: positions of rows; may be none where several devices run a batch together.
            compute: what to do with parts, and how often the model is to be run beside that for nothing: without a row
                once, and where weights are shared out as often as it takes to run it as often as all others. Called
                again with smaller parts as long as memory runs out.
            again: called before that, to undo what the failed try has done.

        Raises:
            ConfigurationError: one text alone is too much.
        """
        import torch

        while True:
            parts = micro_batches(rows, self._lengths, self.most) if rows else []
            most = max((sum(self._lengths[at] for at in part) for part in parts), default=0)
            runs, most, divisible = self._devices.agreed(len(parts), most, len(parts) < len(rows))
            try:
                with self._devices.attempt():
                    return compute(parts, max(1, runs) - len(parts))
            except torch.OutOfMemoryError as error:
                if not divisible:
                    raise _too_little(f"one text of {most} tokens", error) from error
            # Not before: the error holds what the failed try had in memory.
            self.most = min(self.most, most) // 2
            self._progress.message(
                f"memory ran out: batches run in parts of {self.most} tokens from here on, which comes to the same"
            )
            again()
            torch.cuda.empty_cache()
