"""Drift: whether the newest rows are like those that the champion was made from.

Four tests: shares of the labels, lengths of the texts, words that the champion never met, and whether a classifier can
tell new rows from old ones. They are corrected together, so that the chance of any false alarm is the configured level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assets.drift.checks import CHECKS
from assets.release import log
from assets.store.step import LogEntry, Measurements, Step


def champion(
    entries: Sequence[LogEntry], inputs: Mapping[str, str], _stood: Measurements | None
) -> dict[str, tuple[str, ...]]:
    """What the step reads of the promotion log: the champion, and the splits that it was made from."""
    model = log.outgrown(entries, inputs["splits"])
    if model is None:
        return {"champion": (), "champion_splits": ()}
    splits = dict.fromkeys(fields["inputs"]["splits"] for fields in log.decisions(entries, model))
    return {"champion": (model,), "champion_splits": tuple(splits)}


STEP = Step(
    name="drift",
    description="Compares the newest rows with those that the champion was made from: labels, lengths, words, and "
    "whether a classifier can tell them apart.",
    function="assets.drift.compare:compare",
    inputs=("splits",),
    wanted=lambda config: config.drift is not None,
    configuration=("task.labels", "drift"),
    promoted=champion,
    environment=("scipy", "scikit-learn", "numpy", "pyarrow:major"),
    checks=CHECKS,
    kinds=("scipy", "scikitlearn"),
)
