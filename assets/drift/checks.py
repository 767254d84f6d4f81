"""Judgements about drift, made again in every run from what the step measured."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import Any

from assets.store.step import Check, Measurements, Outcome

TESTS = MappingProxyType(
    {
        "labels": "The labels of new rows are shared out as those that the champion was made from.",
        "lengths": "The texts of new rows are as long as those that the champion was made from.",
        "vocabulary": "New rows have no more words that the champion was not trained on than its own test rows.",
        "separation": "A classifier cannot tell new rows from those that the champion was made from.",
    }
)
"""Every test, and what it asserts."""


def _judge(test: str, measurements: Measurements, _config: Any) -> Outcome:
    if measurements["reason"]:
        return Outcome(passed=True, message=f"nothing to compare: {measurements['reason']}")
    found = measurements["tests"][test]
    message = (
        f"{found['said']}: {found['effect']:.4f}, an alarm from {found['least_effect']:.4f}; "
        f"p = {found['p_adjusted']:.2g} after correction, an alarm up to {measurements['level']:g}"
    )
    return Outcome(not found["alarm"], message, {name: found[name] for name in ("effect", "p_adjusted")}, warning=True)


CHECKS = tuple(Check(f"same_{test}", description, partial(_judge, test)) for test, description in TESTS.items())
