"""Train, validation and test sides: stable when rows come in, and without near-duplicates across them."""

from __future__ import annotations

from assets.splits.checks import CHECKS
from assets.store.step import Step

STEP = Step(
    name="splits",
    description=(
        "Shares rows out to train, validation and test: by a hash of each text, by time, or around a test set that "
        "came with the data. A group of near-duplicates stays on one side, and new rows move old ones only towards "
        "train."
    ),
    function="assets.splits.split:split",
    inputs=("cleaned", "review"),
    # Without a quarantine for doubtful labels the list is for people alone.
    optional={"review": lambda config: config.review is not None and config.review.quarantine},
    configuration=("task.labels", "splits"),
    environment=("pyarrow:major",),
    checks=CHECKS,
    kinds=("arrow",),
    new_rows="assets.splits.rows:count_new",
)
