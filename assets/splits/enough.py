"""Whether each side has enough rows of each label, and what to do if not.

Nothing is moved from one side to another to make up for it. Whatever guarantees a rare label its place on every side
has to look at labels, and then a corrected label, or rows that are taken out, would move a text that a model was
trained on into the test set.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from assets.errors import DataError
from assets.splits.sides import SIDES

Counts = Mapping[str, Mapping[str, int]]
"""label → side → rows."""
RISK = 0.05
"""Accepted probability that a side has too few of the texts that are asked for."""


class Settings(NamedTuple):
    """How the sides came about; see `assets.splits.split`."""

    validation: float
    test: float
    min_rows_per_label: int
    group_by: str | None
    by_time: Mapping[str, Any] | None
    frozen: Mapping[str, Any] | None


def require_enough(counts: Counts, settings: Settings) -> None:
    """See that at least two labels occur, and that each is on each side often enough.

    Raises:
        DataError: if not; names the labels, what they have where, and how much they need.
    """
    least = settings.min_rows_per_label
    present = [label for label, by_side in counts.items() if any(by_side.values())]
    if len(present) < 2:
        raise DataError(
            f"only one label occurs, {', '.join(present)}; a classifier needs two\n{_table(counts)}",
            where="splits",
            fix="add rows of the other labels, and check that `source.columns.label` names the column of labels",
        )
    short = {label: [side for side in SIDES if by_side[side] < least] for label, by_side in counts.items()}
    short = {label: sides for label, sides in short.items() if sides}
    if not short:
        return
    lacking = "; ".join(
        f"{label} has {', '.join(f'{counts[label][side]} in {side}' for side in sides)}"
        for label, sides in short.items()
    )
    raise DataError(
        f"too few rows to split: each side must have at least {least} of each label, but {lacking}\n{_table(counts)}",
        where="splits",
        fix=", or ".join(_fixes(counts, short, settings)),
    )


def texts_needed(shares: Sequence[float], least: int) -> int:
    """Fewest texts, none a near-duplicate of another, of which each side has enough with 95 % certainty.

    Args:
        shares: of the sides.
        least: how many texts each side is to have.
    """
    from scipy.stats import binom

    def too_few_somewhere(texts: int) -> float:
        return float(sum(binom.cdf(least - 1, texts, share) for share in shares))

    enough = least * len(shares)
    while too_few_somewhere(enough) > RISK:
        enough *= 2
    return bisect_left(range(enough), True, key=lambda texts: too_few_somewhere(texts) <= RISK)


def _fixes(counts: Counts, short: Mapping[str, Sequence[str]], settings: Settings) -> list[str]:
    least, names = settings.min_rows_per_label, ", ".join(short)
    fixes = [_more_rows(counts, short, settings)]
    fewest = min(min(by_side.values()) for by_side in counts.values())
    if fewest > 0:
        fixes.append(f"lower `splits.min_rows_per_label` (now {least}) to {fewest}")
    if all(sum(counts[label].values()) >= len(SIDES) * least for label in short):
        fixes += _other_sides(settings)
    if settings.group_by is not None:
        fixes.append(f"leave out `splits.group_by` (now {settings.group_by}), whose values may hold most rows together")
    if len(counts) - len(short) >= 2:
        fixes.append(f"take {names} out of `task.labels`")
    return fixes


def _more_rows(counts: Counts, short: Mapping[str, Sequence[str]], settings: Settings) -> str:
    names, least = ", ".join(short), settings.min_rows_per_label
    if settings.by_time is not None:
        return f"add rows of {names} of the times that lack them"
    if settings.frozen is not None and any("test" in sides for sides in short.values()):
        return f"add rows of {names} to the frozen test set, which alone is the test side"
    test = 0.0 if settings.frozen is not None else settings.test
    shares = [share for share in (1.0 - settings.validation - test, settings.validation, test) if share]
    needed = texts_needed(shares, least)
    if all(sum(counts[label].values()) >= needed for label in short):
        return f"add rows of {names}"
    return (
        f"add rows of {names} until each has about {needed:,} texts that are no near-duplicates (by the shares, so "
        f"many have {least} on each side with {1 - RISK:.0%} certainty)"
    )


def _other_sides(settings: Settings) -> list[str]:
    if settings.by_time is not None:
        validation_from, test_from = settings.by_time["validation_from"], settings.by_time["test_from"]
        return [f"move `splits.by_time.validation_from` (now {validation_from}) or `test_from` (now {test_from})"]
    if settings.frozen is not None:
        return [f"change the share `splits.validation` (now {settings.validation})"]
    return [
        f"change the shares `splits.validation` (now {settings.validation}) and `splits.test` (now {settings.test})"
    ]


def _table(counts: Counts) -> str:
    """Rows by label and side, in columns."""
    total = {side: sum(by_side[side] for by_side in counts.values()) for side in SIDES}
    lines: list[tuple[str, ...]] = [("label", *SIDES)]
    lines += [(label, *(str(by_side[side]) for side in SIDES)) for label, by_side in {**counts, "all": total}.items()]
    width = max(len(line[0]) for line in lines)
    return "\n".join(f"    {line[0]:<{width}}" + "".join(f"  {cell:>10}" for cell in line[1:]) for line in lines)
