"""One stream of progress events: the terminal, Dagster's log and MLflow all read the same."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Event = dict[str, Any]
Sink = Callable[[Event], None]


_relay: ContextVar[Callable[[Sink, Event], None] | None] = ContextVar("relay", default=None)


def discard(event: Event) -> None:
    """Sink for callers that watch nothing."""


@contextmanager
def relayed(relay: Callable[[Sink, Event], None]) -> Iterator[None]:
    """Let what is said in this thread meanwhile go to a function, which sees that the sink gets it."""
    token = _relay.set(relay)
    try:
        yield
    finally:
        _relay.reset(token)


@dataclass(frozen=True)
class Progress:
    """Where a step says how far it is.

    Each event is a JSON object with `time` (Unix seconds), `step`, `kind` and, by kind:
    `start` (description, total or null), `advance` (description, completed, total, values), `end` (description),
    `message` (text), `metrics` (at: training step, values: name → number).

    Attributes:
        step: the step that the events are about.
        sink: called with every event, in the thread of whoever began the step: see `relayed`.
    """

    step: str
    sink: Sink = field(default=discard)

    def _emit(self, kind: str, **fields: Any) -> None:
        event = {"time": time.time(), "step": self.step, "kind": kind, **fields}
        relay = _relay.get()
        if relay is None:
            self.sink(event)
        else:
            relay(self.sink, event)

    def message(self, text: str) -> None:
        """Say something in plain words."""
        self._emit("message", text=text)

    def metrics(self, at: int, **values: float) -> None:
        """Report numbers at a training step, for curves."""
        self._emit("metrics", at=at, values=values)

    @contextmanager
    def bar(self, description: str, total: int | None = None) -> Iterator[Callable[..., None]]:
        """Show a bar; the function it yields takes how much was done and, by keyword, numbers to show beside it."""
        completed = 0

        def advance(amount: int = 1, **values: float) -> None:
            nonlocal completed
            completed += amount
            self._emit("advance", description=description, completed=completed, total=total, values=values)

        self._emit("start", description=description, total=total)
        yield advance
        self._emit("end", description=description)


def file_sink(path: Path) -> Sink:
    """Sink that appends each event as one JSON line, so that another process can follow."""

    def write(event: Event) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")

    return write
