"""Checks of the step `predictions`, from its measurements."""

from __future__ import annotations

from typing import Any

from assets.store.step import Check, Measurements, Outcome


def _no_row_lost(measurements: Measurements, _config: Any) -> Outcome:
    parts = {name: measurements[name] for name in ("predicted", "without_text", "rejected")}
    read, found = measurements["read"], sum(parts.values())
    said = " + ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in parts.items())
    sign = "=" if read == found else "≠"
    return Outcome(read == found, f"{read:,} rows read {sign} {said}", {"read": read, **parts})


def _every_row_predicted(measurements: Measurements, _config: Any) -> Outcome:
    if measurements["reason"]:
        return Outcome(not measurements["files"], f"nothing was predicted: {measurements['reason']}", warning=True)
    left = measurements["without_text"] + measurements["rejected"]
    message = (
        f"of {measurements['read']:,} rows read {measurements['without_text']:,} have no text, "
        f"{measurements['rejected']:,} could not be read"
    )
    return Outcome(not left, message, {"not_predicted": left}, warning=True)


CHECKS = (
    Check("no_row_lost", "Every row that was read has a prediction, no text, or is no row.", _no_row_lost),
    Check("every_row_predicted", "Every row of the unlabelled files has a prediction.", _every_row_predicted),
)
