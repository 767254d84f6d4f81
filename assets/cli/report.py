"""`freshtune report`: where the latest report is, of the decision or of a step."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from assets import session
from assets.cli.options import Name
from assets.cli.registered import Registered, report_of
from assets.errors import ConfigurationError, FreshtuneError
from assets.pages.page import REPORT
from assets.store.runner import Runner

EXAMPLES = (
    "freshtune report sms_spam",
    "freshtune report sms_spam --open",
    "freshtune report sms_spam --step search",
)

Open = Annotated[bool, typer.Option("--open", help="Open it in the browser too.")]
Of = Annotated[
    str | None,
    typer.Option("--step", metavar="STEP", help="That of a step, such as search, not of the decision."),
]


def report(name: Name, step: Of = None, open: Open = False) -> None:  # noqa: A002 - the option's name
    """Print the path of the latest HTML report: the verdict, why, and the numbers behind it."""
    runner = session.open_runner(name)
    path = _of_decision(runner) if step is None else _of_step(runner, step)
    typer.echo(path)
    if open and not webbrowser.open(path.as_uri()):
        raise FreshtuneError("no browser was found on this machine", where=str(path), fix="open this file yourself")


def _of_decision(runner: Runner) -> Path:
    decision = Registered.of(runner).decision
    if decision is None:
        raise ConfigurationError("there is no report yet", where=runner.name, fix=f"freshtune run {runner.name}")
    return report_of(runner, decision)


def _of_step(runner: Runner, name: str) -> Path:
    runner.closure(name)
    record = runner.stands_for(runner.step(name))
    if record is None:
        fix = f"freshtune run {runner.name} --to {name}"
        raise ConfigurationError(f"{name} was not run yet", where=runner.name, fix=fix)
    path = runner.store.open("traces", record.trace) / REPORT
    if not path.is_file():
        raise ConfigurationError(f"{name} has no report", where=runner.name, fix="leave out --step")
    return path
