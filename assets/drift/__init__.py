"""Drift: whether the newest rows are like those that the champion was made from.

Four tests: shares of the labels, lengths of the texts, words that the champion never met, and whether a classifier can
tell new rows from old ones. They are corrected together, so that the chance of any false alarm is the configured level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from assets.release import log
from assets.store.step import Check, LogEntry, Measurements, Outcome, Step

TESTS = MappingProxyType(
    {
        "labels": "The labels of new rows are shared out as those that the champion was made from.",
        "lengths": "The texts of new rows are as long as those that the champion was made from.",
        "vocabulary": "New rows have no more words that the champion was not trained on than its own test rows.",
        "separation": "A classifier cannot tell new rows from those that the champion was made from.",
    }
)
"""Every test, and what it asserts."""


def champion(
    entries: Sequence[LogEntry], inputs: Mapping[str, str], _stood: Measurements | None
) -> dict[str, tuple[str, ...]]:
    """What the step reads of the promotion log: the champion, and the splits that it was made from."""
    model = log.outgrown(entries, inputs["splits"])
    if model is None:
        return {"champion": (), "champion_splits": ()}
    splits = dict.fromkeys(fields["inputs"]["splits"] for fields in log.decisions(entries, model))
    return {"champion": (model,), "champion_splits": tuple(splits)}


def _judge(test: str, measurements: Measurements, _config: Any) -> Outcome:
    if measurements["reason"]:
        return Outcome(passed=True, message=f"nothing to compare: {measurements['reason']}")
    found = measurements["tests"][test]
    message = (
        f"{found['said']}: {found['effect']:.4f}, an alarm from {found['least_effect']:.4f}; "
        f"p = {found['p_adjusted']:.2g} after correction, an alarm up to {measurements['level']:g}"
    )
    return Outcome(not found["alarm"], message, {name: found[name] for name in ("effect", "p_adjusted")}, warning=True)


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
    checks=tuple(Check(f"same_{test}", description, partial(_judge, test)) for test, description in TESTS.items()),
    kinds=("scipy", "scikitlearn"),
)
