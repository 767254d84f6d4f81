"""The gate: whether a challenger becomes the champion, from numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from assets.evaluation.intervals import Difference

Decision = Literal["promoted", "accepted", "refused", "unchanged"]

METRIC_NAMES = MappingProxyType(
    {
        "accuracy": "accuracy",
        "precision_macro": "macro precision",
        "recall_macro": "macro recall",
        "f1_macro": "macro F1",
    }
)
"""Metrics of a classification, as people call them."""

# Differences of metrics are rounded: 0.9 - 0.8 >= 0.1 must hold, and does not in floating point.
_ROUNDING = 1e-9
_NAMES = MappingProxyType({"champion": "the champion", "reference": "the reference champion"})


@dataclass(frozen=True)
class Comparison:
    """One condition that the challenger meets or not.

    Attributes:
        name: `floor` (`floor_METRIC` where there are several), `baseline`, `calibration`, `champion`, `proven`,
            `reference`, `reference_proven`, `slices`, `servable`, `size`, `latency` or `rolled_back`.
        passed: whether it is met.
        value: the challenger's metric, MB or milliseconds, or None where no number decides.
        limit: the least value that passes, of errors, MB and milliseconds the largest, or None.
        message: one sentence with the numbers.
        difference: challenger's metric minus the champion's, where an interval of it decides; so for the following.
        interval: its lower and upper limit.
        method: how the interval was made, in words.
        margin: the margin that counts.
        rows: rows that both models were compared on.
    """

    name: str
    passed: bool
    value: float | None
    limit: float | None
    message: str
    difference: float | None = None
    interval: tuple[float, float] | None = None
    method: str = ""
    margin: float | None = None
    rows: int | None = None


def at_least_floor(metric: str, value: float, floor: float, name: str = "floor") -> Comparison:
    """Whether the metric reaches the absolute floor; `name` tells several of them apart."""
    message = f"{METRIC_NAMES[metric]} {value:.4f}; at least {floor:.4f} is required"
    return Comparison(name, value >= floor - _ROUNDING, value, floor, message)


def above_baseline(metric: str, value: float, baseline: float, margin: float) -> Comparison:
    """Whether the metric is at least `margin` above the baseline's on the same rows."""
    message = _difference(metric, value, f"the baseline's {baseline:.4f}", value - baseline, margin)
    return Comparison("baseline", value >= baseline + margin - _ROUNDING, value, baseline + margin, message)


def calibrated(ece: float | None, most: float) -> Comparison:
    """Whether the expected calibration error is at most `most`; None is one that nobody measured."""
    if ece is None:
        return Comparison("calibration", False, None, None, "the evaluation measured no calibration error")
    message = f"expected calibration error {ece:.4f}; at most {most:.4f} is required"
    return Comparison("calibration", ece <= most + _ROUNDING, ece, most, message)


def not_below_champion(
    metric: str, value: float, champion: float, margin: float, rows: int, whose: str = "champion"
) -> Comparison:
    """Whether the metric is at most `margin` below the champion's on the same `rows` test rows.

    `whose` is `champion` or `reference`, and so for the following.
    """
    other = f"{_NAMES[whose]}'s {champion:.4f} on the same {rows:,} rows"
    message = _difference(metric, value, other, value - champion, -margin)
    return Comparison(whose, value >= champion - margin - _ROUNDING, value, champion - margin, message)


MARGINS: Mapping[str, float] = MappingProxyType({"better": 0.0, "not_worse": 0.01})
"""Margins where none is configured. With 0, a model that is as good would pass `not_worse` in one case of twenty."""

LEVELS: Mapping[str, float] = MappingProxyType({"better": 0.95, "not_worse": 0.9})
"""Levels of the two-sided intervals: `better` passes 2.5 % of equal models, `not_worse` 5 % of those
worse by the margin."""


def proven(
    metric: str,
    found: Difference,
    best: Difference,
    promote_if: str,
    margin: float,
    rows: int,
    whose: str = "champion",
) -> Comparison:
    """Whether the interval of the difference to the champion proves what is asked for.

    Args:
        metric: what was compared.
        found: the difference on the same rows, with its interval at the level of `LEVELS`.
        best: the same of a model without errors: where not even that proves it, no later model will.
        promote_if: `better` or `not_worse`.
        margin: how much better it must be at least, or how much worse it may be at most.
        rows: rows compared.
        whose: the other model.
    """
    limit = margin if promote_if == "better" else -margin
    message = (
        f"{METRIC_NAMES[metric]} differs from {_NAMES[whose]}'s by {found.value:+.4f} on the same {rows:,} rows, "
        f"interval {found.low:+.4f} to {found.high:+.4f} ({found.method}); "
        f"required: all of it above {limit:+.4f} ({promote_if.replace('_', ' ')})"
    )
    if best.low <= limit:
        message += "; on these rows not even a model without errors could prove it: see docs/gate.md"
    interval = (found.low, found.high)
    name = "proven" if whose == "champion" else "reference_proven"
    return Comparison(name, found.low > limit, None, None, message, found.value, interval, found.method, margin, rows)


def against(difference: float, other: str) -> str:
    """Say a difference in words: `0.0139 below the champion`."""
    if round(abs(difference), 4) == 0:
        return f"level with {other}"
    return f"{abs(difference):.4f} {'above' if difference > 0 else 'below'} {other}"


def _difference(metric: str, value: float, other: str, difference: float, required: float) -> str:
    least = "most" if required < 0 else "least"
    return (
        f"{METRIC_NAMES[metric]} {value:.4f} is {against(difference, other)}; "
        f"required: at {least} {against(required, 'it')}"
    )


def champion_incomparable(reason: str) -> Comparison:
    """What stands for the comparison with the champion when there is none: unproven is not promoted."""
    message = f"cannot be compared with the champion: {reason}; only an explicit promotion can put it in use"
    return Comparison("champion", False, None, None, message)


def reference_incomparable(reason: str) -> Comparison:
    """What stands for the comparison with the reference when there is none: it is said, and the champion decides.

    Unlike the champion it may be an old model, and would keep every later one out.
    """
    message = f"not compared with the reference champion: {reason}"
    return Comparison("reference", True, None, None, message)


def no_slice_worse(slices: Sequence[Mapping[str, Any]]) -> Comparison:
    """Whether no slice is significantly worse than the champion's; `slices` are as `judge` has them."""
    worse = [each for each in slices if each["worse"]]
    said = "; ".join(
        f"{each['name']}: accuracy {against(each['difference'], 'the champion')} on {each['rows']:,} rows "
        f"(p {each['adjusted_p']:.2g} after correction)"
        for each in worse
    )
    message = f"significantly worse: {said}" if worse else f"none of {len(slices):,} slices is significantly worse"
    return Comparison("slices", not worse, None, None, message)


def with_labels(comparison: Comparison, said: str) -> Comparison:
    """Say of a comparison what the labels do to it that only one of the two knows."""
    return replace(comparison, message=f"{comparison.message}; {said}") if said else comparison


def of_unknown_rows(comparison: Comparison) -> Comparison:
    """Say of a comparison with a model that was adopted that nothing can vouch for it."""
    message = f"{comparison.message}; it was trained elsewhere, and may have seen these rows"
    return replace(comparison, message=message)


def not_rolled_back(*, was_rolled_back: bool) -> Comparison:
    """Whether the model is free of a rollback; one that was rolled back returns only by an explicit promotion."""
    message = (
        "this very model was rolled back; only an explicit promotion can put it in use again"
        if was_rolled_back
        else "not one of the models that were rolled back"
    )
    return Comparison("rolled_back", not was_rolled_back, None, None, message)


def decide(
    challenger: str, champion: str | None, comparisons: list[Comparison], promotion: str = "automatic"
) -> Decision:
    """Decide by the comparisons; the champion itself, trained again to the same content, changes nothing.

    With `promotion` `manual`, a challenger that meets every condition is accepted, and waits for a person.
    """
    if challenger == champion:
        return "unchanged"
    if not all(comparison.passed for comparison in comparisons):
        return "refused"
    return "accepted" if promotion == "manual" else "promoted"


def plain_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Only the numbers that a gate can compare, by name."""
    return {name: float(metrics[name]) for name in METRIC_NAMES}
