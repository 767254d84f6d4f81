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
LEAST_SAID = 1e-6
"""Chances below this differ in nothing that anybody could act on, and 0 is none that a test could give."""


def _judge(test: str, measurements: Measurements, _config: Any) -> Outcome:
    if measurements["reason"]:
        return Outcome(passed=True, message=f"nothing to compare: {measurements['reason']}")
    found = measurements["tests"][test]
    message = (
        f"{found['said']}: {found['effect']:.4f}, an alarm from {found['least_effect']:.4f}; "
        f"p {_chance(found['p_adjusted'])} after correction, an alarm up to {measurements['level']:g}"
    )
    return Outcome(not found["alarm"], message, {name: found[name] for name in ("effect", "p_adjusted")}, warning=True)


def _chance(p: float) -> str:
    return f"= {p:.2g}" if p >= LEAST_SAID else f"< {LEAST_SAID:g}"


CHECKS = tuple(Check(f"same_{test}", description, partial(_judge, test)) for test, description in TESTS.items())
