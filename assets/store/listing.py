"""What a store holds, as whoever goes through all of it wants to know it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from assets.errors import StoreError
from assets.store.storage import Listed, Storage
from assets.store.store import Record

DIGEST = re.compile(rb"[0-9a-f]{64}")
AT_ONCE = 8
"""Folders that a disk or an object storage is asked for at the same time."""


@dataclass(frozen=True)
class Amount:
    """How much of something there is.

    Attributes:
        count: how many.
        bytes: their size.
    """

    count: int = 0
    bytes: int = 0

    def more(self, count: int, files: Iterable[Listed]) -> Amount:
        """With some more of it, in these files."""
        return Amount(self.count + count, self.bytes + sum(file.size for file in files))


def folders_in(storage: Storage, name: str) -> dict[str, list[Listed]]:
    """The files of each folder inside a folder."""
    found: defaultdict[str, list[Listed]] = defaultdict(list)
    for path, size, modified in storage.tree(name):
        folder, _, rest = path.partition("/")
        found[folder].append(Listed(rest, size, modified))
    return dict(found)


def newest(files: Iterable[Listed]) -> float:
    """When any of them was last written: Unix time, in seconds."""
    return max(file.modified for file in files)


def read_files(storage: Storage, folder: str) -> list[tuple[str, bytes]]:
    """Name and bytes of every file under a folder."""
    return list(storage.read_all([f"{folder}/{file.name}" for file in storage.tree(folder)]).items())


def parse_record(name: str, data: bytes) -> Record:
    """The record that a file holds.

    Raises:
        StoreError: if it holds none.
    """
    try:
        return Record(**json.loads(data))
    except (ValueError, TypeError):
        raise StoreError(
            "it is no record; its bytes are damaged",
            where=name,
            fix="delete this one file of the store, and run the pipeline again",
        ) from None
