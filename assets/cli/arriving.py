"""What arrives one after the other, in lists of what is there: a slow source is answered soon, a fast one in bulk."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")

_POLL = 0.1
"""Seconds after which the reading thread looks whether anybody still wants what it reads."""


class _End:
    """Comes after the last one; `error` is what ended it, or None."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def arriving(items: Iterable[T], most: int, seconds: float) -> Iterator[list[T]]:
    """Cut what arrives into lists; a thread reads ahead.

    A list ends when it has `most`, or when `seconds` passed since its first one came. While a list is worked on, the
    next ones gather, so a source that is faster than the work gives longer lists.

    Args:
        items: read in a thread, one after the other; what it raises is raised after the last list.
        most: longest list; at most as many are read ahead.
        seconds: how long a list is waited for.
    """
    waiting: Queue[T | _End] = Queue(most)
    left = threading.Event()

    def put(item: T | _End) -> bool:
        while not left.is_set():
            try:
                waiting.put(item, timeout=_POLL)
            except Full:
                continue
            return True
        return False

    def fill() -> None:
        error = None
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as raised:  # noqa: BLE001 - raised where the lists are read
            error = raised
        put(_End(error))

    # Whoever waits for standard input cannot be told to stop.
    threading.Thread(target=fill, name="arriving", daemon=True).start()
    try:
        end = None
        while end is None:
            first = waiting.get()
            chunk = []
            until = time.monotonic() + seconds
            while not isinstance(first, _End):
                chunk.append(first)
                if len(chunk) == most:
                    break
                try:
                    first = waiting.get(timeout=max(0.0, until - time.monotonic()))
                except Empty:
                    break
            else:
                end = first
            if chunk:
                yield chunk
        if end.error is not None:
            raise end.error
    finally:
        left.set()
