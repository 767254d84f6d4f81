"""Judgements about the sides, made again in every run from what the step measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from assets.splits.sides import SIDES
from assets.store.step import Check, Outcome

if TYPE_CHECKING:
    from assets.config.sides import Splits
    from assets.store.step import Measurements

LEAST_DEVIATION = 0.02
"""Deviation of a side's share that is never worth a word."""
DEVIATIONS = 3.3
"""Standard deviations of a share that chance may account for: beyond them on one of three sides in 1 of 300 splits."""
CHANCE = 0.001
"""Probability below which unlike labels are not put down to chance."""
WEAK = 0.05
"""Cramér's V below which labels are alike enough, however sure it is that they differ: among a million rows anything
is sure."""


def no_leak(measurements: Measurements, config: Any) -> Outcome:
    """Whether no group, text or value is on more than one side."""
    found = {name: measurements[f"{name}_across_sides"] for name in ("groups", "texts")}
    # Measured only where rows are grouped by a column.
    if "values_across_sides" in measurements:
        found[f"values of {config.splits.group_by}"] = measurements["values_across_sides"]
    *others, last = (f"{count} {name}" for name, count in found.items())
    message = f"{', '.join(others)} and {last} are on more than one side"
    values = {name: count for name, count in measurements.items() if name.endswith("_across_sides")}
    # Measured only where the test set came with the data.
    if "left_out" in measurements:
        left_out = values["left_out"] = measurements["left_out"]
        message += f"; {left_out:,} rows are on none, as they are in one group with a row of the frozen test set"
    return Outcome(passed=not any(found.values()), message=message, values=values)


def shares_as_declared(measurements: Measurements, config: Any) -> Outcome:
    """Whether the sides have the shares that are declared, as nearly as chance and groups let them."""
    rows: Mapping[str, int] = measurements["rows"]
    declared = declared_shares(config.splits)
    whole = sum(rows[side] for side in declared)
    # Rows of one group are on one side together: they say as little as fewer rows would.
    independent = measurements["effective_rows"] * whole / sum(rows.values()) if declared else 0.0
    table, missed = {}, []
    for side in SIDES:
        table[side] = {"rows": rows[side], "share": rows[side] / sum(rows.values())}
        if side not in declared:
            continue
        share = declared[side]
        achieved = rows[side] / whole
        allowed = max(LEAST_DEVIATION, DEVIATIONS * math.sqrt(share * (1 - share) / independent))
        table[side] = {"rows": rows[side], "share": achieved, "declared": share, "may deviate by": allowed}
        if abs(achieved - share) > allowed:
            missed.append(f"{side} by {100 * (achieved - share):+.1f} points where {100 * allowed:.1f} may be")
    told = ", ".join(
        f"{side} {found['share']:.1%}" + (f" ({found['declared']:.1%} declared)" if "declared" in found else "")
        for side, found in table.items()
    )
    message = f"{told} of {sum(rows.values()):,} rows"
    if not declared:
        message += "; sides are by time, so no share is declared"
    elif "test" not in declared:
        message = f"{told}; the test set came with the data, and the shares of the others are among themselves"
    if missed:
        message += f": it misses {'; '.join(missed)}; a group goes where its lowest member goes, towards train"
    return Outcome(passed=not missed, message=message, values={"sides": table}, warning=bool(missed))


def declared_shares(splits: Splits) -> dict[str, float]:
    """Shares that the configuration declares for sides, of the rows on these; nothing for sides by time."""
    if splits.by_time is not None:
        return {}
    if splits.frozen is not None:
        return {"train": 1.0 - splits.validation, "validation": splits.validation}
    return {
        "train": 1.0 - splits.validation - splits.test,
        "validation": splits.validation,
        "test": splits.test,
    }


def classes_balanced_across_sides(measurements: Measurements, _config: Any) -> Outcome:
    """Whether labels have like shares on all sides: by Pearson's chi-square test and by how much they differ.

    The statistic is divided by the mean size of a row's group, as Rao and Scott do for samples in clusters ("The
    analysis of categorical data from complex sample surveys", 1981).
    """
    labels: Mapping[str, Mapping[str, int]] = measurements["labels"]
    rows: Mapping[str, int] = measurements["rows"]
    whole = sum(rows.values())
    of_label = {label: sum(labels[side][label] for side in SIDES) for label in labels["train"]}
    statistic, furthest = 0.0, (-1.0, "")
    for label, count in of_label.items():
        for side in SIDES:
            expected = count * rows[side] / whole
            if not expected:
                continue
            part = (labels[side][label] - expected) ** 2 / expected
            statistic += part
            share = labels[side][label] / rows[side]
            furthest = max(furthest, (part, f"{label} is {share:.1%} of {side} and {count / whole:.1%} of all rows"))
    present = sum(count > 0 for count in of_label.values())
    sides = sum(count > 0 for count in rows.values())
    strength = math.sqrt(statistic / whole / max(1, min(present, sides) - 1))
    chance = chi_square_tail(statistic * measurements["effective_rows"] / whole, (present - 1) * (len(SIDES) - 1))
    unlike = chance < CHANCE and strength >= WEAK
    table = {
        label: {side: f"{labels[side][label]:,} ({labels[side][label] / max(1, rows[side]):.1%})" for side in SIDES}
        | {"all": f"{count:,} ({count / whole:.1%})"}
        for label, count in of_label.items()
    }
    return Outcome(
        passed=not unlike,
        message=f"{furthest[1]}, where the sides differ most; Cramér's V is {strength:.3f}, and chance gives as much "
        f"with probability {chance:.2g}"
        + (f": less than {CHANCE:g} with a V of {WEAK:g} or more says that the sides are unlike" if unlike else ""),
        values={"by_label": table, "cramers_v": strength, "probability": chance},
        warning=unlike,
    )


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Probability that a chi-square variable is larger; in closed form for even degrees of freedom.

    The library that has it takes a second to import, and this is asked in every run with nothing to do.
    """
    assert degrees % 2 == 0, "three sides give an even number"
    half = statistic / 2
    if half == 0.0:
        return 1.0
    terms = (math.exp(k * math.log(half) - half - math.lgamma(k + 1)) for k in range(degrees // 2))
    return min(1.0, math.fsum(terms))


CHECKS = (
    Check(
        name="no_leak_between_sides",
        description="No text, no near-duplicates and no value of `splits.group_by` are on more than one side.",
        judge=no_leak,
        blocking=True,
    ),
    Check(
        name="shares_as_declared",
        description="Each side has the share of the rows that is declared, as nearly as chance and groups let it.",
        judge=shares_as_declared,
    ),
    Check(
        name="classes_balanced_across_sides",
        description="Every label has about the same share on all sides.",
        judge=classes_balanced_across_sides,
    ),
)
