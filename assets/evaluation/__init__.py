"""How good a model is on the test side: predictions, metrics, the most confident errors, and a simple baseline."""

from __future__ import annotations

from typing import Any

from assets.store.step import Check, Measurements, Outcome, Step


def _every_label_found(measurements: Measurements, config: Any) -> Outcome:
    per_class = measurements["per_class"]
    never = [label for label in config.task.labels if per_class[label]["support"] and not per_class[label]["recall"]]
    found = f"no row of {', '.join(never)} was recognised" if never else "rows of every label were recognised"
    return Outcome(not never, found, {"never_found": never})


STEP = Step(
    name="evaluation",
    description="Scores the model on the test side, beside TF-IDF with logistic regression on the same rows.",
    function="assets.evaluation.score:score",
    inputs=("model", "splits"),
    configuration=("task.labels",),
    environment=("torch", "transformers", "tokenizers", "scikit-learn"),
    checks=(
        Check(
            "every_label_found",
            "Of every label that occurs on the test side, at least one row is recognised.",
            _every_label_found,
        ),
    ),
    kinds=("pytorch", "scikitlearn"),
)
