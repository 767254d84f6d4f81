"""Judgements about validation, from what the step measured and the limits that are configured now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assets.store.step import Outcome

if TYPE_CHECKING:
    from assets.config.pipeline import Pipeline
    from assets.store.step import Measurements


DROPPED = "dropped_by_ruling"
"""Stands for an expectation in the quarantine: no ruling drops the row."""


def judge_account(measurements: Measurements, config: Pipeline) -> Outcome:
    """Whether no row is lost."""
    rows_in, accepted, quarantined = (measurements[name] for name in ("rows_in", "accepted", "quarantined"))
    # A result that was accepted after an upgrade may be older than what is measured.
    merged = measurements.get("merged", 0)
    return Outcome(
        passed=rows_in == accepted + quarantined + merged,
        message=f"{rows_in:,} rows came in; {accepted:,} accepted + {quarantined:,} in quarantine + {merged:,} merged",
        values={"rows_in": rows_in, "accepted": accepted, "quarantined": quarantined, "merged": merged},
    )


def judge_quarantine(measurements: Measurements, config: Pipeline) -> Outcome:
    """Whether the share of rows in quarantine, but for those that rulings drop, is within `max_quarantined`."""
    reasons = dict(measurements["quarantined_by_expectation"])
    dropped = reasons.pop(DROPPED, 0)
    quarantined, rows = measurements["quarantined"] - dropped, measurements["rows_in"]
    share, limit = quarantined / max(rows, 1), config.validation.max_quarantined
    why = ", ".join(
        f"{name} {count:,}" for name, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    )
    return Outcome(
        passed=share <= limit,
        message=f"{quarantined:,} of {rows:,} rows ({share:.2%}) are in quarantine, at most {limit:.2%} may be"
        + (f" – {why}" if why else "")
        + (f"; {dropped:,} more were dropped by a ruling" if dropped else ""),
        values={"share": share, "limit": limit, "quarantined": quarantined, "by_expectation": reasons},
    )


def judge_table_expectations(measurements: Measurements, config: Pipeline) -> Outcome:
    """Whether every critical expectation about the table as a whole holds."""
    results = [result for result in measurements["table_expectations"] if result["severity"] == "critical"]
    return _outcome(len(results), [result for result in results if not result["success"]], "about the whole table")


def judge_warnings(measurements: Measurements, config: Pipeline) -> Outcome:
    """Whether every expectation of severity `warning` holds; one that does not is only a warning."""
    failed = measurements["warnings"]
    return _outcome(measurements["warning_expectations"], failed, "of severity warning", warning=bool(failed))


def _outcome(count: int, failed: list[dict[str, Any]], which: str, *, warning: bool = False) -> Outcome:
    told = "; ".join(
        f"{result['type']}{'(' + result['column'] + ')' if result['column'] else ''} saw {result['observed']}"
        for result in failed
    )
    if failed:
        message = f"{len(failed)} of {count} expectations {which} do not hold: {told}"
    else:
        message = f"all {count} expectations {which} hold" if count else f"there is no expectation {which}"
    return Outcome(
        passed=not failed,
        message=message,
        values={"failed": failed},
        warning=warning,
    )
