"""Which files the source consists of, and what is in them, without parsing them."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from assets.config.home import project_root
from assets.errors import ChangingError, ConfigurationError, DataError
from assets.raw.remote import elsewhere
from assets.store.digests import digest_json
from assets.store.packages import SCHEME, package_path
from assets.store.step import FileIndex, Observation, ObservedFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from assets.config.pipeline import Pipeline

WHERE = "source.files"


def observe(config: Pipeline, index: FileIndex) -> dict[str, Observation]:
    """Look at the source: its files, or what stands for files where it is a query or a data set.

    Args:
        config: the pipeline's configuration.
        index: digests of files that were looked at before.

    Returns:
        `{"source": …}`, files ordered by name. A name is a path relative to the project, an absolute path outside of
        it, a `package://` URL as configured, the URL of a file elsewhere, or `sql:VARIABLE[keys].jsonl` for a window of
        a query's rows.

    Raises:
        ConfigurationError: what is configured is not there, or may not be read; in `mode: append` files may be gone.
        DataError: it is not what it should be.
        TransientError: it cannot be reached.
        ChangingError: a file changed or went away while it was looked at.
    """
    source = config.source
    wanted = (source.columns.text, source.columns.label, *source.columns.keep)
    # Each imports what the others do not need: a plan of files is not to wait for it.
    if source.sql is not None:
        from assets.raw.sql import look as look_at_rows

        return _seen(f"sql:{source.sql.url_env}", look_at_rows(source.sql, wanted, index))
    if source.huggingface is not None:
        from assets.raw.huggingface import look as look_at_dataset

        return _seen(source.huggingface.name, look_at_dataset(source.huggingface, index))
    return _seen(", ".join(source.files), in_files(source.files, index, may_be_gone=source.mode == "append"))


def _seen(location: str, files: Iterable[ObservedFile]) -> dict[str, Observation]:
    files = tuple(sorted(files, key=lambda file: file.name))
    digest = digest_json([[file.name, file.sha256] for file in files])
    return {"source": Observation(kind="source", location=location, digest=digest, files=files)}


def in_files(entries: Sequence[str], index: FileIndex, *, may_be_gone: bool) -> Iterable[ObservedFile]:
    """Look at the files that paths, patterns and URLs mean, each once; see `observe`."""
    root = project_root()
    found: dict[str, ObservedFile] = {}
    for entry in entries:
        if "://" in entry and not entry.startswith(SCHEME):
            seen = {file.name: file for file in elsewhere(entry, index)}
        else:
            paths = {entry: package_path(entry, WHERE)} if entry.startswith(SCHEME) else _on_disk(entry, root)
            seen = {name: found.get(name) or _look(name, path, index) for name, path in paths.items()}
        if not seen and not may_be_gone:
            raise _no_match(entry, root)
        found |= seen
    return found.values()


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
    if "://" in entry:
        return ConfigurationError(f"{entry!r} {what}", where=WHERE, fix="correct the URL, or put the file there")
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
        before = path.stat()
        sha256 = index.sha256(path, strictly=True)
        after = path.stat()
    except OSError as error:
        # Of a link that leads nowhere the name is still there.
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            raise ChangingError(
                "the file went away while it was looked at", where=name, fix="look again; it was removed or renamed"
            ) from error
        raise DataError(
            f"cannot be read: {error.strerror or error}",
            where=name,
            fix="make the file readable for the user who runs this, or take it out of source.files",
        ) from error
    if (before.st_size, before.st_mtime_ns, before.st_ino) != (after.st_size, after.st_mtime_ns, after.st_ino):
        raise ChangingError(
            "the file changed while it was looked at", where=name, fix="look again once nobody writes to it"
        )
    return ObservedFile(name=name, path=str(path), sha256=sha256, size=after.st_size)
