"""How good a model is on the test side, and how its scores become decisions.

- `answers` predicts a side, as a part of model and splits alone; `baseline` is what a model must beat.
- `calibration` and `thresholds` are fitted on the validation side; `decisions` applies what they found, here and
  wherever else the model predicts.
- `slices` and `findings` say where it is good and where it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assets.store.step import Check, Measurements, Outcome, Step

if TYPE_CHECKING:
    from assets.config.pipeline import Pipeline


def _every_label_found(measurements: Measurements, config: Any) -> Outcome:
    per_class = measurements["per_class"]
    never = [label for label in config.task.labels if per_class[label]["support"] and not per_class[label]["recall"]]
    found = f"no row of {', '.join(never)} was recognised" if never else "rows of every label were recognised"
    return Outcome(not never, found, {"never_found": never})


def _calibrated(measurements: Measurements, _config: Any) -> Outcome:
    found = measurements["calibration"]
    before, after, chance = found["ece_before"], found["ece_after"], found["ece_by_chance"]
    message = (
        f"confidence and accuracy differ by {after:.3f} on average (ECE; {before:.3f} before temperature "
        f"{found['temperature']:.3g}); chance alone gives up to {chance:.3f} on so many rows"
    )
    if found["reason"]:
        message += f"; no temperature was fitted: {found['reason']}"
    return Outcome(passed=after <= chance, message=message, values=found, warning=True)


def _threshold_reached(measurements: Measurements, _config: Any) -> Outcome:
    found = measurements.get("threshold")
    if found is None:
        return Outcome(passed=True, message="no threshold is configured: the likeliest label is predicted")
    said = f"{found['label']} is predicted from a score of {found['threshold']:.4f}"
    reached = "the goal is reached" if found["met"] else "no threshold reaches the goal, and this one comes nearest"
    return Outcome(found["met"], f"{said}; {reached} on the validation side", found, warning=True)


def _by_source(config: Pipeline) -> bool:
    return config.evaluation.source_files is not None


STEP = Step(
    name="evaluation",
    description=(
        "Scores the model on the test side, with intervals, slices, calibration and thresholds, beside TF-IDF with "
        "logistic regression on the same rows."
    ),
    function="assets.evaluation.score:score",
    inputs=("model", "splits", "raw", "validated"),
    # Only the first of them knows files, and the second which rows have another identifier since.
    optional={"raw": _by_source, "validated": _by_source},
    configuration=("task.labels", "evaluation.slices", "evaluation.threshold", "evaluation.samples"),
    environment=("torch", "transformers", "tokenizers", "scikit-learn", "scipy:minor"),
    checks=(
        Check(
            "every_label_found",
            "Of every label that occurs on the test side, at least one row is recognised.",
            _every_label_found,
        ),
        Check(
            "calibrated",
            "The model is as often right as it is sure, as nearly as so many test rows can tell.",
            _calibrated,
        ),
        Check(
            "threshold_reached",
            "On the validation side the threshold reaches what `evaluation.threshold` demands.",
            _threshold_reached,
        ),
    ),
    kinds=("pytorch", "scikitlearn"),
)
