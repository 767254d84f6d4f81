"""Charts as SVG to be set into a page: they take the page's colours and font, so they read in light, dark and print.

They are Vega-Lite specifications, drawn when the page is written and not by the one who reads it: the page needs no
plotting library, no `eval` and no network, prints as it is seen, and stays small. What a mark stands for is its
`aria-label`, for screen readers as well as for the page's script, which shows it to the pointer and the arrow keys.
Colours are CSS variables of the page; a picture for elsewhere has those of the light page.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

Spec = dict[str, Any]

PAGE, INK, MUTED, LINE, ACCENT, SECOND, THIRD, ON_ACCENT = (
    f"var(--{name})" for name in ("page", "ink", "muted", "line", "accent", "second", "third", "on-accent")
)
_CONFIG: Spec = {
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "labelFontSize": 12,
        "titleColor": MUTED,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "gridColor": LINE,
        "domainColor": LINE,
        "tickColor": LINE,
    },
    "legend": {"labelColor": INK, "labelFontSize": 12, "orient": "top", "title": None, "columnPadding": 28},
    "title": {"anchor": "start", "color": MUTED, "fontSize": 12, "fontWeight": "normal"},
}
_FRAME: Spec = {"config": _CONFIG, "padding": 10}
_SCALE = 1.5
"""Pixels of a picture for each of the drawing's."""


def svg(spec: Spec, title: str) -> str:
    """Draw a specification as an `<svg>` element.

    Args:
        spec: of Vega-Lite.
        title: what the chart shows, for whoever does not see it.
    """
    from vl_convert import vegalite_to_svg

    drawn = vegalite_to_svg({**_FRAME, "background": None, **spec}, allowed_base_urls=[])
    # Without a fixed size it is as wide as its place on the page; the font is the page's.
    size = re.match(r'<svg [^>]*width="([\d.]+)" height="([\d.]+)"', drawn)
    assert size is not None
    width, height = size.groups()
    head = (
        f'<svg viewBox="0 0 {width} {height}" style="max-width: {width}px" role="graphics-document document" '
        f'aria-label="{escape(title)}">'
    )
    body = re.sub(r"^<svg [^>]*>", "", drawn)
    # Paths of marks are Vega's own; everything that is a text of somebody else's comes escaped.
    return head + re.sub(r' font-family="[^"]*"| aria-roledescription="[^"]*"', "", body)


def png(spec: Spec) -> bytes:
    """Draw a specification as a picture in the colours of the light page."""
    from vl_convert import vegalite_to_png

    from assets.pages.page import light

    colours = light()
    text = re.sub(r"var\((--[\w-]+)\)", lambda found: colours[found[1]], json.dumps({**_FRAME, **spec}))
    drawn: bytes = vegalite_to_png(text, scale=_SCALE, allowed_base_urls=[])
    return drawn
