"""How things are said on a terminal: consoles, errors, durations, tables."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from assets.errors import FreshtuneError

STYLES = {
    "fresh": "dim",
    "reusable": "cyan",
    "reused": "cyan",
    "stale": "yellow",
    "pending": "blue",
    "built": "green",
    "failed": "bold red",
    "not run": "dim",
}
"""Colours of a step's states and actions."""


def output() -> Console:
    """Standard output. Made when it is needed, since tests and progress bars exchange the stream."""
    return Console(highlight=False)


def messages() -> Console:
    """Standard error: progress, errors, hints."""
    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Print a JSON value on one line of standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def say_error(error: FreshtuneError) -> None:
    """Say an error on standard error: what is wrong, where, and the fix."""
    text = Text("Error: ", style="bold red")
    text.append(f"{error.where}: {error.what}" if error.where else error.what, style="default not bold")
    if error.fix:
        text.append("\n  fix: ", style="bold green")
        text.append(error.fix, style="default not bold")
    messages().print(text, soft_wrap=True)


def duration(seconds: float) -> str:
    """A duration for people: `0.41 s`, `12.3 s`, `1 min 21 s`, `2 h 03 min`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def table(*columns: str, right: tuple[str, ...] = (), wrap: str = "") -> Table:
    """An empty table.

    Args:
        columns: its headings.
        right: headings of the columns of numbers.
        wrap: heading of the column that gives way where the terminal is narrow.
    """
    made = Table(header_style="bold", pad_edge=False, box=None, padding=(0, 2, 0, 0))
    for heading in columns:
        made.add_column(
            heading,
            justify="right" if heading in right else "left",
            no_wrap=heading != wrap,
            overflow="fold",
        )
    return made


def styled(word: str) -> Text:
    """A step's state or action in its colour."""
    return Text(word, style=STYLES.get(word, ""))
