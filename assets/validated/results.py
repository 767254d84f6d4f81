"""Great Expectations' results as they are told: samples of failing rows, counts, words."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

WHOLE_LISTS = {"unexpected_list", "unexpected_index_list"}
"""What a complete result has beside samples: as long as the table, and kept in the quarantine already."""


def columns_of(config: Any) -> list[str]:
    """The columns that an expectation is about; none if it is about a table as a whole."""
    kwargs = config.kwargs
    named = [kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs]
    return [*named, *(kwargs.get("column_list") or [])]


def failing_places(result: Any) -> list[int]:
    """Places of the rows that fail, of a result of `evaluate`; none if it has no verdict for each row."""
    places: list[int] = result.result.get("unexpected_index_list", [])
    return places


def observed(found: dict[str, Any]) -> Any:
    """What an expectation saw: a number, or words where GX has only counts or lists."""
    if found.get("observed_value") is not None:
        return found["observed_value"]
    if found.get("element_count") is not None:
        return f"{found['unexpected_count']:,} of {found['element_count']:,} rows fail"
    lists = {which: found.get(f"partial_{which}_list") for which in ("unexpected", "missing")}
    return "; ".join(f"{which}: {', '.join(map(repr, values))}" for which, values in lists.items() if values) or None


def in_samples(result: Any, frame: pd.DataFrame) -> Any:
    """A copy of a result with GX's samples of failing rows, by their row_id, instead of all of them.

    Args:
        result: of `evaluate`.
        frame: the table that it is about, with a column `row_id`.
    """
    found = {name: value for name, value in result.result.items() if name not in WHOLE_LISTS}
    if "partial_unexpected_index_list" in found:
        columns = [*columns_of(result.expectation_config), "row_id"]
        found["unexpected_index_column_names"] = ["row_id"]
        found["partial_unexpected_index_list"] = [
            {column: frame.loc[place, column] for column in columns} for place in found["partial_unexpected_index_list"]
        ]
    return with_found(result, found)


def counted(result: Any, *, rows: int, passed_over: int, failed: int) -> Any:
    """A copy of a result about some rows with the counts of all.

    Args:
        result: of `evaluate`, over a table with failing rows if there are any.
        rows: how many there are.
        passed_over: how many have no value to judge.
        failed: how many fail.
    """
    assert bool(result.success) == (failed == 0), result.expectation_config.type
    judged = rows - passed_over
    counts = {
        "element_count": rows,
        "unexpected_count": failed,
        "unexpected_percent": _percent(failed, judged),
        "missing_count": passed_over,
        "missing_percent": _percent(passed_over, rows),
        "unexpected_percent_total": _percent(failed, rows),
        "unexpected_percent_nonmissing": _percent(failed, judged),
    }
    return with_found(result, {name: counts.get(name, value) for name, value in result.result.items()})


def with_found(result: Any, found: dict[str, Any]) -> Any:
    """A copy of a result with other findings."""
    changed = copy.copy(result)
    changed.result = found
    return changed


def _percent(part: int, whole: int) -> float | None:
    return part / whole * 100 if whole else None
