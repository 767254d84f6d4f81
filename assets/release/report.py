"""Writes what a decision leaves for people and programs: the decision itself, the model card, the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.release import gate
from assets.store.digests import write_json
from assets.store.step import Build

if TYPE_CHECKING:
    from assets.release.decide import SameRows

_ENTRIES_IN_REPORT = 10


def write(
    build: Build,
    decision: Mapping[str, Any],
    metrics: Mapping[str, Any],
    account: Mapping[str, int],
    same_rows: SameRows | None,
) -> None:
    """Write `decision.json` and `card.md` into the content, and `report.html` into the trace.

    Args:
        build: inputs `model` and `evaluation`, the measurements of all earlier steps and the promotion log.
        decision: what `decision.json` holds.
        metrics: the challenger's `metrics.json`.
        account: account of rows, from `row_account`.
        same_rows: challenger and champion on the same rows; None without another champion.
    """
    from markupsafe import Markup

    from assets.release import plots
    from assets.release.templates import render

    history = _read_json(build.inputs["model"] / "history.json")
    confusion, metric = metrics["confusion"], decision["metric"]
    context = {
        "pipeline": build.pipeline,
        "decision": decision,
        "metrics": metrics,
        "labels": confusion["labels"],
        "measured": build.measurements,
        "account": account,
        "architecture": _read_json(build.inputs["model"] / "model" / "config.json")["architectures"][0],
        "digests": dict(build.digests),
    }
    more = {
        "history": history,
        "same_rows": same_rows,
        "errors": _read_json(build.inputs["evaluation"] / "errors.json"),
        # Ours, with every text in them escaped.
        "confusion_plot": Markup(plots.confusion(confusion["labels"], confusion["matrix"])),  # noqa: S704
        "curve_plot": Markup(plots.curve(history, metric, gate.METRIC_NAMES[metric])),  # noqa: S704
        "log": build.log[: -_ENTRIES_IN_REPORT - 1 : -1],
        "decided_at": f"{datetime.now(UTC):%-d %B %Y, %H:%M} UTC",
    }
    write_json(build.content / "decision.json", decision)
    (build.content / "card.md").write_text(render("card.md.j2", context), encoding="utf-8")
    (build.trace / "report.html").write_text(render("report.html.j2", {**context, **more}), encoding="utf-8")


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
