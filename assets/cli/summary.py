"""How a finished run is shown to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from assets.cli.console import duration, styled, table
from assets.cli.finished import Finished, account_in_words
from assets.cli.plan import because
from assets.release import log
from assets.release.gate import METRIC_NAMES

LABEL = 10
"""Width of the labels before the lines of the account, in characters."""


def show(finished: Finished, report: Path | None, console: Console) -> None:
    """Print a finished run: steps, rows, checks that fail, metrics, decision, champion, report, and what to do next."""
    title = finished.pipeline if finished.run_id is None else f"{finished.pipeline}, run {finished.run_id}"
    console.print(Text(title, style="bold"))
    console.print(_steps(finished))
    console.print()
    grid = Table.grid(padding=(0, 0))
    grid.add_column(width=LABEL, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, content in _facts(finished):
        grid.add_row(Text(label, style="bold"), content)
    console.print(grid)
    # Whole lines, however narrow the terminal: they are there to be copied.
    if report is not None:
        console.print(
            Text("report".ljust(LABEL), style="bold").append(str(report), style="default not bold"), soft_wrap=True
        )
    for place, command in enumerate(_next(finished)):
        label = "next" if place == 0 else ""
        console.print(Text(label.ljust(LABEL), style="bold").append(command, style="cyan not bold"), soft_wrap=True)


def _steps(finished: Finished) -> Table:
    rows = table("step", "result", "seconds", "because", right=("seconds",), wrap="because")
    missing = [step.name for step in finished.steps if step.name not in finished.results]
    # A blocking check stops a run between two steps; any other failure is that of the first step without a result.
    broke = missing[0] if missing and not any(failed.blocks for failed in finished.failed_checks) else None
    for step in finished.steps:
        result = finished.results.get(step.name)
        if result is None:
            rows.add_row(step.name, styled("failed" if step.name == broke else "not run"), "", "")
        else:
            seconds = "" if result.action == "fresh" else f"{result.seconds:,.2f}"
            rows.add_row(step.name, styled(result.action), seconds, because(result.reasons))
    return rows


def _facts(finished: Finished) -> Iterator[tuple[str, RenderableType]]:
    if finished.success and finished.run_id is None:
        yield "done", "nothing changed: every step is fresh, and nothing was run"
    elif finished.results:
        yield "done" if finished.success else "so far", _done(finished)
    if finished.account is not None:
        lost = finished.account["missing"] != 0
        yield "rows", Text(account_in_words(finished.account), style="bold red" if lost else "")
    for failed in finished.failed_checks:
        word, style = ("failed", "bold red") if failed.blocks else ("warning", "yellow")
        yield (
            "check",
            Text(f"{word}: ", style=style).append(
                f"{failed.check.name} of {failed.step}: {failed.outcome.message}", style="default not bold"
            ),
        )
    if finished.metrics:
        yield "test", _metrics(finished.metrics, finished.baseline)
    if finished.release is not None:
        yield "decision", _decision(finished)
        champion = finished.registered.champion
        said = f"{finished.pipeline} {finished.registered.said(champion)}" if champion else "none yet"
        yield "champion", Text(said, style="bold" if champion else "")


def _done(finished: Finished) -> str:
    counts = dict.fromkeys(("built", "reused", "fresh"), 0)
    for result in finished.results.values():
        counts[result.action] += 1
    said = ", ".join(f"{count} {action}" for action, count in counts.items() if count)
    return f"{said}, in {duration(sum(result.seconds for result in finished.results.values()))}"


def _metrics(metrics: Mapping[str, float], baseline: Mapping[str, float]) -> Table:
    rows = table("metric", "model", "baseline", "difference", right=("model", "baseline", "difference"))
    for name, value in metrics.items():
        beside = baseline.get(name)
        other = ("", "") if beside is None else (f"{beside:.4f}", f"{value - beside:+.4f}")
        rows.add_row(METRIC_NAMES.get(name, name), f"{value:.4f}", *other)
    return rows


def _decision(finished: Finished) -> Text:
    assert finished.release is not None
    decision, version = finished.release["decision"], finished.release["version"]
    style = {"promoted": "bold green", "refused": "bold red"}.get(decision, "bold")
    text = Text(decision, style=style)
    text.append("" if version is None else f", version {version}", style="default not bold")
    for each in finished.comparisons:
        text.append("\n✓ " if each["passed"] else "\n✗ ", style="green not bold" if each["passed"] else "red not bold")
        text.append(str(each["message"]), style="default not bold")
    return text


def _next(finished: Finished) -> list[str]:
    name = finished.pipeline
    if not finished.success:
        look = ["freshtune ui" + (f"   (run {finished.run_id})" if finished.run_id else "")]
        return look if finished.sample is not None else [f"freshtune plan {name}", *look]
    if finished.sample is not None or finished.release is None:
        return [f"freshtune run {name}"]
    commands = [f"freshtune report {name} --open", f"freshtune models {name}", "freshtune ui"]
    waiting = log.waiting(finished.registered.entries)
    if waiting is not None:
        commands.insert(0, f"freshtune models {name} promote {finished.registered.version(waiting) or 'VERSION'}")
    return [f'freshtune predict {name} "some text"', *commands] if finished.registered.champion else commands
