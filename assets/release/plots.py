"""The charts of the report; see `assets.pages.charts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from assets.pages.charts import ACCENT, INK, LINE, MUTED, ON_ACCENT, SECOND, THIRD, Spec, svg

_MOST_LABELS_WITH_SHARES = 8
_MOST_LABELS_WITH_NUMBERS = 20
_WIDTH = 440
"""Of most charts, in pixels: on a narrow screen they shrink with their text, which must stay legible."""
_MOST_POINTS = 60
"""Points of a line that say their numbers; more lie so close that nobody could choose among them."""
_MOST_STEPS = 400
"""Steps of a training curve that are drawn; more than there are pixels only make the page larger."""


def confusion(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix, shaded by the share of each true label.

    Args:
        labels: names of the classes.
        matrix: counts, a row for each true label, a column for each predicted one.

    Returns:
        An `<svg>` element.
    """
    many = len(labels)
    cells = []
    for true, counts in zip(labels, matrix, strict=True):
        total = sum(counts)
        for answer, count in zip(labels, counts, strict=True):
            if count or many <= _MOST_LABELS_WITH_SHARES:
                share = count / total if total else 0.0
                # Without a number on it a cell must be seen even where its share is small.
                shade = share if many <= _MOST_LABELS_WITH_NUMBERS or not count else 0.15 + 0.85 * share
                numbers = f"{count:,}" if many > _MOST_LABELS_WITH_SHARES else f"{count:,}\n{share:.1%}"
                said = f"true {true}, answered {answer}: {_rows(count)}, {share:.1%} of {true}"
                cells.append({"true": true, "answer": answer, "shade": shade, "numbers": numbers, "said": said})
    cell = next(size for most, size in ((4, 88), (8, 64), (20, 36), (40, 22), (10**9, 14)) if many <= most)
    small = many > _MOST_LABELS_WITH_NUMBERS

    def axis(title: str, **more: Any) -> Spec:
        style = {
            "grid": False,
            "ticks": False,
            "domain": False,
            "labelLimit": 130,
            "labelFontSize": 10 if small else 12,
        }
        # Every label is named, however close they come: Vega would leave some of them out.
        return {"axis": {"title": title, "labelOverlap": False, **style, **more}}

    layers: list[Spec] = [
        {
            "mark": {"type": "rect", "color": ACCENT, "stroke": LINE, "strokeOpacity": 1, "strokeWidth": 0.5},
            "encoding": {
                "fillOpacity": {"field": "shade", "type": "quantitative", "scale": None},
                "description": {"field": "said"},
            },
        }
    ]
    if not small:
        ink = {"condition": {"test": "datum.shade > 0.6", "value": ON_ACCENT}, "value": INK}
        layers.append(
            {
                "mark": {
                    "type": "text",
                    "lineBreak": "\n",
                    "baseline": "middle",
                    "dy": 0,
                    "fontSize": 12,
                    "aria": False,
                },
                "encoding": {"text": {"field": "numbers"}, "color": ink},
            }
        )
    # About seven pixels a letter.
    tilted = {"labelAngle": 0 if 7 * max(map(len, labels)) < cell else -45}
    return svg(
        {
            "data": {"values": cells},
            "width": {"step": cell},
            "height": {"step": cell},
            "encoding": {
                "x": {"field": "answer", "scale": {"domain": list(labels), "padding": 0}, **axis("answer", **tilted)},
                "y": {"field": "true", "scale": {"domain": list(labels), "padding": 0}, **axis("true label")},
            },
            "layer": layers,
        },
        "Confusion matrix: true labels in rows, answers in columns",
    )


def curve(history: Mapping[str, Any], metric: str, metric_name: str) -> str:
    """Draw the training curve: loss at each step, and what the validation set said after each epoch.

    Args:
        history: `steps` and `epochs` as the model's `history.json` has them, and `best_epoch`.
        metric: validation metric to draw.
        metric_name: what people call it.

    Returns:
        An `<svg>` element.
    """
    steps, epochs, best = history["steps"], history["epochs"], history["best_epoch"]
    every = max(1, -(-len(steps) // _MOST_STEPS))
    told = [
        {
            "step": epoch["step"],
            "loss": epoch["loss"],
            "value": epoch[metric],
            "used": epoch["epoch"] == best,
            "said": f"epoch {epoch['epoch']}, step {epoch['step']:,}: validation loss {epoch['loss']:.4f}, "
            f"{metric_name} {epoch[metric]:.4f}{', used' if epoch['epoch'] == best else ''}",
        }
        for epoch in epochs
    ]
    x: Spec = {
        "field": "step",
        "type": "quantitative",
        "axis": {"grid": False, "format": ",d", "tickMinStep": 1, "tickCount": 6},
        "scale": {"domain": [0, max(epoch["step"] for epoch in epochs)], "nice": False},
    }
    values = [point["value"] for point in told]
    # No point is cut in half at 1, which no metric exceeds.
    room = max(0.25 * (max(values) - min(values)), 0.005)
    domain = [max(min(values) - room, 0.0), min(max(values) + room, 1.0)]

    def points(field: str, title: str, colour: str, scale: Spec) -> list[Spec]:
        y = {"field": field, "type": "quantitative", "axis": {"title": title, "tickCount": 4}, "scale": scale}
        return [
            {"mark": {"type": "line", "color": colour, "aria": False}, "encoding": {"x": x, "y": y}},
            {
                "mark": {"type": "point", "filled": True, "color": colour, "opacity": 1, "size": 60},
                "encoding": {"x": x, "y": y, "description": {"field": "said"}},
            },
        ]

    loss = {
        "data": {"values": [{"step": each["step"], "loss": each["loss"]} for each in steps[::every]]},
        "mark": {"type": "line", "color": MUTED, "strokeWidth": 1, "opacity": 0.8, "aria": False},
        "encoding": {
            "x": {**x, "axis": {**x["axis"], "title": None}},
            "y": {"field": "loss", "type": "quantitative", "axis": {"title": "loss", "tickCount": 4}},
        },
    }
    ring = {
        "transform": [{"filter": "datum.used"}],
        "mark": {"type": "point", "filled": False, "color": ACCENT, "size": 260, "opacity": 1, "aria": False},
        "encoding": {"x": x, "y": {"field": "value", "type": "quantitative"}},
    }
    below = points("value", metric_name, ACCENT, {"domain": domain, "nice": False})
    return svg(
        {
            "spacing": 18,
            "vconcat": [
                {
                    "title": "loss: training (grey), validation (dots)",
                    "width": _WIDTH,
                    "height": 110,
                    "layer": [loss, {"data": {"values": told}, "layer": points("loss", "loss", SECOND, {})}],
                },
                {
                    "title": f"{metric_name} on validation; ringed: epoch {best}, used",
                    "width": _WIDTH,
                    "height": 110,
                    "data": {"values": told},
                    "layer": [*below, ring],
                },
            ],
        },
        f"Training curve: loss by step, and {metric_name} of the validation set after each epoch",
    )


def reliability(calibration: Mapping[str, Any]) -> str:
    """Draw a reliability diagram: how often answers of some confidence are right, before and after calibration.

    Args:
        calibration: `before` and `after`, each with `bins` as `calibration.json` has them.

    Returns:
        An `<svg>` element.
    """
    points = [
        {
            "confidence": each["confidence"],
            "right": each["accuracy"],
            "rows": each["rows"],
            "series": f"{series} calibration",
            "said": f"{series} calibration, confidence {each['low']:.2f} – {each['high']:.2f}: {_rows(each['rows'])}, "
            f"mean confidence {each['confidence']:.1%}, {each['accuracy']:.1%} right",
        }
        for series in ("before", "after")
        for each in calibration[series]["bins"]
        if each["rows"]
    ]
    domain = ["before calibration", "after calibration"]
    x, y = (
        {
            "field": field,
            "type": "quantitative",
            "axis": {"title": title, "format": ".0%", "tickCount": 5},
            "scale": {"domain": [0, 1]},
        }
        for field, title in (("confidence", "confidence"), ("right", "answers that are right"))
    )
    series = {"field": "series", "type": "nominal", "scale": {"domain": domain}}
    colour = {**series, "scale": {"domain": domain, "range": [SECOND, ACCENT]}}
    return svg(
        {
            "width": 320,
            "height": 320,
            "layer": [
                {
                    "data": {"values": [{"at": 0}, {"at": 1}]},
                    "mark": {"type": "line", "color": MUTED, "strokeDash": [4, 4], "strokeWidth": 1, "aria": False},
                    "encoding": {
                        "x": {"field": "at", "type": "quantitative"},
                        "y": {"field": "at", "type": "quantitative"},
                    },
                },
                {
                    "data": {"values": points},
                    "encoding": {"x": x, "y": y, "color": colour},
                    "layer": [
                        {
                            "mark": {"type": "line", "strokeWidth": 1.5, "aria": False},
                            "encoding": {
                                "strokeDash": {**series, "scale": {"domain": domain, "range": [[5, 3], [1, 0]]}}
                            },
                        },
                        {
                            "mark": {"type": "point", "filled": True, "opacity": 1},
                            "encoding": {
                                "shape": {**series, "scale": {"domain": domain, "range": ["diamond", "circle"]}},
                                "size": {
                                    "field": "rows",
                                    "type": "quantitative",
                                    "scale": {"range": [40, 260]},
                                    "legend": None,
                                },
                                "description": {"field": "said"},
                            },
                        },
                    ],
                },
            ],
        },
        "Reliability diagram: share of right answers by confidence, before and after calibration",
    )


def thresholds(curve: Sequence[Mapping[str, float]], measures: Mapping[str, str], chosen: float) -> str:
    """Draw what each decision threshold would give on the validation set.

    Args:
        curve: a point for each threshold: `threshold` and the measures by name.
        measures: names of measures → what people call them; at most three.
        chosen: threshold that is used.

    Returns:
        An `<svg>` element.
    """
    ordered = sorted(curve, key=lambda point: point["threshold"])
    every = max(1, -(-len(ordered) // _MOST_POINTS))

    def told(point: Mapping[str, float]) -> str:
        return ", ".join(f"{title} {point[name]:.4f}" for name, title in measures.items())

    lines = [
        {
            "threshold": point["threshold"],
            "measure": title,
            "value": point[name],
            "told": place % every == 0,
            "said": f"threshold {point['threshold']:.3f}: {told(point)}",
        }
        for place, point in enumerate(ordered)
        for name, title in measures.items()
    ]
    domain = list(measures.values())
    x = {
        "field": "threshold",
        "type": "quantitative",
        "axis": {"title": "threshold", "grid": False, "tickCount": 6, "labelFlush": False},
    }
    y = {"field": "value", "type": "quantitative", "axis": {"title": None, "tickCount": 5}, "scale": {"zero": False}}
    series = {"field": "measure", "type": "nominal"}
    colours = [ACCENT, SECOND, THIRD][: len(domain)]
    dashes = [[1, 0], [6, 3], [2, 2]][: len(domain)]
    return svg(
        {
            "width": _WIDTH,
            "height": 240,
            "layer": [
                {
                    "data": {"values": lines},
                    "encoding": {"x": x, "y": y, "color": {**series, "scale": {"domain": domain, "range": colours}}},
                    "layer": [
                        {
                            "mark": {"type": "line", "aria": False},
                            "encoding": {"strokeDash": {**series, "scale": {"domain": domain, "range": dashes}}},
                        },
                        {
                            "transform": [{"filter": "datum.told"}],
                            "mark": {"type": "point", "filled": True, "size": 30, "opacity": 1},
                            "encoding": {"description": {"field": "said"}},
                        },
                    ],
                },
                {
                    "data": {"values": [{"at": chosen}]},
                    "mark": {"type": "rule", "color": INK, "strokeDash": [3, 3], "aria": False},
                    "encoding": {"x": {"field": "at", "type": "quantitative"}},
                },
                {
                    "data": {"values": [{"at": chosen, "text": f"in use: {chosen:.3f}"}]},
                    "mark": {
                        "type": "text",
                        "y": -6,
                        "fontSize": 12,
                        "aria": False,
                        "color": INK,
                        # Away from the nearer end, where the labels of the axis are.
                        "align": "left" if chosen < fmean(ordered[at]["threshold"] for at in (0, -1)) else "right",
                    },
                    "encoding": {"x": {"field": "at", "type": "quantitative"}, "text": {"field": "text"}},
                },
            ],
        },
        f"What each decision threshold gives on the validation set: {', '.join(domain)}",
    )


def releases(points: Sequence[Mapping[str, Any]], metric_name: str) -> str:
    """Draw the metric of each release with its interval, the oldest first.

    Args:
        points: `name` (unique), `decision`, `value`, and `low` and `high` (both may be None).
        metric_name: what people call the metric.

    Returns:
        An `<svg>` element.
    """
    values = []
    for point in points:
        within = "" if point["low"] is None else f" (95 % interval {point['low']:.4f} – {point['high']:.4f})"
        said = f"{point['name']}: {point['decision']}, {metric_name} {point['value']:.4f}{within}"
        values.append({**point, "said": said})
    x = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "scale": {"domain": [point["name"] for point in points]},
        "axis": {"title": None, "labelAngle": 0 if len(points) <= 4 else -45, "grid": False, "labelLimit": 110},
    }
    y = {"type": "quantitative", "scale": {"zero": False}, "axis": {"title": metric_name, "tickCount": 5}}
    kinds = {"promoted": ACCENT, "accepted": ACCENT, "refused": SECOND, "unchanged": MUTED}
    domain = [kind for kind in kinds if any(point["decision"] == kind for point in points)]
    shapes = {"promoted": "circle", "accepted": "diamond", "refused": "cross", "unchanged": "square"}
    decision = {"field": "decision", "type": "nominal"}
    return svg(
        {
            "width": {"step": max(26, min(90, 720 // len(points)))},
            "height": 200,
            "data": {"values": values},
            "encoding": {
                "x": x,
                "color": {**decision, "scale": {"domain": domain, "range": [kinds[kind] for kind in domain]}},
            },
            "layer": [
                {
                    "transform": [{"filter": "isValid(datum.low)"}],
                    "mark": {"type": "rule", "strokeWidth": 2, "aria": False},
                    "encoding": {"y": {"field": "low", **y}, "y2": {"field": "high"}},
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
                    "encoding": {
                        "y": {"field": "value", **y},
                        "shape": {**decision, "scale": {"domain": domain, "range": [shapes[kind] for kind in domain]}},
                        "description": {"field": "said"},
                    },
                },
            ],
        },
        f"{metric_name} of each release with its 95 % interval, the oldest first",
    )


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"
