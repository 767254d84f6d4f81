"""Writes what a decision leaves for people and programs: the decision itself, the model card, the report.

The report is one page that needs nothing else: charts are drawn here (`assets.release.plots`), and a short script of
ours is all that runs in the browser. What earlier results lack – intervals, slices, calibration – is left out.
There are two: the whole one stays in the store, and the registry gets one without the texts of rows, for whoever may
read the registry may not read the data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.errors import DamagedError
from assets.model.rows import HISTORY
from assets.pages.page import REPORT, frame
from assets.release import gate
from assets.release.lineage import in_words
from assets.store.code import code_digest
from assets.store.digests import canonical_json, write_json
from assets.store.step import Build, LogEntry

if TYPE_CHECKING:
    from assets.release.same_rows import SameRows

FOR_REGISTRY = "registry.html"
"""The report as the registry gets it; older releases have none."""

_ENTRIES_IN_REPORT = 10
_RELEASES_IN_REPORT = 24
"""Most releases in the chart: each has a result of its own that is opened for it."""
_FLIPS = 200
"""Most rows that are listed of those that only the champion answers correctly; the surest answers first."""
_SETTING_LENGTH = 120
_SAMPLE_LENGTH = 300
"""Characters of a sample, as Dagster's database gets it too."""
_MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1", "cost": "mean cost"}
"""Measures of a decision threshold, as people call them."""
_GOALS = {
    "f1": "the best F1",
    "precision": "the best precision at the recall that is demanded",
    "recall": "the best recall at the precision that is demanded",
    "cost": "the lowest mean cost",
}
_CONDITIONS = {
    "floor": "Reaches the floor",
    "baseline": "Better than the baseline",
    "champion": "Not worse than the champion",
    "proven": "Proven against the champion",
    "reference": "Not worse than the reference champion",
    "reference_proven": "Proven against the reference champion",
    "slices": "Not worse on any slice",
    "calibration": "Knows how sure it is",
    "rolled_back": "Was not rolled back",
    "servable": "Loads without freshtune",
    "size": "Size",
    "latency": "Latency",
}

Json = dict[str, Any]


def write(
    build: Build,
    decision: Mapping[str, Any],
    metrics: Mapping[str, Any],
    account: Mapping[str, int],
    same_rows: SameRows | None,
) -> None:
    """Write `decision.json` and `card.md` into the content, and both reports into the trace.

    Args:
        build: inputs `splits`, `model` and `evaluation`, the measurements of all earlier steps and the promotion log.
        decision: what `decision.json` holds.
        metrics: the challenger's `metrics.json`.
        account: account of rows, from `row_account`.
        same_rows: challenger and champion on the same rows; None without another champion.
    """
    from assets.release.templates import render

    evaluation, labels = build.inputs["evaluation"], metrics["confusion"]["labels"]
    base = build.settings.get("base_model", {})
    context = {
        "pipeline": build.pipeline,
        "decision": decision,
        "metrics": metrics,
        "intervals": metrics.get("intervals", {}),
        "baseline_intervals": metrics["baseline"].get("intervals", {}),
        "labels": labels,
        "measured": build.measurements,
        "account": account,
        "architecture": _read_json(build.inputs["model"] / "model" / "config.json")["architectures"][0],
        "base_model": "@".join(filter(None, (base.get("name"), base.get("revision")))),
        "warm_start": in_words(start) if (start := build.measurements["model"].get("start")) else "",
        "digests": dict(build.digests),
        "made_of": _made_of(build.ingredients),
        "findings": _read_if_there(evaluation / "findings.json"),
        "slices": _slices(_read_if_there(evaluation / "slices.json"), decision),
        "calibration": _read_if_there(evaluation / "calibration.json"),
        "thresholds": _thresholds(_read_if_there(evaluation / "thresholds.json")),
        "confusions": _read_if_there(evaluation / "confusions.json"),
    }
    write_json(build.content / "decision.json", decision)
    (build.content / "card.md").write_text(render("card.md.j2", context), encoding="utf-8")
    page = {**context, **_of_the_page(build, context, same_rows)}
    (build.trace / REPORT).write_text(render("report.html.j2", page), encoding="utf-8")
    samples = build.settings.get("evaluation", {}).get("samples", 0)
    page["answers"] = _samples(page["answers"], samples)
    page["texts_left_out"] = len(page["answers"]) > samples
    (build.trace / FOR_REGISTRY).write_text(render("report.html.j2", page), encoding="utf-8")


def _of_the_page(build: Build, context: Json, same_rows: SameRows | None) -> Json:
    """What the report has and the card has not."""
    from markupsafe import Markup

    from assets.release import plots
    from assets.release.templates import span

    decision, metrics, metric = context["decision"], context["metrics"], context["decision"]["metric"]
    metric_name = gate.METRIC_NAMES[metric]
    history = _read_json(build.inputs["model"] / HISTORY)
    flips = _flips(build, decision, same_rows)
    releases = _releases(build, decision, context["intervals"].get(metric))
    drawn = {
        "confusion_plot": plots.confusion(context["labels"], metrics["confusion"]["matrix"]),
        "curve_plot": plots.curve(history, metric, metric_name),
    }
    if calibration := context["calibration"]:
        drawn["reliability_plot"] = plots.reliability(calibration)
    if thresholds := context["thresholds"]:
        drawn["threshold_plot"] = plots.thresholds(thresholds["curve"], thresholds["drawn"], thresholds["chosen"])
    if len(releases) > 1:
        drawn["releases_plot"] = plots.releases(releases, metric_name)
    page = {
        "texts_left_out": False,
        "history": history,
        "same_rows": same_rows,
        "compared": (same_rows.challenger if same_rows else None) or {},
        "reasons": [_reason(comparison, context["intervals"]) for comparison in decision["comparisons"]],
        "metric_span": span(
            *(metrics[name] for name in gate.METRIC_NAMES),
            *(decision["baseline"][name] for name in gate.METRIC_NAMES),
            *(bound for bounds in context["intervals"].values() for bound in bounds),
        ),
        "slice_span": span(
            metrics[metric],
            *(bound for each in context["slices"] for bound in (each["value"], *(each["interval"] or ()))),
        ),
        "slices_compared": any(each["compared"] for each in context["slices"]),
        "flips": flips,
        "answers": _answers(build.inputs["evaluation"], flips),
        "with_intervals": any(point["low"] is not None for point in releases),
        "log": build.log[: -_ENTRIES_IN_REPORT - 1 : -1],
        "decided_at": f"{datetime.now(UTC):%-d %B %Y, %H:%M} UTC",
        "releases_plot": "",
        # Ours, with every text in them escaped.
        **{name: Markup(svg) for name, svg in drawn.items()},  # noqa: S704
        **frame(),
    }
    return {**page, "sections": _sections({**context, **page})}


def _sections(page: Json) -> dict[str, str]:
    """Headings of the sections that the page has, by their anchors."""
    sections = {
        "why": ("Why", True),
        "findings": ("Strengths and weaknesses", page["findings"]),
        "metrics": ("Metrics", True),
        "slices": ("Slices", page["slices"]),
        "confusions": ("Confusions", True),
        "errors": ("Errors", True),
        "calibration": ("Calibration", page["calibration"]),
        "threshold": ("Decision threshold", page["thresholds"]),
        "data": ("Data", True),
        "drift": ("Drift", "drift" in page["measured"]),
        "quality": ("New rows", "quality" in page["measured"]),
        "training": ("Training", True),
        "releases": ("Earlier decisions", page["log"]),
        "lineage": ("What it was made from", True),
    }
    return {anchor: title for anchor, (title, there) in sections.items() if there}


def _reason(comparison: Mapping[str, Any], intervals: Mapping[str, Any]) -> Json:
    """A comparison as the page shows it: a difference with its interval where the gate judged one, else the value."""
    from assets.release.templates import span

    title = _CONDITIONS.get(comparison["name"]) or str(comparison["name"]).replace("_", " ").capitalize()
    value, limit, interval = comparison["value"], comparison["limit"], comparison.get("interval")
    shown = {"title": title, "message": comparison["message"], "passed": comparison["passed"], "value": value}
    if value is None or limit is None:
        return {**shown, "value": None, "method": None}
    difference = comparison.get("difference")
    if difference is not None:
        # From the other model's value: what the difference must reach.
        limit = limit - value + difference
        shown["value"] = value = difference
    met = "met" if comparison["passed"] else "not met"
    return {
        **shown,
        "is_difference": difference is not None,
        "interval": interval,
        "limit": limit,
        "most": difference is None and (value < limit) == comparison["passed"] and value != limit,
        "method": comparison.get("method"),
        "span": span(value, limit, *(interval or ())),
        "said": f"{title}: measured {value:.4f}, needed {limit:.4f}, {met}",
    }


def _slices(slices: Sequence[Json] | None, decision: Mapping[str, Any]) -> list[Json]:
    """Slices with the metric of the gate, and how the champion does on them."""
    compared = {each["name"]: each for each in decision.get("slices") or ()}
    metric = decision["metric"]
    return [
        {
            **each,
            "value": each["metrics"].get(metric),
            "interval": each["intervals"].get(metric),
            "compared": compared.get(each["name"]),
        }
        for each in slices or ()
    ]


def _thresholds(thresholds: Json | None) -> Json | None:
    """Decision thresholds with their measures, and what each point of the curve says to whoever tries one."""
    if not thresholds or not thresholds["curve"]:
        return None
    there = {name: title for name, title in _MEASURES.items() if name in thresholds["curve"][0]}

    def said(point: Mapping[str, float]) -> str:
        return f"{point['threshold']:.3f}: {', '.join(f'{title} {point[name]:.4f}' for name, title in there.items())}"

    points = [{"threshold": point["threshold"], "said": said(point)} for point in thresholds["curve"]]
    goal = thresholds["goal"]
    return {
        **thresholds,
        "goal_said": _GOALS.get(goal, goal),
        "measures": there,
        # Costs have a scale of their own, and where they are the goal nothing else decided.
        "drawn": {name: title for name, title in there.items() if (name == "cost") == (goal == "cost")},
        "points": _inline_json(points),
    }


def _inline_json(value: object) -> Any:
    """JSON that nothing in it can end: no `<` that a parser of HTML could take for the end of the script."""
    from markupsafe import Markup

    text = canonical_json(value).decode("utf-8")
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))  # noqa: S704


def _flips(build: Build, decision: Mapping[str, Any], same_rows: SameRows | None) -> Json | None:
    """Where challenger and champion answer differently, with the texts of rows that only the champion gets right."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not same_rows or not same_rows.champion:
        return None
    found: Json = {
        "compared": same_rows.rows,
        "only_challenger": same_rows.only_challenger,
        "only_champion": same_rows.only_champion,
        "both_wrong_differently": same_rows.both_wrong_differently,
        "rows": (decision.get("flips") or {}).get("rows", []),
        "answers": [],
    }
    if found["rows"]:
        import pyarrow as pa

        from assets.splits.rows import read_groups

        predictions = pq.read_table(build.inputs["evaluation"] / "predictions.parquet")
        predictions = predictions.filter(pc.is_in(predictions["row_id"], value_set=pa.array(found["rows"])))
        side = read_groups(build.inputs["splits"], "test")
        texts = dict(zip(side["row_id"].to_pylist(), side["text"].to_pylist(), strict=True))
        rows = predictions.select(["row_id", "label", "predicted", "confidence"]).to_pylist()
        rows.sort(key=lambda row: (-row["confidence"], row["row_id"]))
        found["answers"] = [{**row, "text": texts[row["row_id"]], "flip": True} for row in rows[:_FLIPS]]
    return {**found, "shown": len(found["answers"])}


def _answers(evaluation: Path, flips: Json | None) -> list[Json]:
    """Wrong answers for the table, the surest first: the most confident ones, and those that the champion has right."""
    rows = {row["row_id"]: row for row in (flips["answers"] if flips else ())}
    flipped = set(flips["rows"]) if flips else set()
    for error in _read_json(evaluation / "errors.json"):
        rows.setdefault(error["row_id"], {**error, "flip": error["row_id"] in flipped})
    return sorted(rows.values(), key=lambda row: (-row["confidence"], row["row_id"]))


def _samples(answers: Sequence[Json], allowed: int) -> list[Json]:
    """The same answers with no more of their texts than `evaluation.samples` lets out of the store."""
    return [
        {**each, "text": each["text"][:_SAMPLE_LENGTH] if place < allowed else None}
        for place, each in enumerate(answers)
    ]


def _releases(build: Build, decision: Mapping[str, Any], interval: Sequence[float] | None) -> list[Json]:
    """The metric of the last decisions and of this one, the oldest first; those that are gone are left out."""
    metric = decision["metric"]
    points = []
    entries = [entry for entry in build.log if entry.fields["kind"] == "decision"]
    for entry in entries[1 - _RELEASES_IN_REPORT :]:
        earlier = _decision(build, entry)
        if earlier is not None:
            low, high = earlier.get("intervals", {}).get(metric) or (None, None)
            name = f"{entry.number} · {entry.fields['when'][:10]}"
            value = earlier["metrics"][metric]
            points.append({"name": name, "decision": earlier["decision"], "value": value, "low": low, "high": high})
    low, high = interval or (None, None)
    value = decision["metrics"][metric]
    return [*points, {"name": "this one", "decision": decision["decision"], "value": value, "low": low, "high": high}]


def _decision(build: Build, entry: LogEntry) -> Json | None:
    """What an earlier decision wrote down; None where the store has it no more, as after a collection of garbage."""
    assert build.stored is not None
    try:
        found: Json = _read_json(build.stored(entry.fields["release"]["content"]) / "decision.json")
    except DamagedError:
        return None
    return found


def _made_of(ingredients: Mapping[str, Mapping[str, Any]]) -> list[Json]:
    """What the result of each step was made from, for people."""

    def said(value: object) -> str:
        text = canonical_json(value).decode("utf-8")
        return text if len(text) <= _SETTING_LENGTH else f"{text[: _SETTING_LENGTH - 1]}…"

    return [
        {
            "step": step,
            "code": code_digest(made["code"]),
            "inputs": made["inputs"],
            "environment": made["environment"],
            "settings": {name: said(value) for name, value in sorted(made["configuration"].items())},
        }
        for step, made in ingredients.items()
    ]


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_if_there(path: Path) -> Any:
    """JSON of a file that results of earlier versions, or without the setting for it, do not have."""
    return _read_json(path) if path.is_file() else None
