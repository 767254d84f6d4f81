"""`freshtune report`: where the latest report is."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from assets import session
from assets.cli.options import Name
from assets.cli.registered import Registered, report_of
from assets.errors import ConfigurationError, FreshtuneError

EXAMPLES = ("freshtune report sms_spam", "freshtune report sms_spam --open")

Open = Annotated[bool, typer.Option("--open", help="Open it in the browser too.")]


def report(name: Name, open: Open = False) -> None:  # noqa: A002 - the option's name
    """Print the path of the latest HTML report: the verdict, why, and the numbers behind it."""
    runner = session.open_runner(name)
    decision = Registered.of(runner).decision
    if decision is None:
        raise ConfigurationError("there is no report yet", where=name, fix=f"freshtune run {name}")
    path = report_of(runner, decision)
    typer.echo(path)
    if open and not webbrowser.open(path.as_uri()):
        raise FreshtuneError("no browser was found on this machine", where=str(path), fix="open this file yourself")
