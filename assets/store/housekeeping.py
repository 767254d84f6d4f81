"""Keeping house: collects garbage, verifies every digest, brings a store to the present format."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from assets.errors import DamagedError, StoreError
from assets.progress import Progress, Sink, discard
from assets.store import lease as leases
from assets.store import store as stored
from assets.store.digests import TABLE_SUFFIXES, canonical_json, digest_file, digest_json, digest_table
from assets.store.storage import MANIFEST, Listed, LocalStorage, Storage, abandoned, delete, open_storage, staging
from assets.store.store import Kind, Record, Store

KEEP = 50
"""Step records kept though nothing refers to them: some seven runs of a chain of seven steps to go back to for free."""
GRACE_SECONDS = 3600.0
"""What was written or used this lately stays: a running process may have published it and not referred to it yet. A
lease whose holder gave no sign for so long is a dead process's."""
LOOK_SECONDS = 5.0
"""What is in use is looked at again when the last look is older than this; nothing is removed on an older one."""

_DIGEST = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True)
class Amount:
    """How much of something there is.

    Attributes:
        count: how many.
        bytes: their size.
    """

    count: int = 0
    bytes: int = 0

    def more(self, count: int, size: int) -> Amount:
        """With some more of it."""
        return Amount(self.count + count, self.bytes + size)


@dataclass(frozen=True)
class Garbage:
    """What a collection of garbage found.

    Attributes:
        garbage: by kind (objects, traces, records, leases, staging, work, cache), what goes or went.
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
    steps; parts while all that they were made of is kept (one that was made of nothing in the store may hold what
    cannot be read again); what leases use; what was written or used in the last hour, or since the oldest build that
    is running began. A record goes before what it points to, and a manifest before the files that it lists, so that a
    killed collection leaves nothing that looks whole and is not.

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


class _Known(NamedTuple):
    """What matters here of a record."""

    key: str
    content: str
    trace: str
    step: str
    inputs: tuple[str, ...]

    @classmethod
    def of(cls, record: Record) -> _Known:
        made = record.ingredients
        inputs = tuple(made.get("inputs", {}).values())
        return cls(record.key, record.content, record.trace, made.get("step", ""), inputs)


class _Used(NamedTuple):
    """What must stay, as of one look."""

    marks: Mapping[str, frozenset[str]]
    horizon: float
    leased: frozenset[str]
    dead: Mapping[str, int]
    looked: float


class _Collection:
    """One collection of garbage, which holds the lease for it."""

    def __init__(self, store: Store, work: Path, keep: int, delete: bool, progress: Progress) -> None:
        self._store, self._storage = store, store.storage
        self._work, self._keep, self._delete, self._progress = work, keep, delete, progress
        # By the clock of the storage, which also gave its files their times.
        self._now = max(file.modified for file in self._storage.tree(f"{leases.FOLDER}/gc"))
        self._known: dict[str, _Known] = {}
        self._garbage: defaultdict[str, Amount] = defaultdict(Amount)
        self._kept: defaultdict[str, Amount] = defaultdict(Amount)
        self._used = self._look()

    def run(self) -> Garbage:
        """Go through everything: records first, so that nothing that is about to go is found and used."""
        self._each("records", self._records)
        self._used = self._look()
        present = {kind: self._each(kind, self._folders) for kind in ("traces", "objects")}
        self._leases()
        self._leftovers("staging", self._staged())
        self._leftovers("work", self._published())
        if not isinstance(self._storage, LocalStorage):
            self._leftovers("cache", self._fetched(present))
        return Garbage(dict(self._garbage), dict(self._kept), self._delete)

    # What is in use

    def _present(self) -> _Used:
        if time.monotonic() - self._used.looked > LOOK_SECONDS:
            self._used = self._look()
        return self._used

    def _look(self) -> _Used:
        looked = time.monotonic()
        held: defaultdict[str, list[Listed]] = defaultdict(list)
        for file in self._storage.tree(leases.FOLDER):
            held[file.name.partition("/")[0]].append(file)
        grace = self._now - GRACE_SECONDS
        alive = {key for key, files in held.items() if max(file.modified for file in files) >= grace}
        horizon = min([grace, *(file.modified for key in alive for file in held[key])])
        dead = {key: sum(file.size for file in held[key]) for key in held if key not in alive}
        return _Used(self._marks(horizon), horizon, frozenset(alive), dead, looked)

    def _marks(self, horizon: float) -> dict[str, frozenset[str]]:
        standing = [_record(*file) for file in _files(self._storage, "references")]
        named = {digest.decode() for _, data in _files(self._storage, "promotions") for digest in _DIGEST.findall(data)}
        objects = {record.content for record in standing} | named
        objects.update(digest for uses in leases.live(self._storage) for digest in uses)
        traces = {record.trace for record in standing} | named
        listed = {file.name: file.modified for file in self._storage.tree("records")}
        roots = self._roots(listed, named, horizon)
        objects.update(root.content for root in roots)
        traces.update(root.trace for root in roots)
        for known in (self._known[name] for name in listed if name in self._known):
            if _is_part(known) and objects.issuperset(known.inputs):
                objects.add(known.content)
                traces.add(known.trace)
        return {"objects": frozenset(objects), "traces": frozenset(traces)}

    def _roots(self, listed: Mapping[str, float], named: set[str], horizon: float) -> list[_Known]:
        """Records that stay whatever they point to."""
        new = [f"records/{name}" for name in listed if name not in self._known]
        for name, data in self._storage.read_all(new).items():
            self._known[name.removeprefix("records/")] = _Known.of(_record(name, data))
        # One may be gone between listing and reading.
        newest_first = sorted((name for name in listed if name in self._known), key=lambda name: -listed[name])
        records = [(listed[name], self._known[name]) for name in newest_first]
        roots = [known for modified, known in records if modified >= horizon or known.key in named]
        roots += [known for _, known in records if not _is_part(known)][: self._keep]
        newest_of = {known.content: known for _, known in reversed(records)}
        return [*roots, *(newest_of[content] for content in named & newest_of.keys())]

    # What goes

    def _each(self, kind: str, take: Callable[[str, str, Mapping[str, list[Listed]]], None]) -> set[str]:
        """Go through the folders of a kind, some at a time, listed just before; returns all their names."""
        prefixes = self._storage.children(kind)
        present: set[str] = set()
        with self._progress.bar(f"looking at {kind}", total=len(prefixes)) as advance:
            for prefix in prefixes:
                found = _listed(self._storage, f"{kind}/{prefix}")
                present |= found.keys()
                take(kind, prefix, found)
                advance()
        return present

    def _records(self, kind: str, prefix: str, found: Mapping[str, list[Listed]]) -> None:
        used = self._present()
        gone: dict[str, list[str]] = {}
        for key, files in found.items():
            dropped = [file for file in files if self._is_useless(f"{prefix}/{key}/{file.name}", file, used)]
            self._count(kind, [file for file in files if file not in dropped], dropped, each=True)
            if len(dropped) == len(files):
                gone[f"{kind}/{prefix}/{key}"] = [file.name for file in dropped]
            elif self._delete:
                for file in dropped:
                    self._storage.remove(f"{kind}/{prefix}/{key}/{file.name}")
        if self._delete:
            self._storage.clear(gone)

    def _is_useless(self, name: str, file: Listed, used: _Used) -> bool:
        known = self._known.get(name)
        if known is None or file.modified >= used.horizon:
            return False
        return known.content not in used.marks["objects"] or known.trace not in used.marks["traces"]

    def _folders(self, kind: str, prefix: str, found: Mapping[str, list[Listed]]) -> None:
        used = self._present()
        gone = {}
        for digest, files in found.items():
            if digest in used.marks[kind] or max(file.modified for file in files) >= used.horizon:
                self._count(kind, files, [])
            else:
                self._count(kind, [], files)
                gone[f"{kind}/{prefix}/{digest}"] = [file.name for file in files]
        if self._delete:
            self._storage.clear(gone)

    def _count(self, kind: str, kept: Sequence[Listed], dropped: Sequence[Listed], *, each: bool = False) -> None:
        for tally, files in ((self._kept, kept), (self._garbage, dropped)):
            if files:
                tally[kind] = tally[kind].more(len(files) if each else 1, sum(file.size for file in files))

    def _leases(self) -> None:
        for key, size in self._used.dead.items():
            self._garbage["leases"] = self._garbage["leases"].more(1, size)
            if self._delete:
                self._storage.remove(f"{leases.FOLDER}/{key}")

    def _leftovers(self, kind: str, paths: Iterable[Path]) -> None:
        for path in paths:
            self._garbage[kind] = self._garbage[kind].more(1, _size_and_time(path)[0])
            if self._delete:
                delete(path)

    def _staged(self) -> Iterator[Path]:
        """What killed processes left in staging."""
        bases = {self._store.cache}
        if isinstance(self._storage, LocalStorage):
            bases.add(self._storage.root)
        for base in sorted(bases):
            for path in _inside(base / "staging"):
                if abandoned(path.name) or self._is_old(path):
                    yield path

    def _published(self) -> Iterator[Path]:
        """Work folders of keys that were published, by a process that was killed before it could delete them."""
        for path in _inside(self._work):
            recorded = self._storage.children(f"records/{path.name[:2]}/{path.name}")
            if recorded and path.name not in self._used.leased and self._is_old(path):
                yield path

    def _fetched(self, present: Mapping[str, set[str]]) -> Iterator[Path]:
        """Local copies of what object storage has no more."""
        for kind, digests in present.items():
            for prefix in _inside(self._store.cache / kind):
                yield from (path for path in _inside(prefix) if path.name not in digests and self._is_old(path))

    def _is_old(self, path: Path) -> bool:
        return _size_and_time(path)[1] < self._used.horizon


def _is_part(known: _Known) -> bool:
    """Whether it is a part of a step's result (see `Build.part`): it is named after its function, a step is not."""
    return ":" in known.step


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size_and_time(path: Path) -> tuple[int, float]:
    """Bytes of a file or folder, and when anything in it was last written."""
    statuses = [each.stat() for each in (path, *path.rglob("*"))]
    return sum(each.st_size for each in statuses), max(each.st_mtime for each in statuses)


def _listed(storage: Storage, name: str) -> dict[str, list[Listed]]:
    """The files of each folder inside a folder."""
    found: defaultdict[str, list[Listed]] = defaultdict(list)
    for file in storage.tree(name):
        folder, _, rest = file.name.partition("/")
        found[folder].append(file._replace(name=rest))
    return dict(found)


def _files(storage: Storage, folder: str) -> list[tuple[str, bytes]]:
    """Name and bytes of every file under a folder."""
    return list(storage.read_all([f"{folder}/{file.name}" for file in storage.tree(folder)]).items())


def _record(name: str, data: bytes) -> Record:
    try:
        return Record(**json.loads(data))
    except (ValueError, TypeError):
        raise StoreError(
            "it is no record; its bytes are damaged",
            where=name,
            fix="delete this one file of the store, and run the pipeline again",
        ) from None


# Verification


@dataclass(frozen=True)
class Fault:
    """Something that is not as it should be.

    Attributes:
        name: what it is about: `objects/DIGEST`, `traces/DIGEST`, or the name of a file of the store.
        what: what is wrong with it.
        affected: what stands on it: `ENVIRONMENT/PIPELINE/STEP` of references, `promotion log of ENVIRONMENT/PIPELINE`.
    """

    name: str
    what: str
    affected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verified:
    """What a verification found.

    Attributes:
        checked: objects and traces that were read, with their bytes.
        faults: what is damaged, or missing though something stands on it.
        notes: for information: nothing stands on it, and a run that wants it builds it.
    """

    checked: Mapping[str, Amount]
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...]

    def json(self) -> dict[str, Any]:
        """As `freshtune store verify --json` prints it."""
        return {
            "checked": {kind: asdict(found) for kind, found in self.checked.items()},
            **{
                part: [{"name": each.name, "what": each.what, "affected": list(each.affected)} for each in faults]
                for part, faults in (("faults", self.faults), ("notes", self.notes))
            },
        }


def verify(store: Store, *, sink: Sink = discard) -> Verified:
    """Read everything, and compare it with its manifest and with the digest that it is named by.

    No remembered digest is believed. The manifest of what is damaged is set aside (`damaged.json`), so that every plan
    sees it from then on, also one that would have believed a remembered digest; its files are left as they are.

    Args:
        store: the store.
        sink: takes progress events.
    """
    return _Verification(store, Progress("store", sink)).run()


class _Verification:
    def __init__(self, store: Store, progress: Progress) -> None:
        self._store, self._storage, self._progress = store, store.storage, progress
        self._faults: list[Fault] = []
        self._notes: list[Fault] = []
        self._present: set[str] = set()
        self._affected: defaultdict[str, list[str]] = defaultdict(list)

    def run(self) -> Verified:
        references = self._records_in("references")
        entries = _files(self._storage, "promotions")
        for name, record in references:
            for what in _points_to(record):
                self._affected[what].append(name.removeprefix("references/").removesuffix(".json"))
        for name, data in entries:
            for digest in set(_DIGEST.findall(data)):
                for kind in ("objects", "traces"):
                    self._affected[f"{kind}/{digest.decode()}"].append(_log_of(name))
        checked = {kind: self._each(kind) for kind in ("objects", "traces")}
        for name, record in references:
            self._missing(name, record, self._faults)
        records = self._records_in("records")
        for name, record in records:
            self._missing(name, record, self._notes)
        self._entries(entries, {record.key for _, record in records})
        return Verified(checked, tuple(self._faults), tuple(self._notes))

    def _records_in(self, folder: str) -> list[tuple[str, Record]]:
        found = []
        for name, data in _files(self._storage, folder):
            try:
                found.append((name, _record(name, data)))
            except StoreError as error:
                self._faults.append(Fault(name, error.what))
        return found

    def _each(self, kind: Kind) -> Amount:
        folders = {
            f"{kind}/{prefix}/{digest}": files
            for prefix in self._storage.children(kind)
            for digest, files in _listed(self._storage, f"{kind}/{prefix}").items()
        }
        size = sum(file.size for files in folders.values() for file in files)
        with self._progress.bar(f"reading {kind}", total=len(folders)) as advance:
            for folder, files in folders.items():
                self._one(kind, folder, files)
                advance()
        return Amount(len(folders), size)

    def _one(self, kind: Kind, folder: str, files: Sequence[Listed]) -> None:
        digest = folder.rpartition("/")[2]
        name = f"{kind}/{digest}"
        if all(file.name != MANIFEST for file in files):
            # What a killed process left. If anything stands on it, that is found to point to nothing.
            self._notes.append(Fault(name, "it is not whole: it has no manifest, and counts as not there"))
            return
        self._present.add(name)
        try:
            what = self._fault(folder, digest, [file.name for file in files if file.name != MANIFEST])
        except OSError as error:
            # It may be readable tomorrow, so it is left as it is.
            self._faults.append(Fault(name, f"it cannot be read: {error}", tuple(self._affected[name])))
            return
        if what is not None:
            self._faults.append(Fault(name, what, tuple(dict.fromkeys(self._affected[name]))))
            self._storage.create(f"{folder}/damaged.json", self._storage.read(f"{folder}/{MANIFEST}"))
            self._storage.remove(f"{folder}/{MANIFEST}")

    def _fault(self, folder: str, digest: str, listed: Sequence[str]) -> str | None:
        try:
            manifest = json.loads(self._storage.read(f"{folder}/{MANIFEST}"))
            named, facts = manifest["digest"], {name: dict(each) for name, each in manifest["files"].items()}
            blobs = {each["sha256"] for each in facts.values()}
        except (ValueError, TypeError, KeyError, AttributeError):
            return f"{MANIFEST} is damaged"
        if named != digest:
            return f"{MANIFEST} is that of {named}"
        local = isinstance(self._storage, LocalStorage)
        # On object storage files lie under their own digests.
        for name, each in facts.items():
            if (name if local else each["sha256"]) not in listed:
                return f"{name} is missing"
        for extra in sorted(set(listed) - (set(facts) if local else blobs)):
            return f"{extra} does not belong to it"
        if local:
            return _unlike(self._storage.local(folder, self._store.cache), facts, digest)
        # Not the copy that was fetched earlier.
        with staging(self._store.cache / "staging") as temporary:
            return _unlike(self._storage.local(folder, temporary), facts, digest)

    def _missing(self, name: str, record: Record, faults: list[Fault]) -> None:
        for kind, digest in (("objects", record.content), ("traces", record.trace)):
            if not self._there(f"{kind}/{digest}"):
                what = f"it points to {kind[:-1]} {digest[:12]}, which is not in the store"
                affected = (name.removeprefix("references/").removesuffix(".json"),) if faults is self._faults else ()
                faults.append(Fault(name, what, affected))

    def _there(self, name: str) -> bool:
        """Whether an object or trace is there, or was reported already; it may be newer than the listing."""
        kind, _, digest = name.partition("/")
        if name not in self._present:
            try:
                self._store.manifest("objects" if kind == "objects" else "traces", digest)
            except DamagedError:
                return False
            self._present.add(name)
        return True

    def _entries(self, entries: Sequence[tuple[str, bytes]], keys: set[str]) -> None:
        for name, data in entries:
            for digest in sorted({found.decode() for found in _DIGEST.findall(data)} - keys):
                if not any(self._there(f"{kind}/{digest}") for kind in ("objects", "traces")):
                    what = f"it names {digest[:12]}, which is not in the store"
                    self._faults.append(Fault(name, what, (_log_of(name),)))


def _points_to(record: Record) -> tuple[str, str]:
    return f"objects/{record.content}", f"traces/{record.trace}"


def _log_of(name: str) -> str:
    _, environment, pipeline, _ = name.split("/")
    return f"promotion log of {environment}/{pipeline}"


def _unlike(folder: Path, facts: Mapping[str, Mapping[str, Any]], digest: str) -> str | None:
    """What in a folder is not as its manifest and its name say, or None; every byte is read."""
    content = {}
    for name, each in facts.items():
        path = folder / name
        if path.stat().st_size != each["size"]:
            return f"{name} has {path.stat().st_size:,} bytes, not {each['size']:,}"
        content[name] = digest_file(path)
        if content[name] != each["sha256"]:
            return f"{name}, bytes altered"
    # The digest of `digest_content`, without reading again what was read already.
    content |= {name: digest_table(folder / name) for name in facts if name.endswith(TABLE_SUFFIXES)}
    return None if digest_json(content) == digest else "its values are not those that it is named by"


# Formats


def migrate(url: str, *, sink: Sink = discard) -> tuple[int, int]:
    """Bring a store to the present format, one format after another.

    Args:
        url: folder or fsspec URL of the store.
        sink: takes progress events.

    Returns:
        Format before and after.

    Raises:
        StoreError: if there is no store, or its format is newer or there is no way from it.
    """
    storage = open_storage(url)
    progress = Progress("store", sink)
    before = _format(storage, url)
    with leases.lease(storage, "migrate", progress.message, []):
        # Another process may have done it while this one waited.
        while (found := _format(storage, url)) != stored.FORMAT:
            if found not in stored.MIGRATIONS:
                raise StoreError(
                    f"there is no way from format {found} to format {stored.FORMAT}",
                    where=url,
                    fix="use the version of freshtune that wrote it, or point FRESHTUNE_STORE at another folder",
                )
            progress.message(f"from format {found} to format {found + 1}")
            stored.MIGRATIONS[found](storage)
            storage.replace("format.json", canonical_json({"format": found + 1}))
    return before, stored.FORMAT


def _format(storage: Storage, url: str) -> int:
    try:
        return int(json.loads(storage.read("format.json"))["format"])
    except FileNotFoundError:
        raise StoreError("there is no store here", where=url, fix="point FRESHTUNE_STORE at the store") from None
