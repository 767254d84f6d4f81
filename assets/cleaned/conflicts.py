"""What becomes of rows with equal texts and different labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from assets.errors import DataError
from assets.times import parse_time

Rule = Literal["quarantine", "majority", "newest"]


def choose(
    rule: Rule, labels: Sequence[str], times: Sequence[datetime | None], frozen: Sequence[bool] = ()
) -> tuple[str | None, str]:
    """Choose between the labels of one text. Where rows of the frozen test set have it, those alone decide.

    Args:
        rule: `quarantine`: none of them; `majority`: the label of most rows; `newest`: the label of the newest rows.
        labels: label of each row.
        times: time of each row, or None where it is not known.
        frozen: whether each row is of the frozen test set; nothing where there is none.

    Returns:
        The label that stays, or None; and why the rows with others do not, in words.
    """
    counts = Counter(labels)
    told = ", ".join(f"{label}: {count} row{'s' * (count > 1)}" for label, count in sorted(counts.items()))
    told = f"the same text has the labels {told}"
    if any(frozen):
        # What else comes in must not take a row out of the test set.
        chosen = [at for at, of_test in enumerate(frozen) if of_test]
        labels, times = [labels[at] for at in chosen], [times[at] for at in chosen]
        counts = Counter(labels)
        if len(counts) == 1:
            return labels[0], f"{told}; {labels[0]} stays, as in the frozen test set"
    if rule == "quarantine":
        return None, told
    if rule == "majority":
        best, why = [label for label in counts if counts[label] == max(counts.values())], "as in most rows"
    else:
        newest = max((time for time in times if time is not None), default=None)
        known = zip(labels, times, strict=True)
        best, why = sorted({label for label, time in known if time is not None and time == newest}), "as in the newest"
    if len(best) != 1:
        return None, f"{told}; none stays {why}"
    return best[0], f"{told}; {best[0]} stays, {why}"


def read_time(value: str | None, *, column: str, row_id: str) -> datetime | None:
    """Read a time in ISO 8601, in UTC where it names no time zone; None where there is nothing to read.

    Raises:
        DataError: it is no such time.
    """
    if value is None or not value.strip():
        return None
    try:
        return parse_time(value)
    except ValueError as error:
        raise DataError(
            f"{column} of row {row_id} is no time: {value[:80]!r}",
            where="cleaning.newest_by",
            fix="write times as 2026-03-01 or 2026-03-01T12:00:00+01:00, or name another column or rule",
        ) from error
