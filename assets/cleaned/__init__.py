"""Cleaned rows: texts in one normal form, equal texts merged, near-duplicates grouped, conflicting labels set apart."""

from __future__ import annotations

from typing import Any

from assets.store.step import Check, Measurements, Outcome, Step

MASKING = ("presidio-analyzer", "phonenumbers")
"""Libraries whose versions say which personal data is found."""
SMALL_GROUP = 100
"""Texts that one group may always have: a share of a few rows says nothing."""


def _every_row_is_accounted_for(measurements: Measurements, pipeline: Any) -> Outcome:
    rows_in, kept, merged, quarantined = (measurements[name] for name in ("rows_in", "kept", "merged", "quarantined"))
    return Outcome(
        passed=rows_in == kept + merged + quarantined,
        message=f"{rows_in} rows came in; {kept} kept + {merged} merged + {quarantined} quarantined",
        values={"rows_in": rows_in, "kept": kept, "merged": merged, "quarantined": quarantined},
    )


def _largest_group_within_limit(measurements: Measurements, pipeline: Any) -> Outcome:
    largest, kept, limit = measurements["largest_group"], measurements["kept"], pipeline.cleaning.max_group
    return Outcome(
        passed=largest <= max(SMALL_GROUP, limit * kept),
        message=f"the largest group has {largest:,} of {kept:,} texts ({largest / kept:.1%}); {limit:.0%} or "
        f"{SMALL_GROUP} may be",
        values={"largest_group": largest, "kept": kept, "max_group": limit},
    )


STEP = Step(
    name="cleaned",
    description=(
        "Brings texts into one normal form, merges rows whose texts are then equal, sends equal texts with different "
        "labels to quarantine, and groups near-duplicates so that they stay on one side of the split."
    ),
    function="assets.cleaned.clean:clean",
    preflight="assets.cleaned.preflight:check",
    inputs=("validated", "raw"),
    optional={"raw": lambda config: config.splits.frozen is not None},
    configuration=(
        "cleaning.unicode",
        "cleaning.whitespace",
        "cleaning.mask_pii",
        "cleaning.near_duplicates",
        "cleaning.conflicts",
        "cleaning.id",
        "cleaning.newest_by",
    ),
    environment=("pyarrow:major",),
    libraries=lambda config: () if config.cleaning.mask_pii is None else MASKING,
    checks=(
        Check(
            name="every_row_is_accounted_for",
            description="Every row that came in was kept, merged into an equal one, or quarantined.",
            judge=_every_row_is_accounted_for,
            blocking=True,
        ),
        Check(
            name="largest_group_within_limit",
            description="No group of near-duplicates has more than `cleaning.max_group` of the texts: one side would "
            "get them all.",
            judge=_largest_group_within_limit,
            blocking=True,
        ),
    ),
    kinds=("python", "arrow"),
)
