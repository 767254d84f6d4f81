"""Collection of garbage: finds what nothing needs any more, and removes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from assets.progress import Progress, Sink, discard
from assets.store.lease import FOLDER
from assets.store.listing import AT_ONCE, Amount, folders_in, newest
from assets.store.marks import Marks
from assets.store.storage import Listed, LocalStorage, abandoned, delete
from assets.store.store import Kind, Store

KEEP = 50
"""Step records kept though nothing refers to them: some seven runs of a chain of seven steps to go back to for free."""


@dataclass(frozen=True)
class Garbage:
    """What a collection of garbage found.

    Attributes:
        garbage: by kind (samples, records, traces, objects, leases, staging, work, cache), what goes or went.
        kept: by kind (objects, traces, records), what stays.
        deleted: whether it was removed, or only looked for.
    """

    garbage: Mapping[str, Amount]
    kept: Mapping[str, Amount]
    deleted: bool

    @property
    def bytes(self) -> int:
        """Size of all garbage."""
        return sum(amount.bytes for amount in self.garbage.values())

    def json(self) -> dict[str, Any]:
        """As `freshtune store gc --json` prints it."""
        parts = {"garbage": self.garbage, "kept": self.kept}
        return {
            "deleted": self.deleted,
            "bytes": self.bytes,
            **{part: {kind: asdict(found) for kind, found in given.items()} for part, given in parts.items()},
        }


def gc(store: Store, *, work: Path, keep: int = KEEP, delete: bool = False, sink: Sink = discard) -> Garbage:
    """Look for what nothing needs any more, and remove it if told to.

    Kept are: what references stand for; what promotion logs name, each with its newest record; the newest records of
    steps; parts while all that they were made of is kept and they were used in the last 30 days (one that was made of
    nothing in the store may hold what cannot be read again, and stays); what leases use; what was written or used in
    the last hour, or since the oldest build that is running began. Samples that nobody changed for 30 days go with
    their references and promotion logs, and so do work folders of builds that were killed and not taken up again.

    A record goes before what it points to, and a manifest before the files that it lists, so that a killed collection
    leaves nothing that looks whole and is not.

    Args:
        store: the store.
        work: folder of the builds' work folders on this machine.
        keep: how many records of steps stay because they are the newest ones by last use.
        delete: remove what was found.
        sink: takes progress events.

    Raises:
        StoreError: if a record or reference cannot be read, so that nobody knows what it needs.
    """
    progress = Progress("store", sink)
    with store.lease("gc", progress.message, []):
        return _Collection(store, work, keep, delete, progress).run()


class _Collection:
    """One collection of garbage, which holds the lease for it."""

    def __init__(self, store: Store, work: Path, keep: int, delete: bool, progress: Progress) -> None:
        self._store, self._storage = store, store.storage
        self._work, self._keep, self._delete, self._progress = work, keep, delete, progress
        self._marks = Marks(self._storage)
        self._garbage: defaultdict[str, Amount] = defaultdict(Amount)
        self._kept: defaultdict[str, Amount] = defaultdict(Amount)

    def run(self) -> Garbage:
        """Go through everything: records first, so that nothing that is about to go is found and used."""
        listed = self._marks.read_records(self._keep, self._progress)
        self._marks.look()
        self._samples()
        self._records(listed)
        self._marks.look()
        kinds: tuple[Kind, ...] = ("traces", "objects")
        present = {kind: self._folders(kind) for kind in kinds}
        self._marks.look()
        self._leases()
        self._leftovers("staging", self._staged())
        self._leftovers("work", self._works())
        if not isinstance(self._storage, LocalStorage):
            self._leftovers("cache", self._fetched(present))
        return Garbage(dict(self._garbage), dict(self._kept), self._delete)

    def _samples(self) -> None:
        for place, files in self._marks.forgotten.items():
            _add(self._garbage, "samples", 1, files)
            if self._delete:
                # The references tell that it is a sample, so they go last.
                self._storage.remove(f"promotions/{place}")
                self._storage.remove(f"references/{place}")

    def _each(
        self, kind: str, prefixes: Sequence[str], listing: Callable[[str], dict[str, list[Listed]]]
    ) -> Iterator[tuple[str, dict[str, list[Listed]]]]:
        """Each prefix with the files of each folder, listed just before and on a look that is not old."""
        with (
            self._progress.bar(f"looking at {kind}", total=len(prefixes)) as advance,
            ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            for start in range(0, len(prefixes), AT_ONCE):
                some = prefixes[start : start + AT_ONCE]
                self._marks.refresh()
                for prefix, found in zip(some, pool.map(listing, some), strict=True):
                    self._marks.refresh()
                    yield prefix, found
                    advance()

    def _records(self, listed: Mapping[str, Mapping[str, Sequence[Listed]]]) -> None:
        if self._delete:
            # Some may have come into use since they were read.
            for prefix, found in self._each("records", list(listed), self._marks.list_records):
                self._records_with(prefix, found)
        else:
            for prefix, known in listed.items():
                self._records_with(prefix, known)

    def _records_with(self, prefix: str, found: Mapping[str, Sequence[Listed]]) -> None:
        gone: dict[str, list[str]] = {}
        kept: list[Listed] = []
        dropped: list[Listed] = []
        for key, files in found.items():
            folder = f"{prefix}/{key}"
            useless = [file for file in files if not self._marks.spares_record(f"{folder}/{file.name}", file)]
            dropped += useless
            if len(useless) == len(files):
                gone[f"records/{folder}"] = [file.name for file in files]
                continue
            kept += [file for file in files if file not in useless]
            if self._delete:
                for file in useless:
                    self._storage.remove(f"records/{folder}/{file.name}")
        _add(self._kept, "records", len(kept), kept)
        _add(self._garbage, "records", len(dropped), dropped)
        if self._delete:
            self._storage.clear(gone)

    def _folders(self, kind: Kind) -> set[str]:
        """Go through objects or traces; returns all their digests."""
        present: set[str] = set()
        prefixes = self._storage.children(kind)
        for prefix, found in self._each(kind, prefixes, lambda prefix: folders_in(self._storage, f"{kind}/{prefix}")):
            present |= found.keys()
            gone = {digest: files for digest, files in found.items() if not self._marks.spares(kind, digest, files)}
            kept = [files for digest, files in found.items() if digest not in gone]
            _add(self._kept, kind, len(kept), chain.from_iterable(kept))
            _add(self._garbage, kind, len(gone), chain.from_iterable(gone.values()))
            if self._delete:
                self._storage.clear(
                    {f"{kind}/{prefix}/{digest}": [file.name for file in files] for digest, files in gone.items()}
                )
        return present

    def _leases(self) -> None:
        for key, files in self._marks.dead.items():
            _add(self._garbage, "leases", 1, files)
            if self._delete:
                self._storage.remove(f"{FOLDER}/{key}")

    def _leftovers(self, kind: str, paths: Iterable[Path]) -> None:
        for path in paths:
            _add(self._garbage, kind, 1, _listed(path))
            if self._delete:
                delete(path)

    def _staged(self) -> Iterator[Path]:
        """What killed processes left in staging."""
        bases = {self._store.cache}
        if isinstance(self._storage, LocalStorage):
            bases.add(self._storage.root)
        for base in sorted(bases):
            for path in _inside(base / "staging"):
                if abandoned(path.name) or newest(_listed(path)) < self._marks.horizon:
                    yield path

    def _works(self) -> Iterator[Path]:
        """Work folders of killed builds: published before they could be deleted, or not taken up again for long."""
        for path in _inside(self._work):
            published = self._storage.children(f"records/{path.name[:2]}/{path.name}")
            limit = self._marks.horizon if published else self._marks.long_ago
            if path.name not in self._marks.leased and newest(_listed(path)) < limit:
                yield path

    def _fetched(self, present: Mapping[Kind, set[str]]) -> Iterator[Path]:
        """Local copies of what object storage has no more."""
        for kind, digests in present.items():
            for path in chain.from_iterable(map(_inside, _inside(self._store.cache / kind))):
                if path.name not in digests and newest(_listed(path)) < self._marks.horizon:
                    yield path


def _add(tally: dict[str, Amount], kind: str, count: int, files: Iterable[Listed]) -> None:
    if count:
        tally[kind] = tally[kind].more(count, files)


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _listed(path: Path) -> list[Listed]:
    """A file or folder, and everything in it."""
    statuses = [(each, each.stat()) for each in (path, *path.rglob("*"))]
    return [Listed(str(each), status.st_size, status.st_mtime) for each, status in statuses]
