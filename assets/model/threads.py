"""How many threads a CPU trains with: measured, since more are slower where each has too little to do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from assets.store.program import THREADS

SHARE = 0.01
"""Of the time that training is going to take, what measuring may take before the next number is tried."""
GAIN = 1.1
"""How many times as fast fewer threads must be to be taken: chance makes the same number differ too."""
TRIES = 3
"""Batches for each number of threads; the first one, which prepares kernels for it, is not counted."""


def settle_threads(attempt: Callable[[], None], steps: int, clock: Callable[[], float] = time.perf_counter) -> None:
    """Let torch compute with half as many threads, and half of that, as long as it is faster.

    Nothing is tried where `OMP_NUM_THREADS` says how many, or where training is so short that it would not pay.

    Args:
        attempt: computes what a training step computes.
        steps: of the whole training.
        clock: seconds.
    """
    import torch

    threads = torch.get_num_threads()
    if THREADS in os.environ or threads == 1 or steps * SHARE < TRIES:
        return
    began = clock()

    def measured(count: int) -> float:
        torch.set_num_threads(count)
        seconds = []
        for _ in range(TRIES):
            start = clock()
            attempt()
            seconds.append(clock() - start)
        return min(seconds[1:])

    best = measured(threads)
    while threads > 1 and clock() - began < SHARE * steps * best:
        fewer = measured(threads // 2)
        if fewer * GAIN > best:
            break
        threads, best = threads // 2, fewer
    torch.set_num_threads(threads)


def take_up(threads: int) -> None:
    """Let torch compute with as many threads as a checkpoint was written with: others would come to other bits."""
    import torch

    if THREADS not in os.environ:
        torch.set_num_threads(min(threads, torch.get_num_threads()))
