"""Lists the versions of a pipeline's model, what was decided about them, and what waits for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from assets import session
from assets.cli.console import messages, output, print_json, table
from assets.cli.model_origins import with_interval
from assets.cli.registered import Registered, changed_by_hand, decision_of, local_time, report_of, scores_of
from assets.config.home import project_root
from assets.config.load import pipeline_names
from assets.release import by_hand, log
from assets.release.gate import METRIC_NAMES
from assets.store.runner import Runner


def list_pipelines(*, json: bool) -> None:
    """Print every pipeline with its champion."""
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


def list_versions(runner: Runner, *, json: bool) -> None:
    """Print the versions of a pipeline's model, the newest first."""
    registered = Registered.of(runner)
    versions = list(_versions(runner, registered))
    changes, unknown = changed_by_hand(runner, registered)
    waiting = log.waiting(registered.entries)
    if json:
        numbered = [
            {"number": entry.number, **_change_in_words(registered, entry.fields)} for entry in registered.entries
        ]
        print_json(
            {
                "pipeline": runner.name,
                "champion": registered.version(registered.champion),
                "waiting": registered.version(waiting),
                "versions": versions,
                "log": numbered,
                "by_hand": changes,
                "undelivered": registered.settled.get("undelivered"),
                "registry": unknown,
            }
        )
        return
    console = output()
    console.print(Text(runner.name, style="bold"))
    if not versions:
        console.print(f"No model yet. Next: freshtune run {runner.name}", soft_wrap=True)
        return
    _print_versions(runner, versions)
    for entry in registered.entries:
        if entry.fields["kind"] != "decision":
            said = _change_in_words(registered, entry.fields)
            what = f"{said['kind']}, version {said['champion']} in use" if said["champion"] else str(said["kind"])
            console.print(
                f"{local_time(said['when'])}  {what}: {said['why']} ({said['by']})", soft_wrap=True, markup=False
            )
    for line in _notes(runner, registered, changes, unknown):
        messages().print(line, style="yellow", soft_wrap=True, markup=False)


def _print_versions(runner: Runner, versions: list[dict[str, Any]]) -> None:
    metric = runner.config.gate.metric
    title = METRIC_NAMES[metric]
    rows = table("version", "alias", "gate", title, "when", "model", right=("version", title))
    for each in versions:
        rows.add_row(
            "–" if each["version"] is None else str(each["version"]),
            Text(each["alias"] or "", style="bold green" if each["alias"] == "champion" else ""),
            each["decision"],
            with_interval(each["metrics"].get(metric), each.get("intervals", {}).get(metric)),
            local_time(each["when"]),
            each["model"][:12],
        )
    output().print(rows)


def _notes(runner: Runner, registered: Registered, changes: list[by_hand.Change], unknown: str | None) -> Iterator[str]:
    waiting = log.waiting(registered.entries)
    if waiting is not None:
        version = registered.version(waiting)
        yield (
            f"{registered.said(waiting).capitalize()} was accepted by the gate and waits: "
            f"freshtune models {runner.name} promote {'VERSION' if version is None else version}"
        )
    if registered.behind:
        yield f"The registry lacks the last {registered.behind} of the promotion log: freshtune run {runner.name}"
    if undelivered := registered.settled.get("undelivered"):
        yield (
            f"The webhook was not told of entry {undelivered['number']} of the promotion log: {undelivered['why']}; "
            f"freshtune run {runner.name} tries again"
        )
    yield from by_hand.in_words(changes, runner.name)
    if unknown is not None:
        yield f"Whether MLflow is as it was left cannot be told: {unknown}"


def _versions(runner: Runner, registered: Registered) -> Iterator[dict[str, Any]]:
    for model in reversed(registered.models):
        fields = log.told(registered.entries, model)
        assert fields is not None
        intervals = scores_of(runner, fields).get("intervals")
        yield {
            "version": registered.version(model),
            "model": model,
            "alias": registered.alias(model),
            "decision": fields["decision"],
            "when": fields["when"],
            "metrics": decision_of(runner, fields)["metrics"],
            **({} if intervals is None else {"intervals": intervals}),
            "report": str(report_of(runner, fields)) if "trace" in fields["release"] else None,
        }


def _change_in_words(registered: Registered, fields: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the log with version numbers for digests."""
    numbers = {which: registered.version(fields[which]) for which in ("challenger", "champion")}
    return {name: fields[name] for name in ("kind", "decision", "by", "when", "why")} | numbers
