"""Files and folders that an installed package ships, by `package://NAME/path`, without importing the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from assets.errors import ConfigurationError

SCHEME = "package://"


def package_path(url: str, where: str) -> Path:
    """Where the path of a `package://` URL is on this machine.

    Args:
        url: `package://NAME/path`.
        where: field of the configuration that holds it, for messages.

    Raises:
        ConfigurationError: if it has another form, the package is not installed, or it has no such path.
    """
    name, _, inside = url.removeprefix(SCHEME).partition("/")
    if not name.isidentifier() or not inside:
        raise ConfigurationError(
            f"{url!r} is not of the form package://NAME/path",
            where=where,
            fix="write the package's import name, then the path inside the package",
        )
    # A top-level name only: to find a dotted one, Python imports its parents.
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            f"{url!r}: no package {name!r} is installed",
            where=where,
            fix=f"pip install {name.replace('_', '-')} (what the demo needs is in the extra: pip install -e '.[demo]')",
        )
    candidates = [Path(location) / inside for location in spec.submodule_search_locations]
    for path in candidates:
        if path.exists():
            return path
    parent = candidates[0].parent
    held = ", ".join(sorted(path.name for path in parent.iterdir())[:8]) if parent.is_dir() else "nothing"
    raise ConfigurationError(
        f"{url!r}: the package has no {inside!r} (there it has: {held})",
        where=where,
        fix="correct the path, or install the version of the package that has it",
    )
