"""Objects that refer to other objects: large tables lie in shards, and a result says which rows of them it means.

What is under `layout/` of an object says how its rows lie: `layout/links.json` names other objects of the store, and
tables beside it have a value for each of their rows. The same rows may lie differently, so `layout/` is checksummed
but not digested; an object that means rows has a digest of them, in an order of their own, in its content.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from assets.errors import DamagedError
from assets.store.digests import LAYOUT, canonical_json, digest_file
from assets.store.index import RACY_SECONDS
from assets.store.threads import AT_ONCE

LINKS = f"{LAYOUT}/links.json"
COMPARED_SECONDS = 300.0
"""How long a file counts as compared: a disk may fail without a new time, so this is no longer than a run of steps."""
LARGE_BYTES = 1 << 22
"""From this size on files are compared at the same time; to begin threads for less takes longer."""
MOST_COMPARED = 10_000
"""Files that are remembered, in a process that goes on for days."""

_compared: dict[str, tuple[tuple[int, int, int, int], float]] = {}


def write_links(content: Path, links: Mapping[str, Sequence[str]]) -> None:
    """Let content that is being built refer to objects.

    Args:
        content: its folder.
        links: what the objects are for → their digests, in the order in which they are meant.
    """
    (content / LAYOUT).mkdir(exist_ok=True)
    (content / LINKS).write_bytes(canonical_json({name: list(digests) for name, digests in links.items()}))


def read_links(content: Path) -> dict[str, list[str]]:
    """What an object refers to: what for → digests; nothing if it has no links."""
    if not (content / LINKS).is_file():
        return {}
    links: dict[str, list[str]] = json.loads((content / LINKS).read_bytes())
    return links


def linked(content: Path, name: str) -> list[Path]:
    """Folders of the objects that an object refers to, in their order; to be read through `checked`.

    Args:
        content: folder of the object, as the store gave it: whoever opened it put the others beside it.
        name: what they are for.
    """
    objects = content.parents[1]
    return [objects / digest[:2] / digest for digest in read_links(content)[name]]


def checked(folder: Path, file: str) -> Path:
    """A file of an object, its bytes compared with the manifest.

    Several steps of a run read the same tables, so what this process has compared a short time ago is not compared
    again while the file's size, times (that of the last change too, which nobody can set back) and inode stay.

    Args:
        folder: of the object.
        file: relative path in it.

    Raises:
        DamagedError: if it is missing or its bytes are not those of the manifest.
    """
    path = f"{folder}/{file}"
    try:
        facts = _facts(path)
        known = _compared.get(path)
        if known is not None and known[0] == facts and time.monotonic() - known[1] < COMPARED_SECONDS:
            return folder / file
        due = json.loads((folder / "manifest.json").read_bytes())["files"][file]["sha256"]
        found = digest_file(folder / file)
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise DamagedError(
            f"object {folder.name[:12]} is damaged: {file}: {error}", where=str(folder), fix="run again"
        ) from error
    if found != due:
        raise DamagedError(
            f"object {folder.name[:12]} is damaged: {file}, bytes altered", where=str(folder), fix="run again"
        )
    if time.time_ns() - max(facts[1:3]) > RACY_SECONDS * 1e9:
        if len(_compared) >= MOST_COMPARED:
            _compared.clear()
        _compared[path] = facts, time.monotonic()
    return folder / file


def all_checked(folders: Sequence[Path], file: str) -> list[Path]:
    """The same file of several objects, see `checked`; large ones at the same time, which hashing allows.

    Raises:
        DamagedError: likewise.
    """
    paths = [f"{folder}/{file}" for folder in folders]
    # What is missing is told by `checked`.
    if len(paths) < 2 or sum(os.path.getsize(path) for path in paths if os.path.exists(path)) < LARGE_BYTES:  # noqa: PTH110, PTH202 - for speed
        return [checked(folder, file) for folder in folders]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda folder: checked(folder, file), folders))


def _facts(path: str) -> tuple[int, int, int, int]:
    """Size, times of the last write and of the last change, and inode of a file."""
    seen = os.stat(path)  # noqa: PTH116 - for speed
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino
