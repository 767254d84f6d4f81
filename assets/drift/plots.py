"""Pictures of new rows beside those that the champion was made from, as PNG for Dagster."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure

OLD, NEW = "#8a949e", "#1f5fa8"
MOST_LABELS = 20
"""Most labels that have room; of more, those whose shares differ most."""
Numbers = Mapping[str, "npt.NDArray[np.floating[Any]]"]
"""`champion` and `new` → a number for each row."""


def labels(shares: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw the shares of the labels; `shares` has `name`, `champion` and `new` of each."""
    by_difference = sorted(shares, key=lambda each: -abs(each["champion"] - each["new"]))[:MOST_LABELS]
    shown = [each for each in shares if each in by_difference]
    figure = _figure(1.2 + 0.45 * len(shown))
    axes, at = figure.subplots(), np.arange(len(shown))
    for side, colour, up in (("champion", OLD, -0.2), ("new", NEW, 0.2)):
        axes.barh(at + up, [100 * each[side] for each in shown], height=0.38, color=colour, label=_name(side))
    axes.set_yticks(at, [str(each["name"])[:30] for each in shown], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("share of the rows, %")
    return _png(figure)


def lengths(found: Numbers) -> bytes:
    """Draw how many texts are at most so long: the largest gap between the lines is what is tested."""
    figure = _figure(3.2)
    axes = figure.subplots()
    for side, colour in (("champion", OLD), ("new", NEW)):
        axes.ecdf(found[side], color=colour, label=_name(side))
    # A few texts that are far longer than all others would push these into a corner.
    longest = max(float(np.quantile(each, 0.995)) for each in found.values())
    axes.set(xlim=(0, longest), xlabel="length of the text, characters", ylabel="share of the texts up to it")
    return _png(figure)


def unknown(found: Numbers) -> bytes:
    """Draw how large the share of words is, in each text, that the champion was not trained on."""
    figure = _figure(3.2)
    axes = figure.subplots()
    edges = np.linspace(0, 100, 21)
    for side, colour in (("champion", OLD), ("new", NEW)):
        counts, _ = np.histogram(100 * found[side], edges)
        axes.stairs(100 * counts / max(len(found[side]), 1), edges, color=colour, label=_name(side), linewidth=2)
    axes.set(xlabel="words that the champion was not trained on, % of a text", ylabel="share of the texts, %")
    return _png(figure)


def _name(side: str) -> str:
    return "rows of the champion" if side == "champion" else "new rows"


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(6.4, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A label in a script that the font lacks is drawn as boxes; the table beside the picture has it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
