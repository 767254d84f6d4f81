"""The charts of the search's report, as Vega-Lite specifications; see `assets.pages.charts`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from assets.pages.charts import ACCENT, INK, LINE, MUTED, PAGE, SECOND, Spec

Trial = Mapping[str, Any]
"""See `assets.search.report.write`."""

_WIDTH = 560
_REACH = 3.0
"""A score that is worse than the worst of three quarters by more than so many times what the best is better than that
stands at the edge."""


def history(trials: Sequence[Trial], best: int, score_name: str, *, minimise: bool) -> Spec:
    """The score of every trial, and the best one so far."""
    sign = 1 if minimise else -1
    points: list[dict[str, Any]] = []
    so_far: list[dict[str, Any]] = []
    for trial in trials:
        if trial["score"] is not None:
            kind = "trained" if trial["outcome"] == "trained" else "stopped early"
            points.append({"trial": trial["number"], "score": trial["score"], "kind": kind, "said": said(trial)})
            if kind == "trained" and (not so_far or sign * trial["score"] < sign * so_far[-1]["score"]):
                so_far.append({"trial": trial["number"], "score": trial["score"]})
    so_far.append({**so_far[-1], "trial": trials[-1]["number"]})
    x = {
        "field": "trial",
        "type": "quantitative",
        "axis": {"grid": False, "format": "d", "tickMinStep": 1, "title": "trial"},
        "scale": {"domain": [0, trials[-1]["number"] + 1], "nice": False},
    }
    y = {
        "field": "score",
        "type": "quantitative",
        "axis": {"title": score_name, "tickCount": 5},
        "scale": {"domain": _domain(trials, sign), "clamp": True, "nice": False},
    }
    kinds = {"field": "kind", "type": "nominal"}
    domain = ["trained", "stopped early"]
    return {
        "width": _WIDTH,
        "height": 220,
        "layer": [
            {
                "data": {"values": so_far},
                "mark": {"type": "line", "interpolate": "step-after", "color": ACCENT, "aria": False},
                "encoding": {"x": x, "y": y},
            },
            {
                "data": {"values": points},
                "mark": {"type": "point", "filled": True, "opacity": 1, "size": 60},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": {**kinds, "scale": {"domain": domain, "range": [ACCENT, SECOND]}},
                    "shape": {**kinds, "scale": {"domain": domain, "range": ["circle", "cross"]}},
                    "description": {"field": "said"},
                },
            },
            {
                "data": {"values": [point for point in points if point["trial"] == best]},
                "mark": {"type": "point", "filled": False, "color": ACCENT, "size": 300, "opacity": 1, "aria": False},
                "encoding": {"x": x, "y": y},
            },
        ],
    }


def importance(shares: Mapping[str, float]) -> Spec:
    """How much of the score's variation each setting accounts for."""
    values = [
        {"setting": short(path), "share": share, "said": f"{short(path)}: {share:.0%}"}
        for path, share in sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    ]
    y = {"field": "setting", "type": "nominal", "sort": None, "axis": {"title": None, "labelLimit": 260}}
    x = {
        "field": "share",
        "type": "quantitative",
        "axis": {"title": "share of the importance", "format": ".0%", "tickCount": 5},
        "scale": {"domain": [0, 1]},
    }
    return {
        "width": _WIDTH - 160,
        "height": {"step": 30},
        "data": {"values": values},
        "encoding": {"y": y},
        "layer": [
            {
                "mark": {"type": "bar", "color": ACCENT, "height": 16},
                "encoding": {"x": x, "description": {"field": "said"}},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "color": INK, "fontSize": 12, "aria": False},
                "encoding": {"x": x, "text": {"field": "share", "format": ".0%"}},
            },
        ],
    }


def parallel(
    trials: Sequence[Trial],
    space: Mapping[str, Mapping[str, Any]],
    best: int,
    score_name: str,
    *,
    minimise: bool,
) -> Spec:
    """Every trial that has a score as a line over one axis for each setting, and one for the score, best at the top."""
    low, high = _domain(trials, 1 if minimise else -1)
    names = [*(short(path) for path in space), score_name]
    lines, dots = [], []
    for trial in trials:
        if trial["score"] is not None:
            share = min(max((trial["score"] - low) / (high - low), 0.0), 1.0)
            quality = 1 - share if minimise else share
            heights = [*(place(declared, trial["settings"][path]) for path, declared in space.items()), quality]
            kind = "best" if trial["number"] == best else trial["outcome"]
            row = {"trial": trial["number"], "quality": quality, "kind": kind}
            lines += [{**row, "axis": name, "height": height} for name, height in zip(names, heights, strict=True)]
            dots.append({**lines[-1], "said": said(trial)})
    ticks = [
        {"axis": short(path), "height": place(declared, value), "text": written(value)}
        for path, declared in space.items()
        for value in _told(declared)
    ]
    ends = (high, low) if minimise else (low, high)
    ticks += [{"axis": score_name, "height": at, "text": f"{end:.3g}"} for at, end in enumerate(ends)]
    heads = {"labelAngle": 0, "labelFontWeight": "bold", "labelLimit": 145, "labelPadding": 8, "orient": "top"}
    x = {
        "field": "axis",
        "type": "nominal",
        "sort": None,
        "scale": {"type": "point", "domain": names, "padding": 0.4},
        "axis": {"title": None, "domain": False, "ticks": False, "grid": False, **heads},
    }
    # Room for numbers at the ends.
    y = {"field": "height", "type": "quantitative", "axis": None, "scale": {"domain": [-0.03, 1.03], "nice": False}}

    def marks(values: Sequence[Mapping[str, Any]], kind: str | None, mark: Spec, **encoding: Any) -> Spec:
        return {
            "data": {"values": [value for value in values if kind is None or value["kind"] == kind]},
            "mark": {"aria": False, **mark},
            "encoding": {"x": x, "y": y, **encoding},
        }

    per_trial = {"field": "trial"}
    fading = {"field": "quality", "type": "quantitative", "scale": {"range": [0.15, 0.9]}, "legend": None}
    dashed = {"type": "line", "color": MUTED, "strokeWidth": 1, "strokeDash": [3, 3], "strokeOpacity": 0.6}
    text = {"type": "text", "align": "right", "dx": -8, "fontSize": 11.5}
    colours = {"best": SECOND, "trained": ACCENT, "stopped early": MUTED}
    axes = [{"axis": name, "height": 0, "top": 1} for name in names]
    return {
        "width": max(_WIDTH, 150 * len(names)),
        "height": 280,
        "layer": [
            marks(axes, None, {"type": "rule", "color": LINE, "strokeWidth": 1.5}, y2={"field": "top"}),
            marks(lines, "stopped early", dashed, detail=per_trial),
            marks(
                lines,
                "trained",
                {"type": "line", "color": ACCENT, "strokeWidth": 1.5},
                detail=per_trial,
                strokeOpacity=fading,
            ),
            marks(lines, "best", {"type": "line", "color": SECOND, "strokeWidth": 3}, detail=per_trial),
            *(
                marks(
                    dots,
                    kind,
                    {"type": "point", "filled": True, "size": 45, "opacity": 1, "color": colour, "aria": True},
                    description={"field": "said"},
                )
                for kind, colour in reversed(colours.items())
            ),
            # Once in the colour of the page, so that no line runs through a number.
            marks(ticks, None, {**text, "stroke": PAGE, "strokeWidth": 5}, text={"field": "text"}),
            marks(ticks, None, {**text, "color": INK}, text={"field": "text"}),
        ],
    }


def said(trial: Trial) -> str:
    """A trial in words."""
    settings = ", ".join(f"{short(path)} {written(value)}" for path, value in trial["settings"].items())
    score = "no score" if trial["score"] is None else f"{trial['score']:.4f}"
    return f"trial {trial['number']}, {trial['outcome']}: {score}; {settings}"


def short(path: str) -> str:
    """A setting's name without the section that all of them are in."""
    return path.partition(".")[2]


def place(declared: Mapping[str, Any], value: Any) -> float:
    """Where a value stands on its axis, from 0 to 1."""
    if declared["choices"] is not None:
        choices = [written(choice) for choice in declared["choices"]]
        return choices.index(written(value)) / (len(choices) - 1)
    low, high = declared["low"], declared["high"]
    if declared["log"]:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return float((value - low) / (high - low))


def _told(declared: Mapping[str, Any]) -> list[Any]:
    """Values that are written on an axis."""
    if declared["choices"] is not None:
        return list(declared["choices"])
    low, high = declared["low"], declared["high"]
    if declared["step"] is not None:
        return [low, high]
    middle = math.sqrt(low * high) if declared["log"] else (low + high) / 2
    return [low, middle, high]


def written(value: Any) -> str:
    """A value for people."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _domain(trials: Sequence[Trial], sign: int) -> tuple[float, float]:
    """What the axis of scores spans: a few bad ones, or those after few epochs, must not press the rest together."""
    scores = [sign * trial["score"] for trial in trials if trial["outcome"] == "trained"]
    best, most, worst = min(scores), sorted(scores)[3 * (len(scores) - 1) // 4], max(scores)
    if most > best:
        worst = min(worst, most + _REACH * (most - best))
    room = 0.08 * (worst - best) or 0.01
    low, high = sorted((sign * (best - room), sign * (worst + room)))
    return low, high
