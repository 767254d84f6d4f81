"""`freshtune models`: the versions of a pipeline's model, which one is in use, and putting another one in use."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.text import Text

from assets import session
from assets.cli.console import messages, output, print_json, table
from assets.cli.options import Json, OptionalName
from assets.cli.registered import Registered, decision_of, local_time, now, report_of
from assets.config.home import project_root
from assets.config.load import pipeline_names
from assets.errors import ConfigurationError, FreshtuneError, StoreError
from assets.release import log
from assets.release.gate import METRIC_NAMES
from assets.store.build import by
from assets.store.runner import Runner
from assets.store.step import LogEntry

EXAMPLES = (
    "freshtune models",
    "freshtune models sms_spam",
    'freshtune models sms_spam promote 2 --why "better on short texts"',
    "freshtune models sms_spam rollback",
)


class Verb(StrEnum):
    """What to do with the models of a pipeline."""

    LIST = "list"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


VerbArgument = Annotated[Verb, typer.Argument(help="list, promote or rollback.", metavar="VERB")]
Version = Annotated[int | None, typer.Argument(metavar="VERSION", help="The version to promote.", show_default=False)]
Why = Annotated[str | None, typer.Option("--why", help="The reason, kept in the promotion log; asked for if left out.")]


def models(
    name: OptionalName = None,
    verb: VerbArgument = Verb.LIST,
    version: Version = None,
    why: Why = None,
    json: Json = False,
) -> None:
    """List the models that were trained, and put another one in use.

    [bold]list[/]: versions of the pipeline's model; without NAME, every pipeline
    [bold]promote VERSION[/]: makes a version the champion, whatever the gate said
    [bold]rollback[/]: goes back to the champion before

    What was taken out by a rollback returns only by an explicit promotion.
    """
    if (verb is Verb.PROMOTE) != (version is not None):
        fix = f"freshtune models {name or 'NAME'} promote VERSION"
        what = "promote needs a version" if version is None else f"{verb} takes no version, and got {version}"
        raise ConfigurationError(what, where="models", fix=fix)
    if name is None:
        _list_pipelines(json=json)
        return
    runner = session.open_runner(name)
    if verb is not Verb.LIST:
        _change(runner, version, why)
    _list(runner, json=json)


def _change(runner: Runner, version: int | None, why: str | None) -> None:
    """Append a person's entry to the promotion log and bring the registry in line; `version` None goes back."""
    registered = Registered.of(runner)
    model = None if version is None else registered.model(version)
    entries, when = registered.entries, now()
    # Made once before anybody is asked why, so that an impossible wish is refused at once.
    made = _entry(entries, model, when, "")
    fields = {**made, "why": why or _asked(runner.name)}
    if not runner.store.append(runner.environment, runner.name, LogEntry(len(entries), fields)):
        # Not tried again: after another's rollback, this one would go back one champion further than was meant.
        raise StoreError(
            "the promotion log changed at this very moment, and nothing was done",
            where=runner.name,
            fix=f"look at what is in use now with `freshtune models {runner.name}`, then say again what you want",
        )
    after = Registered.of(runner)
    messages().print(f"{runner.name} {after.said(after.champion)} is the champion.", style="bold green")
    try:
        runner.settle()
    except FreshtuneError as error:
        error.what = f"the promotion log says so, but the registry does not yet: {error.what}"
        error.fix = f"{error.fix}; `freshtune run {runner.name}` brings the registry in line".removeprefix("; ")
        raise


def _entry(entries: tuple[LogEntry, ...], model: str | None, when: str, why: str) -> dict[str, Any]:
    if model is None:
        return log.rollback(entries, by=by(), when=when, why=why)
    return log.promote(entries, model, by=by(), when=when, why=why)


def _asked(name: str) -> str:
    if not _interactive():
        raise ConfigurationError(
            "the promotion log keeps a reason for every change by a person, and --why is missing",
            where=name,
            fix='add --why "the reason"',
        )
    reason: str = typer.prompt("Why (kept in the promotion log)", err=True)
    return reason


def _interactive() -> bool:
    return sys.stdin.isatty()


def _versions(runner: Runner, registered: Registered) -> list[dict[str, Any]]:
    versions = []
    for model in reversed(registered.models):
        fields = log.decisions(registered.entries, model)[-1]
        versions.append(
            {
                "version": registered.version(model),
                "model": model,
                "alias": registered.alias(model),
                "decision": fields["decision"],
                "when": fields["when"],
                "metrics": decision_of(runner, fields)["metrics"],
                "report": str(report_of(runner, fields)),
            }
        )
    return versions


def _list(runner: Runner, *, json: bool) -> None:
    registered = Registered.of(runner)
    versions = _versions(runner, registered)
    if json:
        champion = registered.version(registered.champion)
        changes = [
            {"number": entry.number, **_change_in_words(registered, entry.fields)} for entry in registered.entries
        ]
        print_json({"pipeline": runner.name, "champion": champion, "versions": versions, "log": changes})
        return
    console = output()
    console.print(Text(runner.name, style="bold"))
    if not versions:
        console.print(f"No model yet. Next: freshtune run {runner.name}", soft_wrap=True)
        return
    metric = runner.config.gate.metric
    rows = table(
        "version", "alias", "gate", METRIC_NAMES[metric], "when", "model", right=("version", METRIC_NAMES[metric])
    )
    for each in versions:
        rows.add_row(
            "–" if each["version"] is None else str(each["version"]),
            Text(each["alias"] or "", style="bold green" if each["alias"] == "champion" else ""),
            each["decision"],
            f"{each['metrics'][metric]:.4f}",
            local_time(each["when"]),
            each["model"][:12],
        )
    console.print(rows)
    for entry in registered.entries:
        if entry.fields["kind"] != "decision":
            said = _change_in_words(registered, entry.fields)
            what = f"{said['kind']}, version {said['champion']} in use" if said["champion"] else str(said["kind"])
            console.print(
                f"{local_time(said['when'])}  {what}: {said['why']} ({said['by']})", soft_wrap=True, markup=False
            )
    if registered.behind:
        messages().print(
            f"The registry lacks the last {registered.behind} of the promotion log: freshtune run {runner.name}",
            style="yellow",
            soft_wrap=True,
        )


def _change_in_words(registered: Registered, fields: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the log with version numbers for digests."""
    numbers = {which: registered.version(fields[which]) for which in ("challenger", "champion")}
    return {name: fields[name] for name in ("kind", "decision", "by", "when", "why")} | numbers


def _list_pipelines(*, json: bool) -> None:
    found = []
    for name in pipeline_names(project_root()):
        registered = Registered.of(session.open_runner(name))
        version, count = registered.version(registered.champion), len(registered.models)
        found.append({"pipeline": name, "champion": version, "models": count})
    if json:
        print_json({"pipelines": found})
        return
    rows = table("pipeline", "champion", "models", right=("models",))
    for each in found:
        champion = "none yet" if each["champion"] is None else f"version {each['champion']}"
        rows.add_row(str(each["pipeline"]), champion, str(each["models"]))
    output().print(rows)
