"""The step `validated`: holds the expectations against every row and sets aside those that fail."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.errors import ConfigurationError
from assets.validated.engine import evaluate, in_samples, observed, render_data_docs
from assets.validated.suite import STRIPPED, build_suites

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd

    from assets.store.step import Build, Measurements

QUARANTINE = pa.schema([(name, pa.string()) for name in ("row_id", "text", "label", "expectation", "detail")])
UNREADABLE = "readable"
"""Stands for an expectation in the quarantine: the line can be read as a row."""


def validate(
    build: Build,
    *,
    labels: list[str],
    text_length: dict[str, int],
    expectations: list[dict[str, Any]],
    columns: dict[str, Any],
) -> Measurements:
    """Hold the built-in and the configured expectations against the rows.

    Args:
        build: input `raw`; content `rows.parquet` (the accepted rows, columns as in raw) and `quarantine.parquet`
            (row_id, text, label, expectation, detail), which has raw's rejected lines too; trace
            `data_docs/index.html`, `suite.json`, `result.json`.
        labels: labels of the task.
        text_length: `min` and `max` characters of a text without white space at both ends.
        expectations: beside the built-in ones: `type`, `kwargs`, `severity`.
        columns: of the source; its `keep` are the further columns.

    Returns:
        rows_in (with rejected lines), accepted, quarantined, quarantined_by_expectation, table_expectations,
        warning_expectations (how many there are), warnings (those that fail), labels (of accepted rows).

    Raises:
        ConfigurationError: an expectation does not exist, or cannot be held against these columns.
    """
    names = ["row_id", "text", STRIPPED, "label", *columns["keep"]]
    if STRIPPED in columns["keep"]:
        raise ConfigurationError(
            f"{STRIPPED!r} is a column that validation makes itself",
            where="source.columns.keep",
            fix="rename the column",
        )
    suites = build_suites(labels=labels, text_length=text_length, expectations=expectations)
    raw = build.inputs["raw"]
    rows, rejected = pq.read_table(raw / "rows.parquet"), pq.read_table(raw / "rejected.parquet")
    with build.progress.bar("expectations held", total=len(suites.rows) + len(suites.table)) as advance:
        frame = _frame(rows)
        by_row = evaluate(frame, suites.rows)
        _refuse_failed_runs(by_row, names)
        advance(len(suites.rows))
        failures = _failures(by_row)
        accepted = frame["row_id"].map(lambda row_id: row_id not in failures).astype(bool)
        about_table = evaluate(frame[accepted].reset_index(drop=True), suites.table) if suites.table else []
        _refuse_failed_runs(about_table, names)
        advance(len(suites.table))
    kept = rows.filter(pa.array(accepted.to_list(), type=pa.bool_()))
    quarantine = _quarantine(rows, failures, rejected)
    pq.write_table(kept, build.content / "rows.parquet", compression="zstd")
    pq.write_table(quarantine, build.content / "quarantine.parquet", compression="zstd")
    by_row, about_table = in_samples(by_row), in_samples(about_table)
    measured = _measure(rows.num_rows + rejected.num_rows, kept, quarantine, [*by_row, *about_table])
    measured["table_expectations"] = [_told(result) for result in about_table]
    _write_trace(build.trace, [*suites.rows, *suites.table], [*by_row, *about_table])
    build.progress.message(f"{measured['accepted']:,} rows accepted, {measured['quarantined']:,} in quarantine")
    return measured


def _frame(rows: pa.Table) -> pd.DataFrame:
    """Rows for Great Expectations: null stays None, and the text without white space at both ends beside the text."""
    import pandas as pd

    values = {name: rows.column(name).to_pylist() for name in rows.column_names}
    values[STRIPPED] = [None if text is None else text.strip() for text in values["text"]]
    return pd.DataFrame(values, dtype=object)


def _refuse_failed_runs(results: Iterable[Any], names: list[str]) -> None:
    """An expectation that raised says nothing about the data: its arguments do not fit them."""
    faults = []
    for result in results:
        info = result.exception_info or {}
        raised = [info] if "raised_exception" in info else list(info.values())
        messages = sorted({str(entry["exception_message"]) for entry in raised if entry["raised_exception"]})
        if messages:
            config = result.expectation_config
            faults.append(f"{config.type} {_arguments(config)}: {messages[0].strip().splitlines()[-1]}")
    if faults:
        raise ConfigurationError(
            "\n  ".join(["expectations that cannot be held against the rows", *faults]),
            where="validation.expectations",
            fix=f"the columns are {', '.join(names)}, all of them text; choose expectations and arguments that fit",
        )


def _failures(results: Iterable[Any]) -> dict[str, list[tuple[str, str]]]:
    """Critical failures: row_id → (expectation, what was seen) of each."""
    failures: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for result in results:
        if result.expectation_config.severity != "critical":
            continue
        kind = result.expectation_config.type
        for entry in result.result["unexpected_index_list"]:
            seen = [f"{column} is {_shown(value)}" for column, value in entry.items() if column != "row_id"]
            failures[entry["row_id"]].append((kind, " and ".join(seen)))
    return dict(failures)


def _shown(value: Any) -> str:
    if not isinstance(value, str):
        return "null"
    length = f" ({len(value):,} characters)" if len(value) > 80 or not value else ""
    return json.dumps(value[:80], ensure_ascii=False) + ("…" if len(value) > 80 else "") + length


def _quarantine(rows: pa.Table, failures: dict[str, list[tuple[str, str]]], rejected: pa.Table) -> pa.Table:
    bad = rows.select(["row_id", "text", "label"]).filter(
        pa.array([row_id in failures for row_id in rows.column("row_id").to_pylist()], type=pa.bool_())
    )
    records = [
        {
            **row,
            "expectation": ", ".join(sorted({kind for kind, _ in failures[row["row_id"]]})),
            "detail": "; ".join(dict.fromkeys(seen for _, seen in failures[row["row_id"]])),
        }
        for row in bad.to_pylist()
    ]
    records += [
        {
            "row_id": row["row_id"],
            "text": row["line_text"],
            "label": None,
            "expectation": UNREADABLE,
            "detail": f"{row['reason']}: {row['detail']}",
        }
        for row in rejected.to_pylist()
    ]
    return pa.Table.from_pylist(sorted(records, key=lambda record: str(record["row_id"])), schema=QUARANTINE)


def _measure(rows_in: int, kept: pa.Table, quarantine: pa.Table, results: list[Any]) -> Measurements:
    warned = [result for result in results if result.expectation_config.severity == "warning"]
    names = (name for joined in quarantine.column("expectation").to_pylist() for name in joined.split(", "))
    return {
        "rows_in": rows_in,
        "accepted": kept.num_rows,
        "quarantined": quarantine.num_rows,
        "quarantined_by_expectation": dict(sorted(Counter(names).items())),
        "warning_expectations": len(warned),
        "warnings": [_told(result) for result in warned if not result.success],
        "labels": dict(sorted(Counter(kept.column("label").to_pylist()).items())),
    }


def _told(result: Any) -> dict[str, Any]:
    config = result.expectation_config
    kwargs = config.kwargs
    named = [kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs]
    return {
        "type": config.type,
        "column": ", ".join([*named, *(kwargs.get("column_list") or [])]) or None,
        "severity": str(getattr(config.severity, "value", config.severity)),
        "success": bool(result.success),
        "observed": observed(result.to_json_dict()["result"]),
    }


def _arguments(config: Any) -> str:
    return json.dumps({name: value for name, value in config.kwargs.items() if name != "batch_id"}, default=str)


def _write_trace(trace: Path, expectations: list[Any], results: list[Any]) -> None:
    (trace / "data_docs").mkdir()
    page = render_data_docs(results)
    (trace / "data_docs" / "index.html").write_text(page, encoding="utf-8")
    suite = [expectation.configuration.to_json_dict() for expectation in expectations]
    for name, value in (("suite", suite), ("result", [result.to_json_dict() for result in results])):
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1)
        (trace / f"{name}.json").write_text(text, encoding="utf-8")
