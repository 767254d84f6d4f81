"""`freshtune run`: make every step fresh, and show what came of it."""

from __future__ import annotations

from typing import Annotated

import typer

from assets import session
from assets.cli.console import messages, output, print_json, say_error
from assets.cli.finished import Finished
from assets.cli.options import Json, Name, To
from assets.cli.registered import Registered, report_of
from assets.cli.summary import show
from assets.errors import ConfigurationError, FreshtuneError
from assets.store.plan import Plan
from assets.store.runner import Runner, StepResult

EXAMPLES = (
    "freshtune run sms_spam",
    "freshtune run sms_spam --to cleaned",
    "freshtune run sms_spam --sample 500",
    "freshtune run sms_spam --force evaluation --force release",
)

Sample = Annotated[
    int | None,
    typer.Option("--sample", metavar="N", min=1, help="Only N rows, apart from the results and models of the whole."),
]
Force = Annotated[
    list[str] | None, typer.Option("--force", metavar="STEP", help="Build this step even if it is fresh; repeatable.")
]


def run(name: Name, to: To = None, sample: Sample = None, force: Force = None, json: Json = False) -> None:
    """Run the steps that are not fresh, through Dagster, with live progress.

    If every step is fresh, nothing is run and nothing changes.
    """
    runner = session.open_runner(name, sample=sample, forced=force or ())
    planned = runner.plan(to)
    _refuse_idle_force(runner, planned)
    finished, code = _launched(runner, planned) if planned.to_run else (_finished(runner, planned), 1)
    if json:
        print_json(finished.json())
    else:
        decision = finished.registered.decision
        reported = decision is not None and "release" in finished.results
        show(finished, report_of(runner, decision) if decision is not None and reported else None, output())
    if not finished.success:
        if not json:
            for problem in finished.problems:
                say_error(FreshtuneError(problem))
        raise typer.Exit(code)


def _refuse_idle_force(runner: Runner, planned: Plan) -> None:
    names = [step.step for step in planned.steps]
    for step in sorted(runner.forced - set(names)):
        raise ConfigurationError(
            f"--force {step}: the step is not among those up to --to {names[-1]}",
            where=runner.name,
            fix=f"leave out --to, or force one of {', '.join(names)}",
        )


def _launched(runner: Runner, planned: Plan) -> tuple[Finished, int]:
    """Run what is not fresh through Dagster; what came of it, and the exit code if that is a failure."""
    from assets.cli.progress import watched  # not needed where nothing is to be done
    from assets.orchestration.launch import materialise  # imports Dagster

    runner.preflight(planned)
    with watched([step.step for step in planned.steps], messages()) as sink:
        outcome = materialise(
            runner.name, steps=planned.to_run, sample=runner.sample, forced=tuple(runner.forced), sink=sink
        )
    error = outcome.error if outcome.error is not None or outcome.success else "the run failed"
    finished = _finished(
        runner, planned, {result.step: result for result in outcome.results}, run_id=outcome.run_id, error=error
    )
    return finished, outcome.exit_code or 1


def _finished(
    runner: Runner,
    planned: Plan,
    ran: dict[str, StepResult] | None = None,
    *,
    run_id: str | None = None,
    error: str | None = None,
) -> Finished:
    stood = [runner.standing(step.step) for step in planned.steps if step.step not in planned.to_run]
    return Finished(
        pipeline=runner.name,
        steps=tuple(runner.step(step.step) for step in planned.steps),
        results={result.step: result for result in stood if result is not None} | (ran or {}),
        registered=Registered.of(runner),
        run_id=run_id,
        error=error,
        sample=runner.sample,
    )
