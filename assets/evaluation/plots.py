"""Pictures of an evaluation, for Dagster: confusion matrix, reliability diagram, slices with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LEGIBLE = 20
"""Most labels whose confusion matrix has room for numbers."""
MOST_SLICES = 40
"""Most slices in the picture; the rest are in the table."""
BLUE, ORANGE = "#1f5fa8", "#a8510b"


def confusion(path: Path, found: Mapping[str, Any]) -> None:
    """Draw the confusion matrix: shares of each true label as colours, rows as numbers where they are legible."""
    from matplotlib.figure import Figure

    matrix, labels = np.array(found["matrix"]), found["labels"]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = max(3.5, min(16.0, 1.5 + 0.7 * len(labels)))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > LEGIBLE else 0)
    axes.set_yticks(range(len(labels)), labels)
    if len(labels) <= LEGIBLE:
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    figure.colorbar(image, label="share of the true label")
    figure.savefig(path, dpi=120)


def reliability(path: Path, calibration: Mapping[str, Any]) -> None:
    """Draw how often answers are right by how sure the model is, before and after the temperature.

    Args:
        path: of the picture.
        calibration: as `calibration.json` has it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1)
    for name, colour in (("before", ORANGE), ("after", BLUE)):
        bins = calibration[name]["bins"]
        sure, right = ([each[column] for each in bins] for column in ("confidence", "accuracy"))
        rows = np.array([each["rows"] for each in bins])
        axes.plot(sure, right, color=colour, label=f"{name}: ECE {calibration[name]['ece']:.3f}")
        axes.scatter(sure, right, color=colour, s=12 + 120 * rows / rows.sum(), alpha=0.7)
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.set_title(f"temperature {calibration['temperature']:.3g}; size of a dot: rows", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(path, dpi=110)


def slices(path: Path, measured: Sequence[Mapping[str, Any]], overall: float) -> None:
    """Draw the accuracy of each slice with its interval; small slices are pale.

    Args:
        path: of the picture.
        measured: as `slices.json` has them, at least one.
        overall: accuracy of all rows.
    """
    from matplotlib.figure import Figure

    shown = measured[:MOST_SLICES]
    figure = Figure(figsize=(7.2, 1.0 + 0.3 * len(shown)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(overall, color="grey", linestyle="--", linewidth=1, label=f"all rows {overall:.3f}")
    for at, each in enumerate(shown):
        value, (low, high) = each["metrics"]["accuracy"], each["intervals"]["accuracy"]
        ends = [[max(0.0, value - low)], [max(0.0, high - value)]]
        alpha = 0.4 if each["small"] else 1.0
        axes.errorbar([value], [at], xerr=ends, fmt="o", color=BLUE, capsize=3, alpha=alpha)
    axes.set_yticks(range(len(shown)), [f"{_short(each['name'])} ({each['rows']:,})" for each in shown])
    axes.invert_yaxis()
    axes.set(xlabel="accuracy with 95 % interval; small slices are pale")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def _short(name: str) -> str:
    # A dollar sign would begin a formula.
    name = name.replace("$", r"\$")
    return name if len(name) <= 48 else f"{name[:47]}…"
