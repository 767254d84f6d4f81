"""What the collection of garbage must leave: what anything still stands on, and what was used lately."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from assets.progress import Progress
from assets.store import lease as leases
from assets.store.ingredients import SAMPLE
from assets.store.listing import AT_ONCE, DIGEST, folders_in, newest, parse_record, read_files
from assets.store.storage import Listed, Storage
from assets.store.store import Kind, Record

GRACE_SECONDS = 3600.0
"""What was written or used this lately stays: a running process may have published it and not referred to it yet. A
lease whose holder gave no sign for so long is a dead process's."""
UNUSED_SECONDS = 30 * 86400.0
"""What can be made again, and may be wanted again, is kept for so long after its last use."""
LOOK_SECONDS = 5.0
"""What is in use is looked at again when the last look is older than this; nothing is removed on an older one."""


class _Known(NamedTuple):
    """What matters here of a record."""

    key: str
    content: str
    trace: str
    inputs: tuple[str, ...]
    links: tuple[str, ...]
    is_part: bool

    @classmethod
    def of(cls, record: Record) -> _Known:
        made = record.ingredients
        inputs = tuple(made.get("inputs", {}).values())
        # A part of a step's result (see `Build.part`) is named after its function, a step is not.
        links = tuple(record.links)
        return cls(record.key, record.content, record.trace, inputs, links, ":" in made.get("step", ""))


class Marks:
    """What must stay, as of the last look.

    What is marked stays marked: a record that was left because of it must not point to nothing in the end.

    Attributes:
        now: when the collection began, by the clock of the storage, which also gave its files their times.
        horizon: what was written or used since then stays.
        long_ago: what was last used before then goes if it can be made again.
        leased: keys that running processes compute.
        dead: files of the leases of dead processes, by key.
        forgotten: files of samples that nobody changed for long, by `ENVIRONMENT/PIPELINE`; they hold nothing.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.now = newest(storage.tree(f"{leases.FOLDER}/gc"))
        self.horizon = self.now - GRACE_SECONDS
        self.long_ago = self.now - UNUSED_SECONDS
        self.leased: set[str] = set()
        self.dead: dict[str, list[Listed]] = {}
        self._looked = 0.0
        self._seen: dict[str, set[Listed]] = {"references": set(), "promotions": set()}
        self._marked: dict[Kind, set[str]] = {"objects": set(), "traces": set()}
        self._records: dict[str, _Known] = {}
        self._leading_to: defaultdict[str, list[_Known]] = defaultdict(list)
        self._parts: list[_Known] = []
        self._look_at_leases()
        self.forgotten = self._forgotten()

    def _forgotten(self) -> dict[str, list[Listed]]:
        found: defaultdict[str, list[Listed]] = defaultdict(list)
        for folder in ("references", "promotions"):
            for file in self._storage.tree(folder):
                found[file.name.rpartition("/")[0]].append(file)
        return {
            place: files
            for place, files in found.items()
            if newest(files) < self.long_ago and self._is_idle_sample(place)
        }

    def _is_idle_sample(self, place: str) -> bool:
        """Whether it is of a sample that no running process reads; the name of an environment alone does not tell."""
        records = [parse_record(name, data) for name, data in read_files(self._storage, f"references/{place}")]
        is_sample = any(SAMPLE in record.ingredients.get("configuration", {}) for record in records)
        return is_sample and self._marked["objects"].isdisjoint(record.content for record in records)

    def look(self) -> None:
        """Look at what is in use now; every record has been read."""
        self._looked = time.monotonic()
        self._look_at_leases()
        for name, data in self._new_in("references").items():
            self._mark(_Known.of(parse_record(name, data)))
        named = {digest.decode() for data in self._new_in("promotions").values() for digest in DIGEST.findall(data)}
        for digests in self._marked.values():
            digests.update(named)
        for digest in named & self._leading_to.keys():
            for known in self._leading_to[digest]:
                self._mark(known)
        self._mark_parts()

    def refresh(self) -> None:
        """Look again if the last look is too old to remove anything on it."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self.look()

    def _look_at_leases(self) -> None:
        held = folders_in(self._storage, leases.FOLDER)
        oldest_sign = self.now - GRACE_SECONDS
        self.leased = {key for key, files in held.items() if newest(files) >= oldest_sign}
        self.dead = {key: files for key, files in held.items() if key not in self.leased}
        self.horizon = min([self.horizon, *(file.modified for key in self.leased for file in held[key])])
        self._marked["objects"].update(digest for uses in leases.live(self._storage) for digest in uses)

    def _new_in(self, folder: str) -> dict[str, bytes]:
        """Name and bytes of the files under a folder, without those that were read in an earlier look."""
        files = [file for file in self._storage.tree(folder) if file.name.rpartition("/")[0] not in self.forgotten]
        found = self._storage.read_all([f"{folder}/{file.name}" for file in files if file not in self._seen[folder]])
        # What is younger may be replaced once more at the same time, as far as the clock of the storage can tell.
        self._seen[folder].update(file for file in files if file.modified < self.horizon)
        return found

    def read_records(self, keep: int, progress: Progress) -> dict[str, dict[str, list[Listed]]]:
        """Read every record, and mark what the newest ones of steps point to; returns the files by prefix and key."""
        prefixes = self._storage.children("records")
        listed = {}
        with (
            progress.bar("reading records", total=len(prefixes)) as advance,
            ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            for prefix, found in zip(prefixes, pool.map(self.list_records, prefixes), strict=True):
                listed[prefix] = found
                advance()
        by_use = sorted(
            (
                (file.modified, f"{prefix}/{key}/{file.name}")
                for prefix, found in listed.items()
                for key, files in found.items()
                for file in files
            ),
            reverse=True,
        )
        # One may be gone between listing and reading.
        newest_first = [(modified, self._records[name]) for modified, name in by_use if name in self._records]
        steps = [known for _, known in newest_first if not known.is_part]
        for known in steps[:keep]:
            self._mark(known)
        for _, known in newest_first:
            self._leading_to[known.key].append(known)
            if known.content not in self._leading_to:
                self._leading_to[known.content].append(known)
        self._parts = [
            known
            for modified, known in newest_first
            if known.is_part and (modified >= self.long_ago or not known.inputs)
        ]
        return listed

    def list_records(self, prefix: str) -> dict[str, list[Listed]]:
        """The files of each key with a prefix; what those point to that are in use is marked."""
        found = folders_in(self._storage, f"records/{prefix}")
        files = {f"{prefix}/{key}/{file.name}": file for key, files in found.items() for file in files}
        new = self._storage.read_all([f"records/{name}" for name in files if name not in self._records])
        for name, data in new.items():
            self._records[name.removeprefix("records/")] = _Known.of(parse_record(name, data))
        for name, file in files.items():
            if file.modified >= self.horizon and name in self._records:
                self._mark(self._records[name])
        return found

    def _mark(self, known: _Known) -> None:
        self._marked["objects"].update((known.content, *known.links))
        self._marked["traces"].add(known.trace)

    def _mark_parts(self) -> None:
        """Mark the parts of which all inputs are marked; what is made of them may follow."""
        objects = self._marked["objects"]
        while ready := [part for part in self._parts if objects.issuperset(part.inputs)]:
            self._parts = [part for part in self._parts if not objects.issuperset(part.inputs)]
            for part in ready:
                self._mark(part)

    def spares_record(self, name: str, file: Listed) -> bool:
        """Whether a record stays; its name begins with the prefix."""
        known = self._records.get(name)
        if known is None or file.modified >= self.horizon:
            return True
        return known.content in self._marked["objects"] and known.trace in self._marked["traces"]

    def spares(self, kind: Kind, digest: str, files: Sequence[Listed]) -> bool:
        """Whether an object or trace stays."""
        return digest in self._marked[kind] or newest(files) >= self.horizon
