"""Train, validation and test sides: stable when rows come in, and without near-duplicates across them."""

from __future__ import annotations

from typing import Any

from assets.store.step import Check, Measurements, Outcome, Step


def _no_leak(measurements: Measurements, pipeline: Any) -> Outcome:
    found = {name: measurements[f"{name}_across_sides"] for name in ("groups", "texts")}
    # Measured only where rows are grouped by a column.
    if "values_across_sides" in measurements:
        found[f"values of {pipeline.splits.group_by}"] = measurements["values_across_sides"]
    *others, last = (f"{count} {name}" for name, count in found.items())
    return Outcome(
        passed=not any(found.values()),
        message=f"{', '.join(others)} and {last} are on more than one side",
        values={name: count for name, count in measurements.items() if name.endswith("_across_sides")},
    )


STEP = Step(
    name="splits",
    description=(
        "Shares rows out to train, validation and test by a hash of each text. A group of near-duplicates stays on one "
        "side, and new rows move old ones only towards train."
    ),
    function="assets.splits.split:split",
    inputs=("cleaned",),
    configuration=("task.labels", "splits"),
    environment=("pyarrow:major",),
    checks=(
        Check(
            name="no_leak_between_sides",
            description="No text, no near-duplicates and no value of `splits.group_by` are on more than one side.",
            judge=_no_leak,
            blocking=True,
        ),
    ),
    kinds=("arrow",),
    new_rows="assets.splits.rows:count_new",
)
