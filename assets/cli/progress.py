"""Progress events on the terminal: one live line for each step; elsewhere a plain line now and then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.spinner import Spinner
from rich.table import Column
from rich.text import Text

from assets.cli.console import duration
from assets.progress import Event, Sink

LINE_SECONDS = 10.0
"""Least time between two plain lines about one bar."""
SLOW = 0.1
"""Rate, a second, below which it is told by the minute: whole trainings are counted too."""
WIDE = 100
"""Columns of a terminal from which on a line has room for rate and more numbers."""


@contextmanager
def watched(steps: Sequence[str], console: Console) -> Iterator[Sink]:
    """Show progress events while the body runs.

    Args:
        steps: names of the steps that may report, in their order.
        console: where to; live lines if it is a terminal, which go when the body ends.
    """
    if not console.is_terminal:
        yield PlainLines(console)
        return
    wide = console.width >= WIDE
    columns = [
        _Mark(),
        _Name(),
        _What(),
        _Bar(),
        _Count(),
        *([_Rate()] if wide else []),
        _Values(2 if wide else 1),
        _Times(),
    ]
    # Standard output is left alone: it may be data that goes to a file.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, expand=True) as display:
        yield LiveLines(display, steps)


@dataclass
class LiveLines:
    """Sink that keeps one line for each step. The chain is a line: what comes before the present step is done.

    Attributes:
        display: rich's live display.
        steps: names of the steps, in their order.
    """

    display: Progress
    steps: Sequence[str]
    _tasks: dict[str, TaskID] = field(default_factory=dict)
    _bars: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for step in self.steps:
            self._add(step)

    def _add(self, step: str) -> None:
        fields: dict[str, Any] = {
            "step": step,
            "state": "waiting",
            "what": "",
            "numbers": {},
            "since": None,
            "took": None,
        }
        self._tasks[step] = self.display.add_task("", start=False, total=None, **fields)
        self._bars[step] = []

    def __call__(self, event: Event) -> None:
        """Take one event."""
        step = event["step"]
        if step not in self._tasks:
            self._add(step)
        self._begin(step)
        getattr(self, f"_{event['kind']}")(self._tasks[step], event)

    def _begin(self, step: str) -> None:
        now = monotonic()
        for name, task in self._tasks.items():
            fields = self.display.tasks[task].fields
            if name == step:
                if fields["state"] != "running":
                    self.display.update(task, state="running", since=fields["since"] or now, took=None)
                return
            if fields["state"] == "running":
                self.display.update(task, state="done", took=now - fields["since"])
            elif fields["state"] == "waiting":
                # It was fresh, or was done without a word.
                self.display.update(task, state="done")

    def _start(self, task: TaskID, event: Event) -> None:
        self._bars[event["step"]].append(event["description"])
        # A reset takes `total` only if it is a number, and would drop the other fields if it were given any.
        self.display.reset(task)
        self.display.tasks[task].total = event["total"]
        self.display.update(task, what=event["description"])

    def _advance(self, task: TaskID, event: Event) -> None:
        # Of bars inside bars the innermost is shown.
        if self._bars[event["step"]][-1:] == [event["description"]]:
            self.display.update(task, completed=event["completed"])
        self._merge(task, event["values"])

    def _end(self, task: TaskID, event: Event) -> None:
        self._bars[event["step"]].remove(event["description"])

    def _message(self, task: TaskID, event: Event) -> None:
        self.display.update(task, what=event["text"])

    def _metrics(self, task: TaskID, event: Event) -> None:
        self._merge(task, event["values"])

    def _merge(self, task: TaskID, values: Mapping[str, float]) -> None:
        """Newest first, so that a narrow terminal shows those."""
        before = self.display.tasks[task].fields["numbers"]
        self.display.update(task, numbers={**values, **{name: before[name] for name in before if name not in values}})


class _Mark(ProgressColumn):
    """Whether a step waits, runs or is done."""

    def __init__(self) -> None:
        super().__init__(Column(width=1))
        self._spinner = Spinner("dots", style="cyan")

    def render(self, task: Task) -> Text:
        if task.fields["state"] == "running":
            frame = self._spinner.render(task.get_time())
            return frame if isinstance(frame, Text) else Text(str(frame))
        return Text("✓", style="green") if task.fields["state"] == "done" else Text("·", style="dim")


class _Name(ProgressColumn):
    """A step's name."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        return Text(task.fields["step"], style="dim" if task.fields["state"] == "waiting" else "bold")


class _What(ProgressColumn):
    """What a step is at."""

    def __init__(self) -> None:
        super().__init__(Column(ratio=2, no_wrap=True, overflow="ellipsis", min_width=10))

    def render(self, task: Task) -> Text:
        if task.fields["state"] != "done":
            return Text(task.fields["what"])
        # Here and not in a column of their own, which every other step would have to leave room for.
        return Text(" ".join([task.fields["what"], *_numbers(task)]), style="dim")


class _Bar(BarColumn):
    """The bar of a running step, which pulses while nobody knows how much there is."""

    def __init__(self) -> None:
        super().__init__(bar_width=None, table_column=Column(ratio=1, min_width=8))

    def __call__(self, task: Task) -> object:  # type: ignore[override]
        return super().__call__(task) if task.fields["state"] == "running" else Text()


class _Count(ProgressColumn):
    """How much is done, and of how much."""

    def __init__(self) -> None:
        super().__init__(Column(justify="right", no_wrap=True))

    def render(self, task: Task) -> Text:
        if task.fields["state"] != "running" or not (task.total or task.completed):
            return Text()
        total = "" if task.total is None else f"/{task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{total}")


class _Rate(ProgressColumn):
    """How much a second."""

    def __init__(self) -> None:
        super().__init__(Column(justify="right", no_wrap=True))

    def render(self, task: Task) -> Text:
        running = task.fields["state"] == "running"
        return Text(_rate(task.speed) if running and task.speed else "", style="dim")


class _Values(ProgressColumn):
    """Numbers beside the bar: loss, metrics."""

    def __init__(self, shown: int) -> None:
        super().__init__(Column(no_wrap=True))
        self._shown = shown

    def render(self, task: Task) -> Text:
        running = task.fields["state"] == "running"
        return Text(" ".join(_numbers(task)[: self._shown]) if running else "", style="magenta")


def _numbers(task: Task) -> list[str]:
    return [f"{name} {value:.4g}" for name, value in task.fields["numbers"].items()]


class _Times(ProgressColumn):
    """How long a step has taken, and how long its bar will take still."""

    def __init__(self) -> None:
        super().__init__(Column(justify="right", no_wrap=True))

    def render(self, task: Task) -> Text:
        if task.fields["since"] is None:
            return Text()
        if task.fields["took"] is not None:
            return Text(_clock(task.fields["took"]), style="dim")
        text = Text(_clock(monotonic() - task.fields["since"]))
        left = task.time_remaining
        return text.append(f" +{_clock(left)}", style="cyan") if left else text


@dataclass
class PlainLines:
    """Sink that prints a line when something starts, messages, and a line now and then in between.

    Attributes:
        console: where to.
    """

    console: Console
    _started: dict[tuple[str, str], float] = field(default_factory=dict)
    _said: dict[tuple[str, str], float] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if event["kind"] == "message":
            self._print(event["step"], event["text"])
        elif event["kind"] in {"start", "advance"}:
            self._bar((event["step"], event["description"]), event)

    def _bar(self, bar: tuple[str, str], event: Event) -> None:
        now = event["time"]
        if event["kind"] == "start":
            self._started[bar] = self._said[bar] = now
            total = "" if event["total"] is None else f", {event['total']:,} to do"
            self._print(bar[0], f"{bar[1]}{total}")
        elif now - self._said[bar] >= LINE_SECONDS:
            self._said[bar] = now
            self._print(bar[0], f"{bar[1]} {_advanced(event, now - self._started[bar])}")

    def _print(self, step: str, text: str) -> None:
        self.console.print(f"{step}: {text}", soft_wrap=True, markup=False)


def _advanced(event: Event, seconds: float) -> str:
    """`120/600 (20 %), 6.0/s, loss 0.031, about 1 min 20 s left`."""
    done, total, rate = event["completed"], event["total"], event["completed"] / seconds
    parts = [f"{done:,}" if total is None else f"{done:,}/{total:,} ({done / total:.0%})", _rate(rate)]
    parts += [f"{name} {value:.4g}" for name, value in event["values"].items()]
    if total is not None and 0 < done < total:
        parts.append(f"about {duration((total - done) / rate)} left")
    return ", ".join(parts)


def _rate(rate: float) -> str:
    if 0 < rate < SLOW:
        return f"{60 * rate:.1f}/min"
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def _clock(seconds: float) -> str:
    """`1:02`, or `1:02:03` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
