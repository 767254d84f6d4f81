"""Digests of files, remembered while a file's size, time and inode stay the same."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from assets.store.digests import digest_file

RACY_SECONDS = 2.0
"""A file changed this recently may change again within its time stamp's resolution, so its digest is not remembered
(the same rule as git's for its index)."""
SAVE_SECONDS = 10.0
"""How much of a long look is lost at most when its process is killed."""


class FileIndex:
    """Remembers digests in one JSON file; losing it costs only time.

    Attributes:
        path: where the index is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: dict[str, list[int | str]] = {}
        self._changed = False
        self._saved = time.monotonic()
        self._saving = threading.Lock()
        try:
            self._entries = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            # A missing or torn index is an empty one: every entry can be had again from the file itself.
            self._entries = {}

    def sha256(self, path: Path, *, again: bool = False, strictly: bool = False) -> str:
        """Hexadecimal SHA-256 of a file's bytes; read again only when its size, time or inode changed, or if asked to.

        Args:
            path: of the file.
            again: whether to read it in any case.
            strictly: whether the time of its last change of any kind counts too. Whoever copies a file over another
                can give it the other's time of writing, and cannot set this one.

        Raises:
            OSError: if the file cannot be read.
        """
        status = path.stat()
        facts: list[int | str] = [status.st_size, status.st_mtime_ns, status.st_ino]
        if strictly:
            # Not last: an earlier version, which reads three facts and a digest, must not take a time for the digest.
            facts.insert(1, status.st_ctime_ns)
        known = self._entries.get(str(path))
        if known is not None and known[:-1] == facts and not again:
            return str(known[-1])
        digest = digest_file(path)
        changed = max(status.st_mtime, status.st_ctime) if strictly else status.st_mtime
        if time.time() - changed > RACY_SECONDS:
            self._changed = self._changed or known != [*facts, digest]
            self._entries[str(path)] = [*facts, digest]
            self._save_now_and_then()
        return digest

    def learn(self, path: Path, digest: str) -> None:
        """Remember the digest of a file that was written by this process alone, as if it had been read again.

        Args:
            path: of the file.
            digest: hexadecimal SHA-256 of its bytes.
        """
        status = path.stat()
        self._entries[str(path)] = [status.st_size, status.st_mtime_ns, status.st_ino, digest]
        self._changed = True

    def sha256_at(self, url: str, facts: list[int | str], digest: Callable[[], str]) -> str:
        """Hexadecimal SHA-256 of a file elsewhere.

        Args:
            url: where it is.
            facts: what changes whenever its bytes do, as far as its file system tells: size, ETag, time.
            digest: reads it; called only when the facts are not those that are remembered.
        """
        known = self._entries.get(url)
        if known is not None and known[:-1] == facts:
            return str(known[-1])
        found = digest()
        self._entries[url], self._changed = [*facts, found], True
        self._save_now_and_then()
        return found

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write what was learned, without entries of files that are gone. Of two writers the last one stands."""
        with self._saving:
            self._save()

    def _save(self) -> None:
        if not self._changed:
            return
        # A copy, since other threads may learn more meanwhile; that is saved the next time.
        self._changed = False
        known = dict(self._entries)
        # A path object for each costs more than the look.
        kept = {name: entry for name, entry in known.items() if "://" in name or os.path.exists(name)}  # noqa: PTH110
        part = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}")
        # On a disk that is full or cannot be written, looking goes on without remembering.
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(kept))
            part.replace(self.path)
        self._saved = time.monotonic()
