"""What Dagster shows of a step's result: measurements as numbers and tables, pictures, links, and the checks.

The text of rows stays out of Dagster's database, but for as many samples as `evaluation.samples` allows.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assets.orchestration.registered import registry_metadata
from assets.pages.page import REPORT
from assets.store.plan import Plan
from assets.store.runner import Runner, StepResult
from assets.store.step import Check, Outcome, Step

SAMPLES = "samples"
"""The one measurement that may show the text of rows."""
TEXT_COLUMNS = frozenset({"text", "line_text", "detail", "observed"})
"""Columns of tables of measurements that may hold the text of rows; shown only where they are numbers."""
PARTITIONS = frozenset({"labels", "rows"})
"""Measurements whose counts are parts of one whole, and so have shares."""
LEADING = ("decision", "comparisons", "findings", "metrics")
"""Measurements that come first: what was decided, and why."""
LEADING_COLUMNS = ("", "name", "type")
LONG = 40
"""Columns with longer texts come last in a table, where they push nothing out of sight."""
LONGEST_CELL = 150
"""The UI shows a text of less than 1000 characters at once, a longer one after a click: five samples stay below it."""
LONGEST_TAG = 500
"""Characters; PostgreSQL keeps an index of tags, and takes no more than 2,700 bytes into it."""
LARGEST_PICTURE = 500_000
"""Bytes; a larger picture is only named, so that Dagster's database stays small."""
PAGES = {"report": REPORT, "data_docs": "data_docs/index.html"}
TINY = 0.001
"""Numbers below are shown with three digits, wherever they begin."""
SMALL = 10.0
"""Numbers from here on are shown with one digit after the point."""
ROW_COUNTS = ("rows", "accepted", "kept")

Value = dg.MetadataValue[Any]


def step_metadata(runner: Runner, result: StepResult) -> dict[str, Value]:
    """Metadata of a materialization: what happened and what to look at, what was measured, then the bookkeeping."""
    record, step = result.record, runner.step(result.step)
    trace = runner.store.open("traces", record.trace)
    first: dict[str, Value] = {"action": dg.MetadataValue.text(result.action)}
    if record.accepted is not None:
        first["accepted_because"] = dg.MetadataValue.text(record.accepted)
    if result.reasons:
        first["reasons"] = dg.MetadataValue.md("\n".join(f"- {_cell(str(reason))}" for reason in result.reasons))
    for name, page in PAGES.items():
        if (trace / page).is_file():
            first[name] = dg.MetadataValue.path(str(trace / page))
    if step.decides:
        first |= registry_metadata(runner)
    first |= _pictures(trace)
    signed = "built" if record.accepted is None else "accepted"
    last: dict[str, Value] = {
        "reused": dg.MetadataValue.bool(result.action != "built"),
        "seconds": dg.MetadataValue.float(round(result.seconds, 3)),
        "built_seconds": dg.MetadataValue.float(round(record.seconds, 3)),
        # A person who accepted a result under a new key has signed its record in place of who built it.
        f"{signed}_at": dg.MetadataValue.timestamp(record.time),
        f"{signed}_by": dg.MetadataValue.text(record.by),
        "key": dg.MetadataValue.text(record.key),
        "content": dg.MetadataValue.text(record.content),
        "trace": dg.MetadataValue.path(str(trace)),
    }
    count = next((name for name in ROW_COUNTS if isinstance(result.measurements.get(name), int)), None)
    if count is not None:
        last["dagster/row_count"] = dg.MetadataValue.int(result.measurements[count])
    # A step may measure something by a name that stands for the whole step here, such as its training's seconds.
    own = {name: value for name, value in result.measurements.items() if name not in first | last}
    # No row's text is in a database, but for so many as the YAML allows.
    own[SAMPLES] = own.get(SAMPLES, [])[: runner.config.evaluation.samples]
    leading = {name: own[name] for name in LEADING if name in own}
    return first | measured(leading | own) | last


def measured(measurements: Mapping[str, Any]) -> dict[str, Value]:
    """Metadata of measurements: numbers as numbers, everything else as Markdown."""
    shown = {name: _shown(name, value) for name, value in measurements.items()}
    return {name: value for name, value in shown.items() if value is not None}


def check_result(key: dg.AssetKey, check: Check, outcome: Outcome) -> dg.AssetCheckResult:
    """Dagster's result of a check."""
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=check.name,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity.ERROR if check.blocking and not outcome.warning else dg.AssetCheckSeverity.WARN,
        description=outcome.message,
        metadata=measured(outcome.values),
    )


def blocking_failure(step: Step, result: StepResult) -> str | None:
    """What stops the steps after this one, in words, or None."""
    for check in step.checks:
        outcome = result.outcomes[check.name]
        if check.stops(outcome):
            fix = "mend the data or the configuration that the check is about, then run again"
            return f"{step.name}: check {check.name} failed: {outcome.message}\n  fix: {fix}"
    return None


def plan_table(plan: Plan) -> str:
    """A plan as a Markdown table."""
    rows = [
        {
            "step": entry.step,
            "state": entry.state,
            "because": "; ".join(str(reason) for reason in entry.reasons),
            "about": "" if entry.estimated_seconds is None else f"{entry.estimated_seconds:.1f} s",
        }
        for entry in plan.steps
    ]
    return _table(rows)


def plan_tag(plan: Plan) -> dict[str, str]:
    """A plan as a run tag: the steps that are not fresh, and why."""
    said = [
        f"{entry.step} {entry.state}: {', '.join(map(str, entry.reasons))}" for entry in plan.steps if entry.reasons
    ]
    text = " · ".join(said) or "nothing to do: every step is fresh"
    return {f"freshtune.plan/{plan.pipeline}": text if len(text) <= LONGEST_TAG else f"{text[: LONGEST_TAG - 1]}…"}


def _shown(name: str, value: Any) -> Value | None:
    # The order matters: True is an int.
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float):
        return dg.MetadataValue.float(float(f"{value:.6g}"))
    if isinstance(value, str):
        # A step that has nothing to give a reason for has an empty one.
        return dg.MetadataValue.text(value) if value else None
    text = ""
    if isinstance(value, Mapping):
        text = _mapping(value, with_shares=name in PARTITIONS)
    elif isinstance(value, Sequence):
        text = _sequence(value, with_text=name == SAMPLES)
    return dg.MetadataValue.md(text) if text else None


def _mapping(value: Mapping[str, Any], *, with_shares: bool) -> str:
    if set(value) == {"labels", "matrix"}:
        labels = value["labels"]
        return _table(
            [
                {"true ↓ predicted →": label} | dict(zip(labels, row, strict=True))
                for label, row in zip(labels, value["matrix"], strict=True)
            ]
        )
    if value and all(isinstance(each, Mapping) for each in value.values()):
        return _table([{"": name} | dict(each) for name, each in value.items()])
    scalars: dict[str, Any] = {name: each for name, each in value.items() if isinstance(each, bool | int | float | str)}
    if with_shares and (whole := sum(scalars.values())):
        return _table([{"": name, "count": each, "share": f"{each / whole:.1%}"} for name, each in scalars.items()])
    return _table([{"": name, "value": each} for name, each in scalars.items()])


def _sequence(value: Sequence[Any], *, with_text: bool) -> str:
    if value and all(isinstance(each, Mapping) for each in value):
        hidden = frozenset() if with_text else TEXT_COLUMNS
        return _table(
            [
                {name: each for name, each in row.items() if name not in hidden or isinstance(each, int | float)}
                for row in value
            ]
        )
    return "\n".join(f"- {_cell(each)}" for each in value)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    # What no row has is no column; a table that is wider than the page is read only in part.
    columns = [name for name in columns if any(row.get(name) not in (None, "") for row in rows)]
    if not columns:
        return ""
    widths = {column: max(len(_cell(row.get(column, ""))) for row in rows) for column in columns}
    columns.sort(key=lambda column: (column not in LEADING_COLUMNS, widths[column] > LONG))
    lines = [
        [_cell(name) for name in columns],
        ["---"] * len(columns),
        *([_cell(row.get(name, "")) for name in columns] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        # Lengths and times want fewer digits than metrics and shares.
        text = f"{value:.4f}" if abs(value) < SMALL else f"{value:,.1f}"
        # A learning rate of 0.00002 is not nothing.
        text = f"{value:.3g}" if 0 < abs(value) < TINY else text
    elif isinstance(value, int):
        text = f"{value:,}"
    elif value is None:
        text = ""
    else:
        text = str(value)
    text = " ".join(text.split())
    if len(text) > LONGEST_CELL:
        text = f"{text[: LONGEST_CELL - 1]}…"
    for character in "\\`*|<>[]":
        text = text.replace(character, f"\\{character}")
    return text


def _pictures(trace: Path) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for path in sorted(trace.glob("*.png")):
        if path.stat().st_size > LARGEST_PICTURE:
            found[f"{path.stem}_plot"] = dg.MetadataValue.path(str(path))
        else:
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            found[f"{path.stem}_plot"] = dg.MetadataValue.md(f"![{path.stem}](data:image/png;base64,{data})")
    return found
