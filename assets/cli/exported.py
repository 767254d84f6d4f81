"""Rows to look at, written for spreadsheets, programs and Label Studio."""

from __future__ import annotations

import csv
import html
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.cli.doubtful import Doubtful
from assets.cli.written import written
from assets.errors import ConfigurationError

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula, or passes over before one."""
DROP = "drop"
"""The choice in Label Studio that drops a row."""
COLUMNS = tuple(field.name for field in fields(Doubtful))


def write_rows(path: Path, rows: Sequence[Doubtful], kind: str, labels: Sequence[str]) -> int:
    """Write rows; the file is there only when it is whole.

    Args:
        path: of the file.
        rows: to write.
        kind: `csv`, `jsonl`, `parquet`, or `label_studio`: JSON that Label Studio imports as tasks.
        labels: of the task.

    Returns:
        How many cells of a CSV file begin like a formula and got a `'` in front.

    Raises:
        ConfigurationError: the file cannot be written, or the task has a label that Label Studio's tasks use.
    """
    try:
        if kind == "parquet":
            _write_parquet(path, rows)
            return 0
        with written(path) as stream:
            if kind == "csv":
                table = csv.writer(stream, lineterminator="\n")
                table.writerow(COLUMNS)
                cells = [list(row.json().values()) for row in rows]
                table.writerows([neutral(cell) for cell in row] for row in cells)
                return sum(neutral(cell) != cell for row in cells for cell in row)
            if kind == "jsonl":
                stream.writelines(f"{json.dumps(row.json(), ensure_ascii=False)}\n" for row in rows)
            else:
                json.dump([task(row, labels) for row in rows], stream, ensure_ascii=False, indent=1)
    except OSError as error:
        raise ConfigurationError(
            f"{str(path)!r} cannot be written: {error.strerror}", where="--export", fix="name another file"
        ) from error
    return 0


def neutral(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def task(row: Doubtful, labels: Sequence[str]) -> dict[str, Any]:
    """A row as a task of Label Studio; only a label that is suggested is filled in.

    Raises:
        ConfigurationError: the task has a label that stands for dropping a row.
    """
    label_config(labels)
    result = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [row.suggested]}}
    predictions = [{"model_version": "freshtune", "result": [result]}] if row.suggested in labels else []
    return {"data": {**row.json(), "text": row.text or ""}, "predictions": predictions}


def label_config(labels: Sequence[str]) -> str:
    """The labelling interface that belongs to the tasks, in Label Studio's XML.

    Raises:
        ConfigurationError: the task has a label that stands for dropping a row.
    """
    if DROP in labels:
        raise ConfigurationError(
            f"the task has a label {DROP!r}, which is the choice that drops a row",
            where="task.labels",
            fix="rule on the rows by `freshtune rows NAME rule`",
        )
    choices = "".join(f'<Choice value="{html.escape(label)}"/>' for label in [*labels, DROP])
    return (
        '<View><Text name="text" value="$text"/><Header value="$expectation"/><Header value="$detail"/>'
        f'<Choices name="label" toName="text" choice="single">{choices}</Choices></View>'
    )


def _write_parquet(path: Path, rows: Sequence[Doubtful]) -> None:
    schema = pa.schema([(name, pa.int64() if name in {"line", "places"} else pa.string()) for name in COLUMNS])
    part = path.with_name(f"{path.name}.part")
    try:
        pq.write_table(pa.Table.from_pylist([row.json() for row in rows], schema), part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
