"""Whether the gate's intervals keep what they promise: simulated test sets of models whose true quality is known.

    python -m benchmarks.gate --json
    python -m benchmarks.gate --json --plot docs/images/gate-power.svg

Each cell draws `--repetitions` test sets: 200, 1,000 or 5,000 rows, true accuracy 0.80 to 0.99, two labels
(balanced, or 90 % and 10 %), four, or ten and twenty whose shares go down as 1, 1/2, 1/3, … (at most 4,000 test sets;
twenty labels on 200 rows only, three of which are of the rarest; without accuracy, to which labels do not matter). Rare
labels are harder; both models are as good, or the new one worse by the margin, and half of the rows are answered alike
by construction. The functions are those that the gate calls.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assets.evaluation.intervals import holm, macro_difference, macro_interval, mcnemar_worse, tango, wilson


def falling(number: int) -> tuple[float, ...]:
    """Shares that go down like the inverse of their place."""
    share = 1 / np.arange(1, number + 1)
    return tuple((share / share.sum()).tolist())


LABELS = {
    "balanced": (0.5, 0.5),
    "imbalanced": (0.9, 0.1),
    "four": (0.25, 0.25, 0.25, 0.25),
    "ten uneven": falling(10),
    "twenty uneven": falling(20),
}
UNEVEN_DRAWS = 4_000
"""Most test sets of a cell with ten or twenty labels: there are 1,000 and 8,000 answers to count."""
AT_ONCE = 1_000_000
"""Most counts that are held in memory at once."""
METRICS = ("accuracy", "f1_macro", "precision_macro", "recall_macro")
COMPARED = ("accuracy", "f1_macro")
"""Metrics of which differences are simulated too; the others are parts of the second."""
ROWS = (200, 1_000, 5_000)
ACCURACIES = (0.80, 0.90, 0.95, 0.99)
MARGIN = 0.01
SPARSE = 30
"""Cells with fewer expected errors for each label, on average, count as sparse."""

DIFFERENCES = tuple(step / 200 for step in range(-8, 9))
"""True differences of the curve of power: of the new model's accuracy to that of the old one, 0.90."""

RELEASES = 20
"""Releases in a row of models that are as good."""
GROWTH = (0.0, 0.1)
"""How much the test set grows from one of them to the next."""

SLICES = (2, 5, 20)
"""Slices of each of two declarations: every row is in one of either, and they overlap."""
ALARM = 0.05
HARM = 0.10
"""How much less accurate the new model is on the one slice that is worse, where one is."""

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


def values(table: Array) -> list[Array]:
    """The metrics, in the order of `METRICS`, of tables [..., label, said] of shares."""
    hits = np.einsum("...ii->...i", table)
    of_label, of_said = table.sum(-1), table.sum(-2)
    macro = [(hits / np.maximum(base, 1e-12)).mean(-1) for base in ((of_label + of_said) / 2, of_said, of_label)]
    return [hits.sum(-1), *macro]


def simulate(
    shares: tuple[float, ...],
    rows: int,
    accuracy: float,
    worse: float,
    draws: int,
    seed: int,
    metrics: Sequence[str] = METRICS,
) -> Any:
    """Draw test sets and ask the gate's functions; shares of draws, by metric."""
    joint = population(shares, accuracy, worse)
    truths = [values(joint.sum(axis)) for axis in (2, 1)]
    random = np.random.default_rng(seed)
    parts, left = [], draws
    while left:
        size = min(left, max(1, AT_ONCE // joint.size))
        parts.append(judge(random.multinomial(rows, joint.ravel(), size=size), joint.shape[0], rows, truths, metrics))
        left -= size
    return {
        metric: {
            name: float(np.concatenate([part[metric][name] for part in parts]).mean()) for name in parts[0][metric]
        }
        for metric in metrics
    }


def judge(
    counts: Array, labels: int, rows: int, truths: list[list[Array]], metrics: Sequence[str]
) -> dict[str, dict[str, Array]]:
    """What becomes of each test set, whose rows are counted by label, new and old answer: shape [draws, labels³]."""
    tables = counts.reshape(-1, labels, labels, labels)
    drawn = np.flatnonzero(counts.any(axis=0))
    cells = np.unravel_index(drawn, tables.shape[1:])
    some = counts[:, drawn].astype(float)
    alone = tables.sum(3).reshape(len(tables), -1).astype(float)
    right = cells[0][None] == np.stack([cells[1], cells[2]])
    gained, lost = ((some * kept).sum(1) for kept in (right[0] & ~right[1], ~right[0] & right[1]))
    measured = [values(tables.sum(axis) / rows) for axis in (3, 2)]
    found = {}
    for metric in metrics:
        at = METRICS.index(metric)
        truth = truths[0][at] - truths[1][at]

        def limits(level: float, metric: str = metric) -> tuple[Array, Array]:
            if metric == "accuracy":
                return tango(gained, lost, rows, level)
            return macro_difference(metric, cells, some, labels, level)

        if metric == "accuracy":
            one = wilson((some * right[0]).sum(1), rows)
        else:
            pairs = tuple(each.ravel() for each in np.indices((labels, labels)))
            one = macro_interval(metric, pairs, alone, labels)
        found[metric] = {"coverage": held(one, truths[0][at])}
        if metric not in COMPARED:
            continue
        wide, narrow = limits(0.95), limits(0.9)
        found[metric] |= {
            "coverage_difference": held(wide, truth),
            "better": wide[0] > 0,
            # At a margin that is exactly the true loss, passing is an error.
            "not_worse_at_margin": narrow[0] > truth,
            "not_worse": narrow[0] > -MARGIN,
            "higher_score": measured[0][at] > measured[1][at],
        }
    return found


def simulate_slices(slices: int, rows: int, accuracy: float, harm: float, draws: int, seed: int) -> Any:
    """Draw test sets that lie in slices; share of draws in which a slice alarms.

    Sizes of slices go down as 1, 1/2, 1/3, … The models are equally good and half of their errors are the same; with
    `harm` the new one loses so much accuracy on the largest slice of the first declaration.
    """
    share = 1 / np.arange(1, slices + 1)
    share = share / share.sum()
    either = np.full((slices, slices, 2), (1 - accuracy) / 2)
    either[0, :, 1] += harm
    both_alike = 1 - either.sum(-1, keepdims=True)
    joint = (share[:, None] * share[None, :])[..., None] * np.concatenate([either, both_alike], axis=-1)
    counts = np.random.default_rng(seed).multinomial(rows, joint.ravel(), size=draws).reshape(draws, *joint.shape)
    gained, lost = (np.concatenate([counts[..., at].sum(1), counts[..., at].sum(2)], axis=1) for at in (0, 1))
    chances = mcnemar_worse(gained, lost)
    alarms = [min(holm({str(at): p for at, p in enumerate(each)}).values()) <= ALARM for each in chances.tolist()]
    return {
        "alarm": float(np.mean(alarms)),
        "uncorrected": float((chances <= ALARM).any(1).mean()),
        "lower_score": float((gained < lost).any(1).mean()),
    }


def succession(rows: int, growth: float, accuracy: float, draws: int, seed: int) -> list[float]:
    """Share of the second, third, … model that is promoted if all are as good and `below_champion` is 0.

    The test set grows by so much from one release to the next, and what a model answered once it answers again.
    """
    sizes = [round(rows * (1 + growth) ** release) for release in range(RELEASES)]
    came = np.diff(sizes, prepend=0)
    right = np.random.default_rng(seed).binomial(came, accuracy, size=(draws, RELEASES, RELEASES)).cumsum(-1)
    champion, promoted = np.zeros(draws, int), []
    for release in range(1, RELEASES):
        better = right[:, release, release] >= right[np.arange(draws), champion, release]
        champion[better] = release
        promoted.append(float(better.mean()))
    return promoted


def held(limits: tuple[Array, Array], truth: Array) -> Array:
    """Which intervals hold the truth."""
    holds: Array = (limits[0] <= truth + 1e-12) & (truth - 1e-12 <= limits[1])
    return holds


def measure(draws: int) -> dict[str, Any]:
    """Simulate every cell."""
    started, cells = time.perf_counter(), []
    grid = itertools.product(LABELS, ROWS, ACCURACIES, (0.0, MARGIN))
    for seed, (name, rows, accuracy, worse) in enumerate(grid, 2_000):
        if name == "twenty uneven" and rows > min(ROWS):
            continue
        uneven = "uneven" in name
        times, metrics = (min(draws, UNEVEN_DRAWS), METRICS[1:]) if uneven else (draws, METRICS)
        for metric, found in simulate(LABELS[name], rows, accuracy, worse, times, seed, metrics).items():
            sparse = rows * (1 - accuracy) / len(LABELS[name]) < SPARSE
            cells.append(
                {"labels": name, "rows": rows, "accuracy": accuracy, "worse": worse, "metric": metric, "sparse": sparse}
                | found
            )
    sliced = [
        {"slices": 2 * slices, "rows": rows, "accuracy": accuracy, "harm": harm}
        | simulate_slices(slices, rows, accuracy, harm, min(draws, 5_000), seed)
        for seed, (slices, rows, accuracy, harm) in enumerate(
            itertools.product(SLICES, ROWS, (0.80, 0.95), (0.0, HARM)), 9_000
        )
    ]
    power = [
        {"rows": rows, "difference": difference}
        | simulate(LABELS["balanced"], rows, 0.90, -difference, min(draws, 4_000), seed, ("accuracy",))["accuracy"]
        for seed, (rows, difference) in enumerate(itertools.product(ROWS, DIFFERENCES), 11_000)
    ]
    as_good = [cell for cell in sliced if not cell["harm"]]
    compared = [cell for cell in cells if cell["metric"] in COMPARED]
    equal, lesser = ([cell for cell in compared if (cell["worse"] > 0) == less] for less in (False, True))
    everywhere, dense = (
        [cell[name] for cell in some for name in ("coverage", "coverage_difference") if name in cell]
        for some in (cells, [cell for cell in cells if not cell["sparse"]])
    )
    targets = [
        at_least("least coverage of 95 % intervals", min(everywhere), 0.93),
        at_most("most coverage where not sparse", max(dense), 0.97),
        at_most("better promotes an equal model", max(cell["better"] for cell in equal), 0.033),
        at_most("not_worse promotes a model worse by the margin", worst(lesser, "not_worse_at_margin"), 0.06),
        at_most("a slice alarms falsely", worst(as_good, "alarm"), 0.06),
    ]
    return {
        "repetitions": draws,
        "margin": MARGIN,
        "machine": platform.machine(),
        "seconds": time.perf_counter() - started,
        "higher_score_promotes_an_equal_model": worst(equal, "higher_score"),
        "higher_score_promotes_a_worse_model": worst(lesser, "higher_score"),
        "uncorrected_slices_alarm_falsely": worst(as_good, "uncorrected"),
        "some_slice_scores_lower_by_chance": worst(as_good, "lower_score"),
        "cells": cells,
        "slices": sliced,
        "power": power,
        "in_a_row": [
            {"growth": growth, "promoted": succession(1_000, growth, 0.95, draws, seed)}
            for seed, growth in enumerate(GROWTH, 12_000)
        ],
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


def plot(file: Path, power: list[dict[str, Any]]) -> None:
    """Draw how often a model is promoted by how much better it is; the same bytes for the same figures."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    titles = {
        "higher_score": "higher score wins",
        "better": "promote_if: better",
        "not_worse": f"promote_if: not_worse, margin {MARGIN}",
    }
    with rc_context({"svg.hashsalt": "gate", "svg.fonttype": "path", "font.size": 9}):
        figure = Figure(figsize=(9, 3), layout="constrained")
        axes = figure.subplots(1, len(titles), sharey=True)
        for panel, (name, title) in zip(axes, titles.items(), strict=True):
            for rows, style in zip(ROWS, (":", "--", "-"), strict=True):
                points = [cell for cell in power if cell["rows"] == rows]
                across = [100 * cell["difference"] for cell in points]
                panel.plot(
                    across, [100 * cell[name] for cell in points], style, color="#1f5fa8", label=f"{rows:,} rows"
                )
            panel.axvline(0, color="#888888", linewidth=0.8)
            panel.set(title=title, ylim=(-2, 102), xlim=(-4, 4))
            panel.grid(color="#dddddd", linewidth=0.5)
        axes[0].set_ylabel("promoted, %")
        axes[1].set_xlabel("the new model's true accuracy minus the champion's, points")
        axes[1].legend(loc="upper left")
        figure.savefig(file, format="svg", metadata={"Date": None})


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Whether the gate's intervals keep what they promise.")
    parser.add_argument("--json", action="store_true", help="only the line of JSON")
    parser.add_argument("--repetitions", type=int, default=20_000, help="test sets of each cell")
    parser.add_argument("--plot", type=Path, help="draw the curve of power into this SVG file")
    arguments = parser.parse_args()
    results = measure(arguments.repetitions)
    if arguments.plot:
        plot(arguments.plot, results["power"])
    if not arguments.json:
        for cell in [*results["cells"], *results["slices"], *results["power"]]:
            print(" ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in cell.values()))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
