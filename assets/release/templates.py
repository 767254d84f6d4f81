"""Fills the templates that stand beside this file: the report in HTML, the model card in Markdown."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from assets.release.gate import METRIC_NAMES, against


def render(template: str, context: dict[str, Any]) -> str:
    """Fill a template; values are escaped in HTML, and a name that is not in `context` is an error."""
    return _environment().get_template(template).render(context)


@cache
def _environment() -> jinja2.Environment:
    """Keeps templates once they are compiled."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(("html.j2",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": _count,
        "number": _number,
        "signed": _signed,
        "share": _share,
        "cell": _cell,
        "place": _place,
        "against": against,
    }
    environment.globals["metric_names"] = METRIC_NAMES
    return environment


def _count(value: int) -> str:
    return f"{value:,}"


def _number(value: float) -> str:
    return f"{value:.4f}"


def _signed(value: float) -> str:
    """With its sign; a true minus is as wide as the plus."""
    text = f"{abs(value):.4f}"
    return f"{'−' if value < 0 and float(text) else '+'}{text}" if float(text) else f"±{text}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def span(*numbers: float | None) -> tuple[float, float]:
    """What a picture of some numbers spans: all of them, with room on both sides; None is no number."""
    known = [number for number in numbers if number is not None] or [0.0]
    low, high = min(known), max(known)
    room = 0.12 * (high - low) or 0.01
    return low - room, high + room


def _place(value: float, spanned: tuple[float, float]) -> str:
    """Where a value lies in a picture, in percent of its width from the left."""
    low, high = spanned
    return f"{100 * min(max((value - low) / (high - low), 0.0), 1.0):.2f}"


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
