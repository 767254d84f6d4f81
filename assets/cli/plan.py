"""`freshtune plan`: what a run would do, and exactly why."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from assets import session
from assets.cli.console import duration, messages, output, print_json, styled, table
from assets.cli.options import Json, Name, To
from assets.cli.registered import Registered
from assets.errors import ConfigurationError
from assets.model import STEP, parent
from assets.store.plan import Plan, Reason, StepPlan
from assets.store.runner import Runner

EXAMPLES = (
    "freshtune plan sms_spam",
    "freshtune plan sms_spam --to splits",
    "freshtune plan sms_spam --json | jq .steps",
    'freshtune plan sms_spam --accept all --why "renamed a function"',
)

Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="STEP",
        help="Keep this step's result though its code or libraries changed, or all; repeatable.",
    ),
]
Why = Annotated[str | None, typer.Option("--why", help="The reason to accept, kept with the result.")]

Accepted = dict[str, tuple[Reason, ...]]

SHOWN = 4
"""Reasons of a step that a table shows; JSON has all of them."""


def plan(name: Name, to: To = None, accept: Accept = None, why: Why = None, json: Json = False) -> None:
    """Show which steps are fresh, reusable, stale or pending, and why. Computes nothing.

    [bold]fresh[/]: stands as it should
    [bold]reusable[/]: was computed earlier, and is taken from the store
    [bold]stale[/]: has to be built
    [bold]pending[/]: waits for a stale step, whose result may stay the same

    After a refactoring or an upgrade that changes no result, --accept lets steps keep theirs; who and why is kept.
    """
    runner = session.open_runner(name)
    accepted = _accept(runner, accept or [], why)
    planned = runner.plan(to)
    start = _start(runner, planned)
    if json:
        print_json(_json(planned, accepted) | ({} if start is None else {"training_start": start}))
        return
    if accept:
        _say_accepted(accepted)
    console = output()
    rows = table("step", "state", "estimate", "because", right=("estimate",), wrap="because")
    for step in planned.steps:
        waits = step.state in {"stale", "pending"} and step.estimated_seconds is not None
        estimate = duration(step.estimated_seconds) if waits and step.estimated_seconds is not None else ""
        rows.add_row(step.step, styled(step.state), estimate, because(step.reasons) + _adopted(step))
    console.print(Text(name, style="bold"))
    console.print(rows)
    console.print(Group("", *_closing(planned, start)), soft_wrap=True)


def because(reasons: tuple[Reason, ...]) -> Text:
    """The reasons of a step, one a line."""
    lines = [str(reason) for reason in reasons[:SHOWN]]
    if len(reasons) > SHOWN:
        lines.append(f"and {len(reasons) - SHOWN:,} more")
    return Text("\n".join(lines))


def _start(runner: Runner, planned: Plan) -> dict[str, Any] | None:
    """What the training that is due starts from, as far as the promotion log tells; None without a warm start.

    Returns:
        `start` as configured; `champion`, its digest or None; `version` that the registry gave it, or None; `why` it is
        not started from, or "".
    """
    start = runner.config.training.start
    due = [step for step in planned.steps if step.step == STEP.name and step.state in {"stale", "pending"}]
    if start is None or not due:
        return None
    registered, key = Registered.of(runner), due[0].key
    before = None if key is None else runner.measured(runner.store.record(key))
    model = parent.candidate(registered.entries, runner.work(key or "unknown"), before)
    why = parent.spoken_against(registered.entries, model)
    return {"start": start, "champion": model, "version": registered.version(model), "why": why}


def _start_in_words(start: dict[str, Any]) -> str:
    if start["why"]:
        return f"Training starts from the base model: {start['why']}."
    which = "" if start["version"] is None else f", version {start['version']}"
    both = "the base model and, once more, from " if start["start"] == "either" else ""
    return f"Training starts from {both}the champion{which}, unless it has seen rows that are held out now."


def _closing(planned: Plan, start: dict[str, Any] | None) -> list[str]:
    if not planned.to_run:
        return ["Nothing to do: every step is fresh."]
    waiting = [step for step in planned.steps if step.state in {"stale", "pending"}]
    seconds = [step.estimated_seconds for step in waiting if step.estimated_seconds is not None]
    lines = []
    if seconds:
        about = f"About {duration(sum(seconds))}, going by the last builds"
        unknown = len(waiting) - len(seconds)
        more = f"; not counting {unknown} never built yet" if unknown else ", and less where a result stays the same"
        lines.append(f"{about}{more}.")
    if start is not None:
        lines.append(_start_in_words(start))
    lines.append(f"Next: freshtune run {planned.pipeline}")
    return lines


def _accept(runner: Runner, names: list[str], why: str | None) -> Accepted:
    """Accept steps, in the order of the chain; what was accepted of each."""
    if bool(names) != bool(why):
        raise ConfigurationError(
            "--accept needs --why, which is kept with the result"
            if names
            else "--why is about --accept, which is missing",
            where=runner.name,
            fix=f'freshtune plan {runner.name} --accept STEP --why "the reason"',
        )
    steps = [step.name for step in runner.chain]
    for unknown in sorted(set(names) - {*steps, "all"}):
        raise ConfigurationError(f"no step {unknown!r}", where=runner.name, fix=f"steps are {', '.join(steps)}, or all")
    accepted = {}
    for step in steps:
        # Looked at only now: an accepted step makes what was pending fresh, or stale for its code alone.
        if step in names or ("all" in names and _acceptable(runner, step)):
            accepted[step] = tuple(runner.accept([step], why or ""))
    return accepted


def _acceptable(runner: Runner, name: str) -> bool:
    planned = runner.plan(name)[name]
    only = planned.reasons and all(reason.kind in {"code", "environment"} for reason in planned.reasons)
    return planned.state == "stale" and bool(only) and runner.store.whole(runner.stands_for(runner.step(name)))


def _say_accepted(accepted: Accepted) -> None:
    for step, reasons in accepted.items():
        said = "; ".join(because(reasons).plain.splitlines())
        messages().print(Text(f"accepted {step}: {said}", style="green"), soft_wrap=True)
    if not accepted:
        messages().print("Nothing was accepted: no step is stale for its code or libraries alone.", soft_wrap=True)


def _adopted(step: StepPlan) -> Text:
    record = step.record
    if step.state != "fresh" or record is None or record.accepted is None:
        return Text()
    return Text(f"accepted by {record.by}: {record.accepted}", style="dim")


def _json(planned: Plan, accepted: Accepted) -> dict[str, Any]:
    """The plan, with what was accepted now, and for each step what it stands on by acceptance."""
    fields = planned.json()
    for entry, step in zip(fields["steps"], planned.steps, strict=True):
        if step.state == "fresh" and step.record is not None and step.record.accepted is not None:
            entry["accepted"] = {"why": step.record.accepted, "by": step.record.by, "time": step.record.time}
    if accepted:
        fields["accepted"] = [
            {"step": step, "reasons": [reason.json() for reason in reasons]} for step, reasons in accepted.items()
        ]
    return fields
