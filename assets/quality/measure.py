"""The step's function: the champion's metric on each of the newest batches, and whether the alarm stands."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.quality.arrivals import CHAMPION, LATER
from assets.quality.interval import estimate
from assets.store.digests import write_json
from assets.store.tables import read_tables

if TYPE_CHECKING:
    import numpy.typing as npt

    from assets.store.step import Build, Measurements, Part


def measure(
    build: Build, *, labels: Sequence[str], metric: str, floor: float, batches: int, failing: int, min_rows: int
) -> Measurements:
    """Score the champion on the newest batches of labelled rows that it was not made from.

    Content:
        quality.json: what is returned.

    Trace:
        quality.png: the metric of each batch with its interval, and the floor; where something was measured.

    Args:
        build: input `splits`; external inputs `champion`, `champion_evaluation`, `champion_splits` and
            `later_splits`.
        labels: names of the classes, in the model's order.
        metric: metric of the comparison.
        floor: least value of the metric that is well.
        batches: how many batches are looked at, the newest ones.
        failing: how many of them below the floor alarm, the newest among them.
        min_rows: fewest rows of a batch; see `assets.quality.arrivals`.

    Returns:
        champion (digest or None), reason (why nothing was measured, or ""), metric, floor, failing, batches (the
        oldest first, each with rows, scored, value, low, high, below), below (how many are), alarm, seen (the splits,
        those seen `before` them since the champion was made, and which of all to compare with `after` them).
    """
    champion = build.externals["champion"]
    models = (*champion.objects, *champion.lost)
    told: dict[str, Any] = {
        "champion": models[0] if models else None,
        "reason": "",
        "metric": metric,
        "floor": floor,
        "failing": failing,
        "batches": [],
        "below": 0,
        "alarm": False,
        "seen": _seen(build),
    }
    told["reason"] = _missing(build, labels)
    if not told["reason"]:
        arrived, found = _scored(build, models[0], labels, batches=batches, min_rows=min_rows)
        told["batches"] = [
            _judged(rows, matrix, metric, floor) for rows, matrix in zip(arrived["rows"], found, strict=True)
        ]
        # What ends no batch, or one that is too long ago, need not be read again when more comes in.
        told["seen"]["after"] = [told["seen"]["after"][at] for at in arrived["ends"]]
        told["below"] = sum(each["below"] for each in told["batches"])
        told["alarm"] = bool(told["batches"]) and told["batches"][-1]["below"] and told["below"] >= failing
        if not told["batches"]:
            told["reason"] = f"fewer than {min_rows:,} rows came in since the champion was made"
    build.progress.message(_said(told))
    write_json(build.content / "quality.json", told)
    if told["batches"]:
        (build.trace / "quality.png").write_bytes(_picture(told))
    return told


def _seen(build: Build) -> dict[str, Any]:
    splits, later = build.digests["splits"], build.externals["later_splits"]
    return {"splits": splits, "before": [*later.objects, *later.lost], "after": [*later.objects, splits]}


def _missing(build: Build, labels: Sequence[str]) -> str:
    """Why nothing can be measured, or nothing."""
    champion, made_from = build.externals["champion"], build.externals["champion_splits"]
    if not champion.objects and not champion.lost:
        return "no champion yet that was made from other rows"
    if champion.lost:
        return "the store has lost the champion"
    if build.externals["champion_evaluation"].lost:
        return "the store has lost the champion's evaluation, which says how it answers"
    if made_from.lost:
        return "the store has lost the rows that the champion was made from"
    assert build.stored is not None
    config = json.loads((build.stored(champion.objects[0]) / "model" / "config.json").read_bytes())
    known = list(config["id2label"].values())
    return "" if set(known) == set(labels) else f"the champion answers with other labels ({', '.join(known)})"


def _scored(
    build: Build, champion: str, labels: Sequence[str], *, batches: int, min_rows: int
) -> tuple[Measurements, list[npt.NDArray[np.int64]]]:
    """What is measured of the batches, and the confusion matrix of the rows of each that were scored."""
    assert build.part is not None
    splits = {"splits": build.digests["splits"]}
    for prefix, name in ((CHAMPION, "champion_splits"), (LATER, "later_splits")):
        splits |= {f"{prefix}{at}": digest for at, digest in enumerate(build.externals[name].objects)}
    arrived = build.part(
        "assets.quality.arrivals:arrivals",
        {"batches": batches, "min_rows": min_rows},
        inputs=splits,
        environment=("pyarrow:major",),
    )
    evaluations = build.externals["champion_evaluation"].objects
    decided = {"evaluation": evaluations[0]} if evaluations else {}
    matrices = []
    for at in range(len(arrived.measurements["rows"])):
        rows = build.part("assets.quality.arrivals:batch", {"at": at}, inputs={"arrivals": arrived.digest})
        answers = build.part(
            "assets.evaluation.batch:answer",
            {"labels": list(labels)},
            inputs={"model": champion, "rows": rows.digest, **decided},
            environment=("torch", "transformers", "tokenizers"),
        )
        matrices.append(_confusion(answers, labels))
    return arrived.measurements, matrices


def _confusion(answers: Part, labels: Sequence[str]) -> npt.NDArray[np.int64]:
    table = read_tables([answers.content], "answers.feather")
    place = {label: at for at, label in enumerate(labels)}
    true, predicted = ([place[label] for label in table[name].to_pylist()] for name in ("label", "predicted"))
    matrix = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(matrix, (true, predicted), 1)
    return matrix


def _judged(rows: int, matrix: npt.NDArray[np.int64], metric: str, floor: float) -> dict[str, Any]:
    found = estimate(matrix, metric)
    return {
        "rows": rows,
        "scored": int(matrix.sum()),
        **{name: round(value, 6) for name, value in found._asdict().items()},
        "below": found.value < floor,
    }


def _said(told: Measurements) -> str:
    if told["reason"]:
        return f"nothing to measure: {told['reason']}"
    newest = told["batches"][-1]
    alarm = "; the alarm stands" if told["alarm"] else ""
    return f"{told['metric']} {newest['value']:.4f} on the newest {newest['rows']:,} rows{alarm}"


def _picture(told: Measurements) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes, batches = figure.subplots(), told["batches"]
    at, value = range(1, len(batches) + 1), np.array([each["value"] for each in batches])
    # A percentile of a bootstrap may lie on the other side of the value.
    ends = [value - [each["low"] for each in batches], [each["high"] for each in batches] - value]
    axes.errorbar(at, value, yerr=np.maximum(ends, 0), fmt="o", color="#1f5fa8", capsize=4)
    axes.axhline(told["floor"], color="#a8510b", linestyle="--", label=f"floor {told['floor']:g}")
    axes.set_xticks(list(at), [f"{each['rows']:,}" for each in batches])
    axes.set(xlabel="rows of each batch, the newest on the right", ylabel=told["metric"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
