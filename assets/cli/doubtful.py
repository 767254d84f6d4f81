"""Rows that people should look at: those in quarantine, and those whose label is likely wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.cleaned.rows import read_quarantine
from assets.config.home import pipeline_folder
from assets.errors import ConfigurationError
from assets.review.rows import read_suspects
from assets.store.runner import Runner
from assets.validated import rows as validated_rows
from assets.validated.checks import DROPPED
from assets.validated.rulings import FILE, Row, Ruling, effective, parse

QUARANTINE = "quarantine.parquet"
"""In the content of every step that sets rows aside: row_id, label, expectation, detail; text, but for `cleaned`."""
REVIEW = "review"
LIKELY_ERROR = "likely_label_error"


@dataclass(frozen=True)
class Doubtful:
    """A row to look at.

    Attributes:
        row_id: 32 hexadecimal digits.
        step: the step that found it.
        file: name of the file that it came from, the first by name if there are several; None if it is not known.
        line: its line there.
        places: how many lines of all files it came from.
        label: its label; None where it has none.
        expectation: what it does not meet.
        detail: what was seen.
        suggested: the label that it may need, where there is a suggestion.
        text: its text; of a line that is no row the line.
    """

    row_id: str
    step: str
    file: str | None
    line: int | None
    places: int
    label: str | None
    expectation: str
    detail: str
    suggested: str | None
    text: str | None

    def json(self) -> dict[str, Any]:
        """As it is printed and exported."""
        return asdict(self)


def content_of(runner: Runner, step: str) -> Path:
    """Content of what a step stands for.

    Raises:
        ConfigurationError: it was never built.
    """
    record = runner.stands_for(runner.step(step))
    if record is None:
        raise ConfigurationError(
            f"step {step} was never built, so there are no rows to look at",
            where=runner.name,
            fix=f"freshtune run {runner.name} --to {step}",
        )
    return runner.store.open("objects", record.content)


def quarantined(runner: Runner) -> list[Doubtful]:
    """The rows that steps have set aside, step by step, in the order of row_id.

    Raises:
        ConfigurationError: no row was validated yet, or the rulings are wrong.
    """
    content_of(runner, "validated")
    found = [
        _row(step, **row)
        for step, path in set_aside(runner)
        # It does not copy texts.
        for row in (read_quarantine(path.parent) if step == "cleaned" else pq.read_table(path)).to_pylist()
    ]
    return _with_places(runner, _with_rulings(runner, found))


def set_aside(runner: Runner) -> Iterator[tuple[str, Path]]:
    """The steps that set rows aside, and the tables of these as the steps stand now."""
    for step in runner.chain:
        record = None if step.decides else runner.stands_for(step)
        # Looked for in the manifest: opening a model on object storage would fetch it.
        if record is not None and QUARANTINE in runner.store.manifest("objects", record.content)["files"]:
            yield step.name, runner.store.open("objects", record.content) / QUARANTINE


def suspects(runner: Runner) -> list[Doubtful]:
    """The rows whose label is likely wrong, most doubtful first.

    Raises:
        ConfigurationError: the pipeline has no step `review`, or it was never built.
    """
    if REVIEW not in {step.name for step in runner.chain}:
        raise ConfigurationError(
            "likely label errors are looked for only where it is asked for, and here it is not",
            where=runner.name,
            fix=f"add `review: {{}}` under `attributes:` of pipelines/{runner.name}/defs.yaml, then freshtune run "
            f"{runner.name} --to {REVIEW}",
        )
    content_of(runner, REVIEW)
    found = [
        _row(
            REVIEW,
            row_id=row["row_id"],
            text=row["text"],
            label=row["label"],
            expectation=LIKELY_ERROR,
            detail=f"{row['suggested']} is expected at {row['suggested_confidence']:.1%}, {row['label']} at "
            f"{row['confidence']:.1%}",
            suggested=row["suggested"],
        )
        for row in suspects_of(runner)
    ]
    return _with_places(runner, found)


def suspects_of(runner: Runner) -> list[dict[str, Any]]:
    """What the step `review` found, as `assets.review.rows` gives it; nothing where it does not stand."""
    record = next((runner.stands_for(step) for step in runner.chain if step.name == REVIEW), None)
    if record is None:
        return []
    content = runner.store.open("objects", record.content)
    found: list[dict[str, Any]] = read_suspects(content).to_pylist()
    return found


def chosen(rows: Iterable[Doubtful], expectation: str | None, label: str | None) -> list[Doubtful]:
    """Those of some rows with an expectation, whole or in part, and a label."""
    return [
        row
        for row in rows
        if (expectation is None or expectation in row.expectation) and (label is None or label == row.label)
    ]


def rulings_of(runner: Runner) -> dict[Row, Ruling]:
    """The rulings that count now.

    Raises:
        ConfigurationError: something in their file is wrong.
    """
    path = pipeline_folder(runner.name) / FILE
    data = path.read_bytes() if path.is_file() else b""
    return effective(parse(data, f"pipelines/{runner.name}/{FILE}", runner.config.task.labels))


def _row(step: str, *, suggested: str | None = None, **row: Any) -> Doubtful:
    return Doubtful(step=step, file=None, line=None, places=0, suggested=suggested, **row)


def _with_rulings(runner: Runner, rows: list[Doubtful]) -> list[Doubtful]:
    """Who dropped a row and why, as the file says now: that is no part of what the step made."""
    rulings = rulings_of(runner)

    def said(row: Doubtful) -> str:
        ruling = rulings.get((row.text or "", row.label))
        if row.expectation != DROPPED or ruling is None:
            return row.detail
        return f"{ruling.by}, {ruling.when}: {ruling.why}"

    return [replace(row, detail=said(row)) for row in rows]


def _with_places(runner: Runner, rows: list[Doubtful]) -> list[Doubtful]:
    places = _places(runner, {row.row_id for row in rows})
    return [
        replace(row, file=found[0], line=found[1], places=found[2]) if (found := places.get(row.row_id)) else row
        for row in rows
    ]


def _places(runner: Runner, row_ids: set[str]) -> Mapping[str, tuple[str, int, int]]:
    """First file and line of rows, and how many lines there are."""
    raw = runner.stands_for(runner.step("raw"))
    if raw is None or not row_ids:
        return {}
    content, trace = runner.store.open("objects", raw.content), runner.store.open("traces", raw.trace)
    # The trace may be about other shards than the content, which was published before with its rows in these.
    for shard in raw.links:
        runner.store.open("objects", shard, reading=False)
    came = validated_rows.origins(content_of(runner, "validated"), content, trace)
    came = came.filter(pc.is_in(came["row_id"], value_set=pa.array(sorted(row_ids), pa.string())))
    found: dict[str, tuple[str, int, int]] = {}
    for row_id, file, line in zip(*(column.to_pylist() for column in came.columns), strict=True):
        first = found.get(row_id, (file, line, 0))
        found[row_id] = (first[0], first[1], first[2] + 1)
    return found
