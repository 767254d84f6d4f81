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

    def read() -> None:
        error = None
        try:
            for item in items:
                if not _put(waiting, item, left):
                    return
        except BaseException as raised:  # noqa: BLE001 - raised where the lists are read
            error = raised
        _put(waiting, _End(error), left)

    # Whoever waits for standard input cannot be told to stop.
    threading.Thread(target=read, name="arriving", daemon=True).start()
    try:
        end = None
        while end is None:
            chunk, end = _gathered(waiting, most, seconds)
            if chunk:
                yield chunk
        if end.error is not None:
            raise end.error
    finally:
        left.set()


def _put(waiting: Queue[T | _End], item: T | _End, left: threading.Event) -> bool:
    """Hand one over; False if nobody wants it any more."""
    while not left.is_set():
        try:
            waiting.put(item, timeout=_POLL)
        except Full:
            continue
        return True
    return False


def _gathered(waiting: Queue[T | _End], most: int, seconds: float) -> tuple[list[T], _End | None]:
    """What is there after a while, and the end if it came."""
    chunk: list[T] = []
    until = None
    while len(chunk) < most:
        try:
            item = waiting.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
        except Empty:
            break
        if isinstance(item, _End):
            return chunk, item
        until = until or time.monotonic() + seconds
        chunk.append(item)
    return chunk, None
