"""Whether the gate's intervals keep what they promise: simulated test sets of models whose true quality is known.

    python -m benchmarks.gate --json

Each cell draws `--repetitions` test sets: 200, 1,000 or 5,000 rows, true accuracy 0.80 to 0.99, two labels
(balanced, or 90 % and 10 %) or four. Rare labels are harder; both models are as good, or the new one worse by
the margin, and half of the rows are answered alike by construction. The functions are those that the gate calls.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from assets.evaluation.intervals import macro_difference, macro_interval, tango, wilson

LABELS = {"balanced": (0.5, 0.5), "imbalanced": (0.9, 0.1), "four": (0.25, 0.25, 0.25, 0.25)}
ROWS = (200, 1_000, 5_000)
ACCURACIES = (0.80, 0.90, 0.95, 0.99)
MARGIN = 0.01
SPARSE = 30
"""Cells with fewer expected errors for each label, on average, count as sparse."""

Array = npt.NDArray[Any]


def population(shares: tuple[float, ...], accuracy: float, worse: float) -> Any:
    """Probability of (label, new, old), shape [labels, labels, labels]; the new model is less accurate by `worse`."""
    share = np.array(shares)
    hard = share**-0.5 / (share**0.5).sum()
    labels = len(share)

    def answers(right: float) -> Array:
        wrong = (1 - right) * hard
        matrix = np.repeat(wrong[:, None] / (labels - 1), labels, axis=1)
        np.fill_diagonal(matrix, 1 - wrong)
        return matrix

    new, old = answers(accuracy - worse), answers(accuracy)
    joint = np.zeros((labels, labels, labels))
    for label in range(labels):
        alike = np.minimum(new[label], old[label])
        rest = 1 - alike.sum()
        coupled = np.diag(alike)
        if rest > 1e-12:
            coupled = coupled + np.outer(new[label] - alike, old[label] - alike) / rest
        joint[label] = share[label] * (coupled + np.outer(new[label], old[label])) / 2
    return joint


def values(table: Array) -> tuple[Any, Any]:
    """Accuracy and macro F1 of tables [..., label, said] of shares."""
    hits = np.einsum("...ii->...i", table)
    return hits.sum(-1), (2 * hits / np.maximum(table.sum(-1) + table.sum(-2), 1e-12)).mean(-1)


def simulate(shares: tuple[float, ...], rows: int, accuracy: float, worse: float, draws: int, seed: int) -> Any:
    """Draw test sets and ask the gate's functions; shares of draws, by metric."""
    joint = population(shares, accuracy, worse)
    labels = len(shares)
    counts = np.random.default_rng(seed).multinomial(rows, joint.ravel(), size=draws).astype(float)
    cells = tuple(each.ravel() for each in np.indices(joint.shape))
    tables = counts.reshape(draws, labels, labels, labels)
    right = cells[0][None] == np.stack([cells[1], cells[2]])
    gained, lost = ((counts * kept).sum(1) for kept in (right[0] & ~right[1], ~right[0] & right[1]))
    measured = [values(tables.sum(axis) / rows) for axis in (3, 2)]
    truths = [values(joint.sum(axis)) for axis in (2, 1)]
    found = {}
    for at, metric in enumerate(("accuracy", "f1_macro")):
        truth = truths[0][at] - truths[1][at]

        def limits(level: float, metric: str = metric) -> tuple[Array, Array]:
            if metric == "accuracy":
                return tango(gained, lost, rows, level)
            return macro_difference(metric, cells, counts, labels, level)

        if metric == "accuracy":
            one = wilson((counts * right[0]).sum(1), rows)
        else:
            one = macro_interval(metric, cells[:2], counts, labels)
        low, high = limits(0.95)
        found[metric] = {
            "coverage": held(one, truths[0][at]),
            "coverage_difference": held((low, high), truth),
            "better": float((low > 0).mean()),
            # At a margin that is exactly the true loss, passing is an error.
            "not_worse_at_margin": float((limits(0.9)[0] > truth).mean()),
            "not_worse": float((limits(0.9)[0] > -MARGIN).mean()),
            "higher_score": float((measured[0][at] > measured[1][at]).mean()),
        }
    return found


def held(limits: tuple[Array, Array], truth: float) -> float:
    """Share of the intervals that hold the truth."""
    return float(((limits[0] <= truth + 1e-12) & (truth - 1e-12 <= limits[1])).mean())


def measure(draws: int) -> dict[str, Any]:
    """Simulate every cell."""
    started, cells = time.perf_counter(), []
    grid = itertools.product(LABELS, ROWS, ACCURACIES, (0.0, MARGIN))
    for seed, (name, rows, accuracy, worse) in enumerate(grid, 2_000):
        for metric, found in simulate(LABELS[name], rows, accuracy, worse, draws, seed).items():
            sparse = rows * (1 - accuracy) / len(LABELS[name]) < SPARSE
            cells.append(
                {"labels": name, "rows": rows, "accuracy": accuracy, "worse": worse, "metric": metric, "sparse": sparse}
                | found
            )
    equal, lesser = ([cell for cell in cells if (cell["worse"] > 0) == less] for less in (False, True))
    dense = [cell for cell in cells if not cell["sparse"]]
    both = ("coverage", "coverage_difference")
    targets = [
        at_least("least coverage of 95 % intervals", min(cell[name] for cell in cells for name in both), 0.93),
        at_most("most coverage where not sparse", max(cell[name] for cell in dense for name in both), 0.97),
        at_most("better promotes an equal model", max(cell["better"] for cell in equal), 0.033),
        at_most("not_worse promotes a model worse by the margin", worst(lesser, "not_worse_at_margin"), 0.06),
    ]
    return {
        "repetitions": draws,
        "margin": MARGIN,
        "machine": platform.machine(),
        "seconds": time.perf_counter() - started,
        "higher_score_promotes_an_equal_model": worst(equal, "higher_score"),
        "higher_score_promotes_a_worse_model": worst(lesser, "higher_score"),
        "cells": cells,
        "targets": targets,
    }


def worst(cells: list[dict[str, Any]], name: str) -> float:
    """The largest value of the cells."""
    return max(float(cell[name]) for cell in cells)


def at_least(name: str, value: float, target: float) -> dict[str, Any]:
    """A figure that should not be lower."""
    return {"name": name, "value": value, "target": f">= {target}", "met": value >= target}


def at_most(name: str, value: float, target: float) -> dict[str, Any]:
    """A figure that should not be higher."""
    return {"name": name, "value": value, "target": f"<= {target}", "met": value <= target}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Whether the gate's intervals keep what they promise.")
    parser.add_argument("--json", action="store_true", help="only the line of JSON")
    parser.add_argument("--repetitions", type=int, default=20_000, help="test sets of each cell")
    arguments = parser.parse_args()
    results = measure(arguments.repetitions)
    if not arguments.json:
        for cell in results["cells"]:
            print(" ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in cell.values()))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
