"""How many threads a CPU trains with: measured, since more are slower where each has too little to do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from assets.store.program import THREADS

SHARE = 0.01
"""Most share of a training's batches that are computed beside it to measure."""
GAIN = 1.1
"""How many times as fast fewer threads must be to be taken: chance makes the same number differ too."""
LEAST = 4
"""Fewer threads are not tried: they are faster only beside other work, which may end before training does."""
TRIES = 3
"""Batches for each number of threads; the first one, which prepares kernels for it, is not counted."""


def settle_threads(attempt: Callable[[], None], steps: int, clock: Callable[[], float] = time.perf_counter) -> None:
    """Let torch compute with half as many threads, and half of that, as long as it is faster.

    Nothing is tried where `OMP_NUM_THREADS` says how many, or where training is so short that it would not pay.

    Args:
        attempt: computes the gradients of a batch, which are most of a step.
        steps: of the whole training.
        clock: seconds.
    """
    import torch

    threads, numbers = torch.get_num_threads(), int(steps * SHARE / TRIES)
    if os.environ.get(THREADS) or threads // 2 < LEAST or numbers < 2:
        return

    def measured(count: int) -> float:
        torch.set_num_threads(count)
        seconds = []
        for _ in range(TRIES):
            start = clock()
            attempt()
            seconds.append(clock() - start)
        return min(seconds[1:])

    best = measured(threads)
    for _ in range(numbers - 1):
        if threads // 2 < LEAST or (fewer := measured(threads // 2)) * GAIN > best:
            break
        threads, best = threads // 2, fewer
    torch.set_num_threads(threads)


def take_up(threads: int) -> None:
    """Let torch compute with as many threads as a checkpoint was written with: others would come to other bits."""
    import torch

    if not os.environ.get(THREADS):
        torch.set_num_threads(min(threads, torch.get_num_threads()))
