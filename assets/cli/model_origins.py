"""Where a version of a model came from, and what is different between two: for people and as JSON."""

from __future__ import annotations

import json as json_library
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.text import Text
from rich.tree import Tree

from assets.cli.console import output, print_json, table
from assets.cli.registered import Registered, local_time, scores_of
from assets.release import log
from assets.release.difference import made_differently, rows_differ, scores_differ
from assets.release.gate import METRIC_NAMES
from assets.release.lineage import Origins, in_words, lineage, origins
from assets.store.runner import Runner

SHOWN = 12
"""Files, and pieces of code, that are listed on the terminal; `--json` has all."""


def lineage_of(runner: Runner, version: int) -> dict[str, Any]:
    """Where a version came from, with who decided about it and when; see `assets.release.lineage`."""
    registered = Registered.of(runner)
    fields = _told(registered, version)
    about = [each.fields for each in registered.entries if each.fields["challenger"] == fields["challenger"]]
    found = lineage(_origins(runner, fields))
    if found["warm_start"]:
        found["warm_start"]["version"] = registered.version(found["warm_start"]["champion"])
    signed = [{name: each[name] for name in ("kind", "decision", "by", "when", "why")} for each in about]
    return {
        "pipeline": runner.name,
        "environment": runner.environment,
        "version": version,
        **found,
        "decisions": signed,
    }


def difference_of(runner: Runner, old: int, new: int) -> dict[str, Any]:
    """What is different between two versions, see `assets.release.difference`; `data` is None where it is not known."""
    registered = Registered.of(runner)
    fields = [_told(registered, version) for version in (old, new)]
    made = [_origins(runner, each) for each in fields]
    splits = [each["inputs"].get("splits") for each in fields]
    data = rows_differ(*(_opened(runner, digest) for digest in splits if digest)) if all(splits) else None
    return {
        "pipeline": runner.name,
        "old": old,
        "new": new,
        **made_differently(made[0].records, made[1].records),
        "data": data,
        **scores_differ(*(scores_of(runner, each) for each in fields)),
    }


def show_lineage(found: Mapping[str, Any], *, json: bool) -> None:
    """Print where a version came from."""
    if json:
        print_json(found)
        return
    head = Text(f"{found['pipeline']} version {found['version']}", style="bold")
    tree = Tree(head.append(f"  {found['model'][:12]}", style="dim not bold"))
    for title, lines in _branches(found):
        branch = tree.add(Text(title, style="bold"))
        for line in lines:
            branch.add(Text(line))
    output().print(tree)


def _branches(found: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    if found["origin"]:
        yield "origin", [found["origin"], "trained elsewhere: its rows, code and settings are not known"]
    yield from _data_branches(found)
    if found["parent"]:
        parent = found["parent"]
        yield "started from", [f"{parent['name'] or 'a model'}  {parent['digest'][:12]}", *_files(parent["files"])]
    if found["warm_start"]:
        version, before = found["warm_start"]["version"], found["warm_start"]["ancestors"][1:]
        which = f", version {version}" if version is not None and found["warm_start"]["from"] == "champion" else ""
        further = [f"which was started from {', '.join(each[:12] for each in before)}"] if before else []
        yield "warm start", [in_words(found["warm_start"]) + which, *further]
    steps = [
        f"{each['step']}  key {each['key'][:12]}  content {each['content'][:12]}  code {each['code'][:12]}  "
        f"{local_time(datetime.fromtimestamp(each['time'], UTC).isoformat())} by {each['by']}"
        for each in found["steps"]
    ]
    if steps:
        yield "steps", steps
    settings = {what: value for each in found["steps"] for what, value in each["configuration"].items()}
    if settings:
        yield "settings", [f"{what} = {_setting(value)}" for what, value in settings.items()]
    libraries = {what: value for each in found["steps"] for what, value in each["environment"].items()}
    if libraries:
        yield "environment", [", ".join(f"{name} {number}" for name, number in sorted(libraries.items()))]
    checks = [
        f"{'passed' if each['passed'] else 'FAILED'}  {name} of {step}: {each['message']}"
        for step, of_step in found["checks"].items()
        for name, each in of_step.items()
    ]
    if checks:
        yield "checks", checks
    if found["run"]:
        yield "run", [found["run"]]
    said = [
        f"{local_time(each['when'])}  {each['decision']} by {each['by']}{': ' if each['why'] else ''}{each['why']}"
        for each in found["decisions"]
    ]
    yield "decisions", said


def _setting(value: Any) -> str:
    """A setting as the YAML could have it."""
    return json_library.dumps(value, ensure_ascii=False)


def _data_branches(found: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    if found["sources"]:
        yield "sources", _files(found["sources"])
    if found["rows"]:
        yield "rows", [", ".join(f"{count:,} {what}" for what, count in found["rows"].items())]
    if found["quarantine"]:
        yield "quarantine", [f"{count:,} {name}" for name, count in found["quarantine"].items()]
    if found["digests"]:
        yield "digests", [f"{what} {digest[:12]}" for what, digest in found["digests"].items()]


def _files(files: list[dict[str, Any]]) -> list[str]:
    lines = [f"{each['name']}  {each['bytes']:,} bytes  sha256 {each['sha256'][:12]}" for each in files[:SHOWN]]
    return [*lines, f"and {len(files) - SHOWN:,} more"] if len(files) > SHOWN else lines


def show_difference(found: Mapping[str, Any], *, json: bool) -> None:
    """Print what is different between two versions."""
    if json:
        print_json(found)
        return
    console = output()
    old, new = (f"version {found[which]}" for which in ("old", "new"))
    console.print(Text(f"{found['pipeline']}, {old} → {new}", style="bold"))
    for what in ("settings", "environment"):
        if found[what]:
            rows = table(what, old, new, wrap=what)
            for each in found[what]:
                rows.add_row(each["what"], *("–" if each[at] is None else str(each[at]) for at in ("old", "new")))
            console.print(rows)
    for each in found["code"]:
        more = f", and {len(each['pieces']) - SHOWN} more" if len(each["pieces"]) > SHOWN else ""
        console.print(
            f"code of {each['step']}: {', '.join(each['pieces'][:SHOWN])}{more}", markup=False, soft_wrap=True
        )
    console.print(Text(_rows_in_words(found["data"])), soft_wrap=True)
    for title, kind in (("metric", "metrics"), ("label", "labels")):
        if found[kind]:
            rows = table(title if kind == "metrics" else "F1 of label", old, new, "difference", right=(old, new))
            for each in found[kind]:
                name = METRIC_NAMES.get(each[title], each[title]) if kind == "metrics" else each[title]
                change = "–" if each["difference"] is None else f"{each['difference']:+.4f}"
                rows.add_row(Text(name), *(_number(each, which) for which in ("old", "new")), change)
            console.print(rows)


def _number(each: Mapping[str, Any], which: str) -> str:
    return with_interval(each[which], each.get(f"{which}_interval"))


def with_interval(value: float | None, interval: Any) -> str:
    """A metric for people: `0.9123 (0.8950–0.9270)`."""
    if value is None:
        return "–"
    return f"{value:.4f}" + (f" ({interval[0]:.4f}–{interval[1]:.4f})" if interval else "")


def _rows_in_words(data: Mapping[str, Any] | None) -> str:
    if data is None:
        return "rows: unknown, for one of them was trained elsewhere"
    sides = ", ".join(f"{side} {before:,} → {after:,}" for side, (before, after) in data["rows"].items())
    test = "the same test rows" if data["same_test_rows"] else "OTHER TEST ROWS: the metrics are not of the same rows"
    return (
        f"rows: {data['added']:,} added, {data['removed']:,} removed, {data['relabelled']:,} with another label, "
        f"{data['moved']:,} on another side; {sides}; {test}"
    )


def _told(registered: Registered, version: int) -> Mapping[str, Any]:
    fields = log.told(registered.entries, registered.model(version))
    assert fields is not None
    return fields


def _origins(runner: Runner, fields: Mapping[str, Any]) -> Origins:
    return origins(fields, runner.store.record, lambda trace: runner.store.open("traces", trace))


def _opened(runner: Runner, digest: str) -> Path:
    return runner.store.open("objects", digest)
