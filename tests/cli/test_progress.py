from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from assets.cli import progress
from assets.cli.progress import LiveLines, PlainLines, watched
from assets.progress import Event, Progress

STEPS = ["raw", "model", "evaluation"]


class Terminal:
    """A terminal of a given width, and what it shows now."""

    def __init__(self, width: int) -> None:
        self.console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
        self.width = width

    def lines(self, sink: Any) -> list[str]:
        console = Console(file=io.StringIO(), width=self.width, color_system=None)
        console.print(sink.display.get_renderable())
        output = console.file
        assert isinstance(output, io.StringIO)
        return [line.rstrip() for line in output.getvalue().splitlines()]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time stands still; the function lets some seconds pass."""
    now = 1000.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)

    def later(seconds: float) -> None:
        nonlocal now
        now += seconds

    return later


@pytest.mark.parametrize("width", [60, 80, 120])
def test_one_line_for_each_step(clock: Callable[[float], None], width: int) -> None:
    terminal = Terminal(width)
    with watched(STEPS, terminal.console) as sink:
        assert [line.split() for line in terminal.lines(sink)] == [["·", step] for step in STEPS]
        Progress("raw", sink).message("4,862 rows read")
        clock(3)
        with Progress("model", sink).bar("fine-tuning", total=1200) as advance:
            Progress("model", sink).metrics(10, f1_macro=0.9734)
            advance(400, loss=0.03125)
            clock(62)
            raw, model, evaluation = terminal.lines(sink)
        assert raw.startswith("✓ raw")
        assert raw.endswith("0:03")
        assert "fine-tuni" in model
        assert " 400/1,200 " in model
        assert "loss 0.03125" in model
        assert ("f1_macro 0.9734" in model) is (width >= progress.WIDE)
        assert " 1:02" in model
        assert evaluation == "· evaluation"
        assert max(map(len, (raw, model, evaluation))) <= width
    assert isinstance(sink, LiveLines)


def test_what_a_step_came_to_has_the_room_of_its_numbers() -> None:
    terminal = Terminal(100)
    with watched(STEPS, terminal.console) as sink:
        said = "4,862 rows read: 4,534 distinct, 328 repeated"
        Progress("raw", sink).message(said)
        with Progress("model", sink).bar("training", total=10) as advance:
            advance(10, loss=0.25)
        Progress("evaluation", sink).message("predicting")
        raw, model, _ = terminal.lines(sink)
    assert said in raw
    assert "training loss 0.25" in model


def test_a_step_that_says_nothing_is_done_too() -> None:
    terminal = Terminal(80)
    with watched(STEPS, terminal.console) as sink:
        Progress("evaluation", sink).message("predicting")
        marks = [line[0] for line in terminal.lines(sink)]
        assert marks[:2] == ["✓", "✓"]
        # The champion is measured within a later step.
        Progress("release", sink).message("deciding")
        Progress("model", sink).message("again")
        marks = [line[0] for line in terminal.lines(sink)]
        assert marks[0] == "✓"
        assert marks[1] not in "✓·"


def test_the_innermost_bar_is_shown() -> None:
    terminal = Terminal(100)
    with watched(STEPS, terminal.console) as sink:
        model = Progress("model", sink)
        with model.bar("epochs", total=3) as outer:
            with model.bar("steps", total=50) as inner:
                outer(1)
                inner(20)
                assert " 20/50 " in terminal.lines(sink)[1]
            with model.bar("rows") as inner:
                inner(7)
                assert " 7 " in terminal.lines(sink)[1]
                assert "/50" not in terminal.lines(sink)[1]


def test_nothing_stays_on_the_terminal() -> None:
    terminal = Terminal(80)
    with watched(["raw"], terminal.console) as sink, Progress("raw", sink).bar("reading", total=2) as advance:
        advance(2)
    output = terminal.console.file
    assert isinstance(output, io.StringIO)
    assert output.getvalue().rstrip().endswith("\x1b[2K")


def test_plain_lines_now_and_then() -> None:
    output = io.StringIO()
    with watched(STEPS, Console(file=output, width=20)) as sink:
        assert isinstance(sink, PlainLines)
        sink({"time": 0.0, "step": "model", "kind": "start", "description": "fine-tuning", "total": 600})
        for second in range(1, 26):
            sink(
                {
                    "time": float(second),
                    "step": "model",
                    "kind": "advance",
                    "description": "fine-tuning",
                    "completed": 6 * second,
                    "total": 600,
                    "values": {"loss": 0.03125},
                }
            )
            sink({"time": float(second), "step": "model", "kind": "metrics", "at": second, "values": {"loss": 0.03125}})
        sink({"time": 26.0, "step": "model", "kind": "end", "description": "fine-tuning"})
        Progress("evaluation", sink).message("[bold]done[/]")
    assert output.getvalue().splitlines() == [
        "model: fine-tuning, 600 to do",
        "model: fine-tuning 60/600 (10%), 6.0/s, loss 0.03125, about 1 min 30 s left",
        "model: fine-tuning 120/600 (20%), 6.0/s, loss 0.03125, about 1 min 20 s left",
        "evaluation: [bold]done[/]",
    ]


def test_plain_lines_without_a_total() -> None:
    output = io.StringIO()
    sink = PlainLines(Console(file=output))
    sink({"time": 0.0, "step": "raw", "kind": "start", "description": "reading", "total": None})
    event: Event = {"step": "raw", "kind": "advance", "description": "reading", "total": None, "values": {}}
    sink({**event, "time": 10.0, "completed": 45_000})
    assert output.getvalue().splitlines() == ["raw: reading", "raw: reading 45,000, 4,500/s"]


def test_slow_things_are_counted_by_the_minute() -> None:
    output = io.StringIO()
    sink = PlainLines(Console(file=output))
    sink({"time": 0.0, "step": "search", "kind": "start", "description": "trials", "total": 3})
    event: Event = {"step": "search", "kind": "advance", "description": "trials", "total": 3, "values": {}}
    for done in (0, 1, 3):
        sink({**event, "time": 40.0 * (done + 1), "completed": done})
    assert output.getvalue().splitlines() == [
        "search: trials, 3 to do",
        "search: trials 0/3 (0%), 0.0/s",
        "search: trials 1/3 (33%), 0.8/min, about 2 min 40 s left",
        "search: trials 3/3 (100%), 1.1/min",
    ]
