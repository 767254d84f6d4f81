"""From a model's probabilities to what is answered: the temperature and the threshold that an evaluation has found.

Whoever predicts with a model that was evaluated – evaluation itself, the command line, a batch job – goes through here,
so that all of them answer the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]

CALIBRATION = "calibration.json"
THRESHOLDS = "thresholds.json"


@dataclass(frozen=True)
class Decisions:
    """How probabilities become an answer.

    Attributes:
        temperature: logits are divided by it.
        label: the label that has a threshold, or None.
        threshold: the label is answered where its calibrated probability is at least this.
    """

    temperature: float = 1.0
    label: str | None = None
    threshold: float = 0.5

    def calibrated(self, scores: Scores) -> Scores:
        """Probabilities as they are after the temperature.

        Args:
            scores: a model's own probabilities, all of its labels, shape [rows, labels].
        """
        return scaled(scores, self.temperature)

    def chosen(self, scores: Scores, labels: Sequence[str]) -> npt.NDArray[np.intp]:
        """Place of the label that is answered for each row.

        Args:
            scores: calibrated probabilities, shape [rows, labels].
            labels: their names; where the label with the threshold is not among them, the likeliest is answered.
        """
        if self.label is None or self.label not in labels:
            return np.asarray(scores.argmax(axis=1), np.intp)
        return above(scores, labels.index(self.label), self.threshold)


def read(evaluation: Path) -> Decisions:
    """How an evaluation decided; as the model itself does where it is of a time before there were such decisions.

    Args:
        evaluation: content of the step.
    """
    calibration, thresholds = evaluation / CALIBRATION, evaluation / THRESHOLDS
    temperature = json.loads(calibration.read_bytes())["temperature"] if calibration.is_file() else 1.0
    if not thresholds.is_file():
        return Decisions(temperature)
    found = json.loads(thresholds.read_bytes())
    return Decisions(temperature, found["label"], found["chosen"])


def scaled(scores: Scores, temperature: float) -> Scores:
    """Probabilities of softmax(logits / temperature), from those of softmax(logits), shape [rows, labels].

    Logits are only known up to a constant for each row, and the logarithm of probabilities is one choice of it.
    """
    if temperature == 1.0 or not scores.size:
        return scores
    with np.errstate(divide="ignore"):
        logits = np.log(scores) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def above(scores: Scores, place: int, threshold: float) -> npt.NDArray[np.intp]:
    """Place of the label answered for each row: `place` where its score is at least the threshold, else the next best.

    Args:
        scores: shape [rows, labels], at least two labels.
        place: of the label that has the threshold.
        threshold: of its score.
    """
    others = scores.copy()
    others[:, place] = -1.0
    return np.where(scores[:, place] >= threshold, place, others.argmax(axis=1)).astype(np.intp)
