"""Work on several shards at the same time, in threads: compression, hashing and Arrow leave the interpreter alone."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from assets.progress import Event, Sink, relayed

AT_ONCE = 2
"""Shards that are worked on at the same time: each is in memory, and what Python itself does does not get faster."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Callable[[], Result]]:
    """Do something with each of many, some at the same time.

    What it says of its progress is passed on in the caller's thread, as it comes.

    Args:
        work: called in threads of its own; must bear that.
        items: what it is called with.

    Yields:
        For each item, in their order and as soon as it is done, a function that gives its result or raises its error.
    """
    told: queue.SimpleQueue[tuple[Sink, Event] | None] = queue.SimpleQueue()

    def call(item: Item) -> Result:
        with relayed(lambda sink, event: told.put((sink, event))):
            return work(item)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures: list[Future[Result]] = [pool.submit(call, item) for item in items]
        for future in futures:
            future.add_done_callback(lambda _: told.put(None))
        try:
            for future in futures:
                while not future.done():
                    _pass_on(told.get())
                while not told.empty():
                    _pass_on(told.get())
                yield future.result
        finally:
            # Who does not want the rest is not kept waiting for what was not begun.
            for future in futures:
                future.cancel()


def _pass_on(said: tuple[Sink, Event] | None) -> None:
    if said is not None:
        sink, event = said
        sink(event)
