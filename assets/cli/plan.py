"""`freshtune plan`: what a run would do, and exactly why."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from assets import session
from assets.cli.console import duration, output, print_json, styled, table
from assets.cli.options import Json, Name, To
from assets.store.plan import Plan, Reason

EXAMPLES = (
    "freshtune plan sms_spam",
    "freshtune plan sms_spam --to splits",
    "freshtune plan sms_spam --json | jq .steps",
)

SHOWN = 4
"""Reasons of a step that a table shows; JSON has all of them."""


def plan(name: Name, to: To = None, json: Json = False) -> None:
    """Show which steps are fresh, reusable, stale or pending, and why. Computes nothing.

    [bold]fresh[/]: stands as it should
    [bold]reusable[/]: was computed earlier, and is taken from the store
    [bold]stale[/]: has to be built
    [bold]pending[/]: waits for a stale step, whose result may stay the same
    """
    planned = session.open_runner(name).plan(to)
    if json:
        print_json(planned.json())
        return
    console = output()
    rows = table("step", "state", "estimate", "because", right=("estimate",), wrap="because")
    for step in planned.steps:
        waits = step.state in {"stale", "pending"} and step.estimated_seconds is not None
        estimate = duration(step.estimated_seconds) if waits and step.estimated_seconds is not None else ""
        rows.add_row(step.step, styled(step.state), estimate, because(step.reasons))
    console.print(Text(name, style="bold"))
    console.print(rows)
    console.print(Group("", *_closing(planned)), soft_wrap=True)


def because(reasons: tuple[Reason, ...]) -> Text:
    """The reasons of a step, one a line."""
    lines = [str(reason) for reason in reasons[:SHOWN]]
    if len(reasons) > SHOWN:
        lines.append(f"and {len(reasons) - SHOWN:,} more")
    return Text("\n".join(lines))


def _closing(planned: Plan) -> list[str]:
    if not planned.to_run:
        return ["Nothing to do: every step is fresh."]
    waiting = [step for step in planned.steps if step.state in {"stale", "pending"}]
    seconds = [step.estimated_seconds for step in waiting if step.estimated_seconds is not None]
    lines = []
    if seconds:
        about = f"About {duration(sum(seconds))}, going by the last builds"
        unknown = len(waiting) - len(seconds)
        more = f"; {unknown} of the steps were never built" if unknown else ", and less where a result stays the same"
        lines.append(f"{about}{more}.")
    lines.append(f"Next: freshtune run {planned.pipeline}")
    return lines
