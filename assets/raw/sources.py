"""Which files the source consists of, and what is in them, without parsing them."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from assets.config.home import project_root
from assets.errors import ConfigurationError, DataError
from assets.raw.remote import elsewhere
from assets.store.digests import digest_json
from assets.store.packages import SCHEME, package_path
from assets.store.step import FileIndex, Observation, ObservedFile

if TYPE_CHECKING:
    from assets.config.pipeline import Pipeline

WHERE = "source.files"


def observe(config: Pipeline, index: FileIndex) -> dict[str, Observation]:
    """Look at every file of the source.

    Args:
        config: the pipeline's configuration.
        index: digests of files that were looked at before.

    Returns:
        `{"source": …}`, files ordered by name. A name is a path relative to the project, an absolute path outside of
        it, a `package://` URL as configured, or the URL of a file elsewhere.

    Raises:
        ConfigurationError: a package or a file is not there, a pattern matches nothing, or a path is a folder; in
            `mode: append` files may be gone.
        DataError: a file cannot be read.
        TransientError: a file elsewhere cannot be reached.
    """
    root = project_root()
    found: dict[str, ObservedFile] = {}
    for entry in config.source.files:
        if "://" in entry and not entry.startswith(SCHEME):
            found |= {file.name: file for file in elsewhere(entry, index)}
            continue
        paths = {entry: package_path(entry, WHERE)} if entry.startswith(SCHEME) else _on_disk(entry, root)
        if not paths and config.source.mode == "mirror":
            raise _no_match(entry, root)
        found |= {name: _look(name, path, index) for name, path in paths.items() if name not in found}
    files = tuple(found[name] for name in sorted(found))
    return {
        "source": Observation(
            kind="source",
            location=", ".join(config.source.files),
            digest=digest_json([[file.name, file.sha256] for file in files]),
            files=files,
        )
    }


def _on_disk(entry: str, root: Path) -> dict[str, Path]:
    """Expand one path or pattern to names and paths; a path that exists is itself even if it looks like a pattern."""
    literal = root / entry
    if literal.is_dir():
        raise ConfigurationError(
            f"{entry!r} is a folder", where=WHERE, fix=f"name the files in it, for instance {entry.rstrip('/')}/*.csv"
        )
    matches = [entry] if literal.exists() else glob.glob(entry, root_dir=root, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    return {_name(root / match, root): root / match for match in matches if not (root / match).is_dir()}


def _no_match(entry: str, root: Path) -> ConfigurationError:
    what = "matches no file" if glob.has_magic(entry) else "does not exist"
    return ConfigurationError(
        f"{entry!r} {what} (looked in {root})",
        where=WHERE,
        fix="correct the path (it is relative to the project's folder), or put the file there",
    )


def _name(path: Path, root: Path) -> str:
    """Name that is the same on every machine for a file inside the project."""
    path = Path(os.path.normpath(path))
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _look(name: str, path: Path, index: FileIndex) -> ObservedFile:
    try:
        return ObservedFile(name=name, path=str(path), sha256=index.sha256(path), size=path.stat().st_size)
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror or error}",
            where=name,
            fix="make the file readable for the user who runs this, or take it out of source.files",
        ) from error
