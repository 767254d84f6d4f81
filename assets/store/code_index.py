"""Pieces of code, remembered between processes while no file of the package changes: parsing costs more than a plan."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from assets.config.home import home
from assets.store import code
from assets.store.digests import digest_json
from assets.store.index import RACY_SECONDS


def code_pieces(roots: Sequence[str], package_root: Path | None = None) -> dict[str, str]:
    """See `assets.store.code.code_pieces`, whose answer is remembered in the home's `cache/code.json`.

    It holds while every file of the package has the same size, times (that of the last change too, which nobody can
    set back) and inode. Losing it costs only time.
    """
    root = package_root or Path(__file__).parents[1]
    path = home().path / "cache" / "code.json"
    files = sorted(_files(str(root)))
    state, asked = digest_json(files), digest_json(list(roots))
    known = _read(path)
    if known.get("state") != state:
        known = {"state": state, "pieces": {}}
    pieces: dict[str, str] | None = known["pieces"].get(asked)
    if pieces is None:
        pieces = code.code_pieces(roots, root)
        known["pieces"][asked] = pieces
        # A file changed this recently may change again within its time stamp's resolution.
        if max(time_ns for _, _, *times, _ in files for time_ns in times) < time.time_ns() - RACY_SECONDS * 1e9:
            _write(path, known)
    return pieces


def _files(root: str) -> Iterator[tuple[str, int, int, int, int]]:
    """Path, size, times of the last write and of the last change, and inode of every file that could count."""
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name == "__pycache__" or entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(entry.path)
            else:
                seen = entry.stat()
                yield entry.path, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino


def _read(path: Path) -> dict[str, Any]:
    with suppress(FileNotFoundError, ValueError):
        return json.loads(path.read_bytes())  # type: ignore[no-any-return]
    return {}


def _write(path: Path, known: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    # On a disk that is full or cannot be written, it goes on without remembering.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(known), encoding="utf-8")
        part.replace(path)
