"""The look and the script of a page that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

REPORT = "report.html"
"""Name of the page about a step's result, in its trace."""


def frame() -> dict[str, Any]:
    """What every page has: `style`, `script`, and `script_hash` for its Content-Security-Policy."""
    from markupsafe import Markup

    style, script = _read("page.css"), _read("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Ours, and nothing of anybody else in them.
    return {"style": Markup(style), "script": Markup(script), "script_hash": f"sha256-{digest}"}  # noqa: S704


def light() -> dict[str, str]:
    """Colours of the light page: the name of its CSS variable → value."""
    first = _read("page.css").partition("}")[0]
    return dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", first))


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
