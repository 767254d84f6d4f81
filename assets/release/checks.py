"""Judgements about a release, made again in every run from what the step measured."""

from __future__ import annotations

from typing import Any

from assets.release import by_hand
from assets.store.step import Check, Measurements, Outcome


def _gate(measurements: Measurements, _pipeline: Any) -> Outcome:
    failed = [comparison for comparison in measurements["comparisons"] if not comparison["passed"]]
    values = {comparison["name"]: comparison["value"] for comparison in measurements["comparisons"]}
    if failed:
        message = f"{measurements['decision']}: {'; '.join(comparison['message'] for comparison in failed)}"
        return Outcome(passed=False, message=message, values=values, warning=True)
    return Outcome(passed=True, message=f"{measurements['decision']}: every condition is met", values=values)


def _no_row_lost(measurements: Measurements, _pipeline: Any) -> Outcome:
    account = measurements["account"]
    message = (
        f"{account['read']:,} rows read = {account['kept']:,} accepted + {account['quarantined']:,} in quarantine + "
        f"{account['merged']:,} merged as duplicates"
    )
    if account["missing"]:
        message = f"{account['missing']:,} rows are not accounted for: {message}".replace(" = ", " ≠ ")
    return Outcome(passed=account["missing"] == 0, message=message, values=account)


def _registry_as_left(measurements: Measurements, _pipeline: Any) -> Outcome:
    changes = measurements["settled"].get("by_hand", ())
    said = by_hand.in_words(changes, "NAME") or ["nothing in MLflow was changed by hand"]
    return Outcome(not changes, "; ".join(said), {"changes": len(changes)}, warning=bool(changes))


CHECKS = (
    Check("gate", "The new model meets every condition of the gate.", _gate),
    Check("no_row_lost", "Rows read = accepted + in quarantine + merged as duplicates.", _no_row_lost),
    Check(
        "registry_as_left",
        "Nobody changed aliases or versions in MLflow by hand when it was last brought in line.",
        _registry_as_left,
    ),
)
