"""Cleaned rows: texts in one normal form, equal texts merged, near-duplicates grouped, conflicting labels set apart."""

from __future__ import annotations

from typing import Any

from assets.store.step import Check, Measurements, Outcome, Step


def _every_row_is_accounted_for(measurements: Measurements, pipeline: Any) -> Outcome:
    rows_in, kept, merged, quarantined = (measurements[name] for name in ("rows_in", "kept", "merged", "quarantined"))
    return Outcome(
        passed=rows_in == kept + merged + quarantined,
        message=f"{rows_in} rows came in; {kept} kept + {merged} merged + {quarantined} quarantined",
        values={"rows_in": rows_in, "kept": kept, "merged": merged, "quarantined": quarantined},
    )


STEP = Step(
    name="cleaned",
    description=(
        "Brings texts into one normal form, merges rows whose texts are then equal, sends equal texts with different "
        "labels to quarantine, and groups near-duplicates so that they stay on one side of the split."
    ),
    function="assets.cleaned.clean:clean",
    inputs=("validated",),
    configuration=("cleaning",),
    checks=(
        Check(
            name="every_row_is_accounted_for",
            description="Every row that came in was kept, merged into an equal one, or quarantined.",
            judge=_every_row_is_accounted_for,
            blocking=True,
        ),
    ),
    kinds=("python", "parquet"),
)
