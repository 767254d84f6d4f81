"""Train, validation and test sides: stable when rows come in, and without near-duplicates across them."""

from __future__ import annotations

from typing import Any

from assets.store.step import Check, Measurements, Outcome, Step


def _no_leakage(measurements: Measurements, pipeline: Any) -> Outcome:
    groups, texts = measurements["groups_across_sides"], measurements["texts_across_sides"]
    return Outcome(
        passed=groups == 0 and texts == 0,
        message=f"{groups} groups and {texts} texts are on more than one side",
        values={"groups_across_sides": groups, "texts_across_sides": texts},
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
    # The content is a folder that these two write.
    environment=("datasets", "pyarrow"),
    checks=(
        Check(
            name="no_leakage",
            description="No text and no group of near-duplicates is on more than one side.",
            judge=_no_leakage,
            blocking=True,
        ),
    ),
    kinds=("huggingface", "arrow"),
)
