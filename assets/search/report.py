"""What a search leaves for people: a page, pictures for Dagster, and the trials as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assets.pages.page import REPORT
from assets.search import plots
from assets.store.digests import write_json

NAMES = {
    "loss": "loss",
    "accuracy": "accuracy",
    "f1_macro": "macro F1",
    "precision_macro": "macro precision",
    "recall_macro": "macro recall",
}
"""Metrics of the validation side, as people call them."""
_BESIDE = ("loss", "accuracy", "f1_macro")
"""Those that the table has, beside the score."""

Json = dict[str, Any]


def write(
    trace: Path,
    trials: Sequence[Json],
    best: int,
    *,
    pipeline: str,
    select_by: str,
    seeds: int,
    space: Mapping[str, Mapping[str, Any]],
    present: Mapping[str, Any],
    importance: Mapping[str, float] | None,
) -> None:
    """Write `report.html`, `trials.json` and pictures.

    Args:
        trace: where to.
        trials: for each `number` (from 1), `outcome` (`trained`, `stopped early`, `failed`), `settings`, `score` (None
            if it has none), `measured` (metrics at the kept epoch, or None), `epochs`, `seconds`, `known` (nothing was
            trained for it), `why` (it failed, or "").
        best: number of the best one.
        pipeline: the pipeline's name.
        select_by: metric that is the score.
        seeds: trainings of each trial.
        space: dotted path → what `search.space` declares.
        present: dotted path → value under `training`.
        importance: dotted path → share, or None where too few trials tell.
    """
    minimise = select_by == "loss"
    ordered = {path: space[path] for path in sorted(space)}
    name = f"validation {NAMES[select_by]}"
    charts = {
        "history": (plots.history(trials, best, name, minimise=minimise), f"{name} of each trial, and the best so far"),
        "parallel": (
            plots.parallel(trials, ordered, best, name, minimise=minimise),
            "Settings and score of each trial as a line",
        ),
    }
    if importance is not None:
        charts["importance"] = (plots.importance(importance), "Importance of each setting")
    write_json(trace / "trials.json", list(trials))
    page = _page(charts, trials, best, ordered, select_by, name)
    configured = next((trial for trial in trials if trial["settings"] == dict(present)), None)
    page |= {"pipeline": pipeline, "seeds": seeds, "configured": configured}
    (trace / REPORT).write_text(_render(page), encoding="utf-8")
    _draw(trace, {chart: spec for chart, (spec, _) in charts.items()})


def _page(
    charts: Mapping[str, tuple[Json, str]],
    trials: Sequence[Json],
    best: int,
    space: Mapping[str, Any],
    select_by: str,
    name: str,
) -> Json:
    from markupsafe import Markup

    from assets.pages.charts import svg
    from assets.pages.page import frame

    # Ours, with every text in them escaped.
    drawn = {f"{chart}_plot": Markup(svg(spec, title)) for chart, (spec, title) in charts.items()}  # noqa: S704
    outcomes = [trial["outcome"] for trial in trials]
    counts = {outcome: outcomes.count(outcome) for outcome in ("trained", "stopped early", "failed")}
    return {
        "importance_plot": "",
        **drawn,
        **frame(),
        "trials": trials,
        "best": trials[best - 1],
        "counts": {**counts, "known": sum(trial["known"] for trial in trials)},
        "space": space,
        "names": NAMES,
        "others": [metric for metric in _BESIDE if metric != select_by and metric in trials[best - 1]["measured"]],
        "score_name": name,
        "minimise": select_by == "loss",
        "no_importance": "One setting was searched for: there is nothing to compare it with."
        if len(space) == 1
        else "Too few trials were trained to the end, or their scores are too alike, to tell the settings apart.",
        "finished_at": f"{datetime.now(UTC):%-d %B %Y, %H:%M} UTC",
    }


def _render(page: Json) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": "{:.4f}".format,
        "value": plots.written,
        "short": plots.short,
        "yaml": _yaml,
    }
    return environment.get_template("report.html.j2").render(page)


def _yaml(value: Any) -> str:
    """A plain value as YAML; JSON is YAML, but for how it writes small numbers: `1e-05` is a text to some readers."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("e", ".0e", 1) if isinstance(value, float) and "e" in text and "." not in text else text


def _draw(trace: Path, charts: Mapping[str, Json]) -> None:
    from assets.pages.charts import png

    for name, spec in charts.items():
        (trace / f"{name}.png").write_bytes(png(spec))
