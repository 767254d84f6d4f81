"""Plots as SVG to be set into a page: they take the page's colours and font, so they read in light, dark and print.

Matplotlib draws with stand-in colours, which are then replaced by the page's CSS variables: `--ink`, `--muted`,
`--line`, `--accent`, `--second` and `--on-accent`.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MUTED, _LINE, _ACCENT, _SECOND, _ON_ACCENT = (f"#0a0b0{digit}" for digit in range(1, 7))
_VARIABLES = {
    _INK: "--ink",
    _MUTED: "--muted",
    _LINE: "--line",
    _ACCENT: "--accent",
    _SECOND: "--second",
    _ON_ACCENT: "--on-accent",
}
_MOST_CELLS_WITH_PERCENT = 8
_MOST_CELLS_WITH_NUMBERS = 20


def confusion(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix, shaded by the share of each true label.

    Args:
        labels: names of the classes.
        matrix: counts, a row for each true label, a column for each predicted one.

    Returns:
        An `<svg>` element.
    """
    from matplotlib.patches import Rectangle

    size = min(4.2 + 0.3 * len(labels), 9.0)
    figure, axes = _figure(size, size * 0.82)
    small = 10 if len(labels) <= _MOST_CELLS_WITH_PERCENT else 7
    for row, counts in enumerate(matrix):
        total = sum(counts)
        for column, count in enumerate(counts):
            share = count / total if total else 0.0
            if count:
                axes.add_patch(Rectangle((column, row), 1, 1, facecolor=_ACCENT, alpha=share, linewidth=0))
            if len(labels) > _MOST_CELLS_WITH_NUMBERS or (count == 0 and len(labels) > _MOST_CELLS_WITH_PERCENT):
                continue
            text = f"{count:,}\n{share:.1%}" if len(labels) <= _MOST_CELLS_WITH_PERCENT else f"{count:,}"
            ink = _ON_ACCENT if share > 0.6 else _INK
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=ink, fontsize=small + 1)
    axes.set(xlim=(0, len(labels)), ylim=(len(labels), 0), xlabel="predicted", ylabel="true")
    ticks = [index + 0.5 for index in range(len(labels))]
    names = [label if len(label) <= 18 else f"{label[:17]}…" for label in labels]
    slanted = len(labels) > 4
    axes.set_xticks(
        ticks,
        names,
        fontsize=small,
        rotation=40 if slanted else 0,
        ha="right" if slanted else "center",
        parse_math=False,
    )
    axes.set_yticks(ticks, names, fontsize=small, parse_math=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(True)
    return _svg(figure, "Confusion matrix: true labels in rows, predicted labels in columns")


def curve(history: Mapping[str, Any], metric: str, metric_name: str) -> str:
    """Draw the training curve: loss at each step, and what the validation set said after each epoch.

    Args:
        history: `steps` and `epochs` as the model's `history.json` has them, and `best_epoch`.
        metric: validation metric to draw.
        metric_name: what people call it.

    Returns:
        An `<svg>` element.
    """
    figure, axes = _figure(5.2, 4.0, rows=2)
    above, below = axes
    steps, epochs = history["steps"], history["epochs"]
    at = [epoch["step"] for epoch in epochs]
    above.plot([step["step"] for step in steps], [step["loss"] for step in steps], color=_MUTED, linewidth=1, alpha=0.8)
    above.plot(at, [epoch["loss"] for epoch in epochs], color=_SECOND, marker="o", linewidth=2)
    above.set_ylabel("loss")
    above.set_ylim(bottom=0)
    above.set_title("training (grey), validation (dots)", loc="left", fontsize=10, color=_MUTED)
    values = [epoch[metric] for epoch in epochs]
    # No point is cut in half at 1, which no metric exceeds.
    below.plot(at, values, color=_ACCENT, marker="o", linewidth=2, clip_on=False)
    for epoch, value in zip(epochs, values, strict=True):
        if epoch["epoch"] == history["best_epoch"]:
            below.plot(
                [epoch["step"]], [value], "o", markersize=13, markerfacecolor="none", color=_ACCENT, clip_on=False
            )
            below.set_title(f"validation; ringed: epoch {epoch['epoch']}, used", loc="left", fontsize=10, color=_MUTED)
    below.set(ylabel=metric_name, xlabel="step")
    room = max(0.25 * (max(values) - min(values)), 0.005)
    below.set_ylim(min(values) - room, min(max(values) + room, 1.0))
    return _svg(figure, f"Training curve: loss by step, and {metric_name} of the validation set after each epoch")


def _figure(width: float, height: float, rows: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=rows > 1)
    for each in axes if rows > 1 else [axes]:
        _style(each)
    return figure, axes


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(_LINE)
    axes.tick_params(colors=_MUTED, labelcolor=_INK, labelsize=10)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(_MUTED)
        label.set_fontsize(10)


def _svg(figure: Figure, title: str) -> str:
    import matplotlib as mpl

    buffer = io.StringIO()
    # The salt names clip paths: two plots on one page must not share names, and equal plots must have equal bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}), warnings.catch_warnings():
        # The browser draws the text, with fonts of its own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    # Without a fixed size it is as wide as its place on the page; colours and font are the page's.
    width, height = (length * 72 for length in figure.get_size_inches())
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{title}">'
    svg = re.sub(r"^.*?<svg [^>]*>|<metadata>.*?</metadata>|<style.*?</style>", "", buffer.getvalue(), flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return head + re.sub(r" font-family: [^;\"]+;|(?<=<g) id=\"[^\"]*\"", "", svg)
