"""Rows of a query as files: cut into windows whose bounds the rows' keys alone decide, kept under their digests.

A row begins a new window if the hash of its key says so. So a row that comes, goes or changes touches its own window
(and at a bound the next), never those behind it, however the rows are counted. A window is written as JSON Lines: its
bytes depend on the rows and not on a library's version, and it is taken in as any file is.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from assets.store.step import FileIndex, ObservedFile

UNNAMED_SECONDS = 3600.0
"""A window that no look names any more is kept so long: a run that began before may still read it."""
UNUSED_SECONDS = 7 * 86400.0
"""A query's windows are removed after so long without a look at it."""
STATE = "looked.json"


class Row(NamedTuple):
    """A row as the database gave it.

    Attributes:
        key: text that tells it apart.
        place: 128 bits that stand for the key, see `place_of`.
        mark: its watermark as text; None where it is null or there is none.
        start: its watermark in a form that `since` takes back; None where it has none.
        record: the row in JSON, or None where only key and watermark were read.
    """

    key: str
    place: bytes
    mark: str | None
    start: Any
    record: bytes | None


class Window(NamedTuple):
    """What is remembered of a window.

    Attributes:
        outline: digest of the keys and watermarks of its rows, in their order.
        sha256: digest of its file.
        size: bytes of its file.
        rows: how many it has.
        start: watermark of its first row, see `Row`.
    """

    outline: str
    sha256: str
    size: int
    rows: int
    start: Any


def place_of(key: str) -> bytes:
    """128 bits that stand for a key."""
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def cut(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Cut rows into windows of about `size` rows; those without a watermark, which come first, have their own."""
    window: list[Row] = []
    for row in rows:
        # A window of both kinds would not be read whole, and hide that a row without a watermark changed.
        first_marked = row.mark is not None and bool(window) and window[-1].mark is None
        if window and (first_marked or int.from_bytes(row.place[:8]) % size == 0):
            yield window
            window = []
        window.append(row)
    if window:
        yield window


class Spool:
    """The windows of one query, in a folder of their own; losing it costs only time.

    Attributes:
        folder: where they are.
        looked: windows of the last look, in their order.
    """

    def __init__(self, folder: Path, index: FileIndex) -> None:
        self.folder = folder
        self._index = index
        self._named: dict[str, float] = {}
        self.looked: tuple[Window, ...] = ()
        # Missing, torn, or of another version: what it tells can be had again from the database.
        with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
            state = json.loads((folder / STATE).read_bytes())
            looked = tuple(Window(*each) for each in state["windows"])
            self._named, self.looked = dict(state["named"]), looked
        self._known = {window.outline: window for window in self.looked}

    def since(self, overlap: int) -> Any:
        """Watermark from which the last look's newest windows with at least so many rows begin, or None for all."""
        rows = 0
        for window in reversed(self.looked):
            rows += window.rows
            if rows >= overlap:
                return window.start
        return None

    def take(self, rows: list[Row]) -> Window | None:
        """Keep a window; None where rows of it were not read whole and it is not one that was kept before."""
        outline = hashlib.sha256(json.dumps([[row.key, row.mark] for row in rows]).encode()).hexdigest()
        records = [row.record for row in rows if row.record is not None]
        if len(records) < len(rows):
            known = self._known.get(outline)
            return known if known is not None and self._is_whole(known.sha256) else None
        data = b"".join(records)
        window = Window(outline, hashlib.sha256(data).hexdigest(), len(data), len(rows), rows[0].start)
        if not self._is_whole(window.sha256):
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.path(window), data)
        return window

    def path(self, window: Window) -> Path:
        """Where a window's file is."""
        return self.folder / f"{window.sha256}.jsonl"

    def _is_whole(self, sha256: str) -> bool:
        path = self.folder / f"{sha256}.jsonl"
        return path.exists() and self._index.sha256(path) == sha256

    def keep(self, windows: tuple[Window, ...]) -> None:
        """Remember a look, and remove what no look has named for a while."""
        now = time.time()
        before = {window.sha256 for window in self.looked}
        self._named |= dict.fromkeys(before | {window.sha256 for window in windows}, now)
        self.looked = windows
        # Of two looks at once the later one stands; what only the other named is young.
        for path in self.folder.glob("*.jsonl"):
            with suppress(FileNotFoundError):
                if now - max(self._named.get(path.stem, 0.0), path.stat().st_mtime) > UNNAMED_SECONDS:
                    path.unlink()
        self._named = {sha256: when for sha256, when in self._named.items() if now - when < UNNAMED_SECONDS}
        state = {"windows": [list(window) for window in windows], "named": self._named}
        _write(self.folder / STATE, json.dumps(state).encode())
        for other in self.folder.parent.iterdir():
            with suppress(FileNotFoundError):
                if now - (other / STATE).stat().st_mtime > UNUSED_SECONDS:
                    shutil.rmtree(other)


def observed(spool: Spool, window: Window, name: str) -> ObservedFile:
    """A window as a file that was looked at."""
    return ObservedFile(name=name, path=str(spool.path(window)), sha256=window.sha256, size=window.size)


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
