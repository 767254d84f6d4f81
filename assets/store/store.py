"""The store: immutable objects, append-only records, references and promotion logs.

- `format.json`: `{"format": 1}`
- `objects/ab/ab…/`: content of a result under its content digest, `manifest.json` last
- `traces/cd/cd…/`: what is told about it, under its own digest
- `records/ef/ef…/0000.json`: key → content and trace; the highest number stands
- `references/ENVIRONMENT/PIPELINE/STEP.json`: what a step currently stands for
- `leases/KEY/000000.json`, `.beat`: who computes a key at the moment
- `promotions/ENVIRONMENT/PIPELINE/00000000.json`: the promotion log
- `forgotten/00000000.json`: what is forgotten, see `assets.store.forgotten`
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from assets.errors import DamagedError, StoreError
from assets.store.digests import canonical_json, digest_content, digest_file, files_under
from assets.store.index import FileIndex
from assets.store.lease import lease
from assets.store.links import read_links
from assets.store.step import LogEntry, Measurements
from assets.store.storage import MANIFEST, LocalStorage, Storage, open_storage, read_only, staging

FORMAT = 1
MIGRATIONS: dict[int, Callable[[Storage], None]] = {}
"""For each earlier format the function that makes a store of the next one of it; it must bear being killed and called
again."""

MEASUREMENTS = "measurements.json"
LARGE_BYTES = 1 << 20
"""To read a file of this size once more takes longer than to look at its size and time."""

Kind = Literal["objects", "traces"]


@dataclass(frozen=True)
class Record:
    """That a key was once made into something.

    Attributes:
        key: digest of what it is made from.
        content: digest of the object.
        trace: digest of the trace.
        ingredients: what the key is the digest of; tells why a later key differs.
        files: for each external input, its files by name with [sha256, bytes].
        seconds: how long it took to build.
        time: Unix time of publication, in seconds.
        by: user and machine.
        number: place among the records of the key; the highest stands.
        accepted: why a person let the key stand for an object that it was not built under, or None.
        links: digests of the objects that the content refers to.
    """

    key: str
    content: str
    trace: str
    ingredients: Mapping[str, Any]
    files: Mapping[str, Mapping[str, list[Any]]]
    seconds: float
    time: float
    by: str
    number: int = 0
    accepted: str | None = None
    links: list[str] = field(default_factory=list)


class Store:
    """Everything that was ever built, by content.

    Attributes:
        url: folder or fsspec URL.
        cache: local folder for what can be had again.
        storage: where the bytes are.
        index: remembered digests of local files.
    """

    def __init__(self, url: str, cache: Path) -> None:
        """Open a store, or start one.

        Args:
            url: folder or fsspec URL of the store.
            cache: local folder for what can be had again: fetched objects, digests of files.

        Raises:
            StoreError: if it was written by another format of the store.
        """
        self.url = url
        self.cache = cache
        self.storage = open_storage(url)
        self.index = FileIndex(cache / "files.json")
        self._check_format()

    def _check_format(self) -> None:
        try:
            found = json.loads(self.storage.read("format.json"))["format"]
        except FileNotFoundError:
            self.storage.create("format.json", canonical_json({"format": FORMAT}))
            return
        if found != FORMAT:
            known = set(range(found, FORMAT)) <= set(MIGRATIONS) and found < FORMAT
            other = "use the version of freshtune that wrote it, or point FRESHTUNE_STORE at another folder"
            raise StoreError(
                f"the store has format {found}; this version of freshtune reads format {FORMAT}",
                where=self.url,
                fix="bring it to the present format with `freshtune store migrate`" if known else other,
            )

    # Objects and traces

    @contextmanager
    def staged(self) -> Iterator[Path]:
        """A new empty folder to build in, from which `publish` takes the result."""
        base = self.storage.root if isinstance(self.storage, LocalStorage) else self.cache
        with staging(base / "staging") as path:
            yield path

    def publish(self, kind: Kind, folder: Path) -> str:
        """Publish a folder by content and return its digest; the folder is gone afterwards.

        Content is digested by the values of its tables, a trace by its bytes. What was published first stands.
        """
        files = {
            path.relative_to(folder).as_posix(): {"sha256": digest_file(path), "size": path.stat().st_size}
            for path in files_under(folder)
        }
        digest = digest_content(folder)
        links = sorted({link for digests in read_links(folder).values() for link in digests})
        manifest = {"format": FORMAT, "digest": digest, "files": files} | ({"links": links} if links else {})
        name = _name(kind, digest)
        # Before the look, so that it is not collected as garbage between the look and the record.
        self.storage.touch(f"{name}/{MANIFEST}")
        # Also before: what comes in between is another's publication of the same, which may be read already.
        stood = bool(self.storage.children(name))
        if self.fault(kind, digest, reading=True) is not None:
            if stood:
                self.storage.remove(name)
            (folder / MANIFEST).write_bytes(canonical_json(manifest))
            read_only(folder)
            self.storage.publish(folder, name)
            # Else another process published the same first, and its folder stands.
            if not folder.exists():
                self._learn(name, files)
        return digest

    def _learn(self, name: str, files: Mapping[str, Mapping[str, Any]]) -> None:
        """Let no plan read a large file again to learn what was just written into it.

        Of a small one not: it may have been written so fast that its time does not tell a later change.
        """
        if isinstance(self.storage, LocalStorage):
            for relative, facts in files.items():
                if facts["size"] >= LARGE_BYTES:
                    self.index.learn(self.storage.root / name / relative, facts["sha256"])

    def manifest(self, kind: Kind, digest: str) -> dict[str, Any]:
        """Manifest of an object or trace.

        Raises:
            DamagedError: if there is none, or it is no manifest.
        """
        try:
            manifest: dict[str, Any] = json.loads(self.storage.read(f"{_name(kind, digest)}/{MANIFEST}"))
        except (FileNotFoundError, NotADirectoryError):
            raise DamagedError(f"{kind[:-1]} {digest[:12]} is not in the store", where=self.url) from None
        except ValueError:
            raise DamagedError(f"{kind[:-1]} {digest[:12]}: {MANIFEST} is damaged", where=self.url) from None
        return manifest

    def fault(self, kind: Kind, digest: str, *, reading: bool = False) -> str | None:
        """What is wrong with an object or trace, or None if it is whole.

        A local file is read again only if its size, time or inode changed since it was last read whole; of an object
        storage the sizes are compared. Whoever is `reading` it has every local file read, whatever is remembered.
        """
        try:
            manifest = self.manifest(kind, digest)
        except DamagedError as error:
            return error.what
        files: dict[str, dict[str, Any]] = manifest["files"]
        sizes = self.storage.sizes(_name(kind, digest))
        for name, facts in files.items():
            short = facts["size"] - sizes.get(name, 0)
            if name not in sizes:
                return f"{name} is missing"
            if short:
                return f"{name}, {abs(short)} bytes {'short' if short > 0 else 'too long'}"
        if isinstance(self.storage, LocalStorage):
            altered = self._altered(self.storage.root / _name(kind, digest), files, again=reading)
            if altered is not None:
                return altered
        for link in manifest.get("links", ()):
            # Their bytes are checked by whoever reads them: see `assets.store.links.checked`.
            fault = self.fault("objects", link)
            if fault is not None:
                return f"{link[:12]}: {fault}"
        return None

    def _altered(self, folder: Path, files: Mapping[str, Mapping[str, Any]], *, again: bool) -> str | None:
        altered = (
            name for name, facts in files.items() if self.index.sha256(folder / name, again=again) != facts["sha256"]
        )
        fault = next((f"{name}, bytes altered" for name in altered), None)
        if fault is not None:
            # A disk may fail without a new time: what was learned must outlive this process.
            self.index.save()
        return fault

    def open(self, kind: Kind, digest: str, *, reading: bool = True) -> Path:
        """Local folder of an object or trace, its bytes checked; what it refers to lies beside it.

        Who is not `reading` all of it checks the files that it reads: see `assets.store.links.checked`.

        Raises:
            DamagedError: if it is missing or its bytes are not those of its manifest.
        """
        fault, name = self.fault(kind, digest, reading=reading), _name(kind, digest)
        if fault is None and not isinstance(self.storage, LocalStorage):
            folder, manifest = self.storage.local(name, self.cache), self.manifest(kind, digest)
            fault = self._altered(folder, manifest["files"], again=reading)
            if fault is not None:
                LocalStorage(self.cache).remove(name)
            for link in manifest.get("links", ()):
                self.open("objects", link, reading=False)
        if fault is not None:
            raise DamagedError(f"{kind[:-1]} {digest[:12]} is damaged: {fault}", where=self.url, fix="run again")
        return self.storage.local(name, self.cache)

    def measurements(self, trace: str) -> Measurements:
        """What the step's function measured when it made this trace."""
        measured: Measurements = json.loads((self.open("traces", trace) / MEASUREMENTS).read_bytes())
        return measured

    # Records

    def record(self, key: str) -> Record | None:
        """The record of a key that stands, or None."""
        names = self.storage.children(_records(key))
        if not names:
            return None
        return Record(**json.loads(self.storage.read(f"{_records(key)}/{names[-1]}")))

    def add_record(self, record: Record, *, after: Record | None) -> Record:
        """Append a record behind the one that stands, or adopt the one that another process appended meanwhile."""
        record = replace(record, number=0 if after is None else after.number + 1)
        if self.storage.create(f"{_records(record.key)}/{record.number:04d}.json", canonical_json(asdict(record))):
            return record
        standing = self.record(record.key)
        assert standing is not None
        return standing

    def whole(self, record: Record | None) -> bool:
        """Whether a record's object and trace are there, undamaged as far as `fault` can tell.

        Who asks is about to use them, so they count as used now, which keeps them from being collected as garbage.
        """
        if record is None:
            return False
        self.storage.touch(f"{_records(record.key)}/{record.number:04d}.json")
        return not (self.fault("objects", record.content) or self.fault("traces", record.trace))

    def lease(self, key: str, waiting: Callable[[str], None], uses: list[str]) -> AbstractContextManager[None]:
        """The lease of a key; see `assets.store.lease`."""
        return lease(self.storage, key, waiting, uses)

    # References

    def reference(self, environment: str, pipeline: str, step: str) -> Record | None:
        """The record that a step currently stands for, or None."""
        try:
            return Record(**json.loads(self.storage.read(f"references/{environment}/{pipeline}/{step}.json")))
        except FileNotFoundError:
            return None

    def refer(self, environment: str, pipeline: str, step: str, record: Record) -> None:
        """Let a step stand for a record."""
        self.storage.replace(f"references/{environment}/{pipeline}/{step}.json", canonical_json(asdict(record)))

    # Promotion log

    def log(self, environment: str, pipeline: str) -> tuple[LogEntry, ...]:
        """Entries of a promotion log, oldest first; they name what stands for objects that were replaced since."""
        folder = f"promotions/{environment}/{pipeline}"
        return _replaced(
            LogEntry(number, json.loads(self.storage.read(f"{folder}/{name}")))
            for number, name in enumerate(name for name in self.storage.children(folder) if name[0].isdigit())
        )

    def append(self, environment: str, pipeline: str, entry: LogEntry) -> bool:
        """Append an entry; False if another process took its number."""
        name = f"promotions/{environment}/{pipeline}/{entry.number:08d}.json"
        return self.storage.create(name, canonical_json(dict(entry.fields)))

    def settled(self, environment: str, pipeline: str) -> dict[str, Any] | None:
        """What stands outside as of the last settled entry: {"number": …, …}, or None."""
        try:
            data = self.storage.read(f"promotions/{environment}/{pipeline}/settled.json")
        except FileNotFoundError:
            return None
        settled: dict[str, Any] = json.loads(data)
        return settled

    def settle(self, environment: str, pipeline: str, number: int, outside: Mapping[str, Any]) -> None:
        """Write down that what stands outside is in line with the log up to an entry."""
        name = f"promotions/{environment}/{pipeline}/settled.json"
        self.storage.replace(name, canonical_json({**outside, "number": number}))


def _replaced(entries: Iterable[LogEntry]) -> tuple[LogEntry, ...]:
    """Entries with digests of objects that were replaced by others without rows that were forgotten."""
    found = tuple(entries)
    stands: dict[str, str] = {}
    for entry in found:
        now: Mapping[str, str] = entry.fields.get("replaced", {})
        stands = {**{old: now.get(new, new) for old, new in stands.items()}, **now}
    if not stands:
        return found
    return tuple(replace(entry, fields=_with_digests(entry.fields, stands)) for entry in found)


def _with_digests(fields: Mapping[str, Any], stands: Mapping[str, str]) -> dict[str, Any]:
    digests = {
        name: {what: stands.get(digest, digest) for what, digest in fields[name].items()}
        for name in ("inputs", "release")
        if name in fields
    }
    return {**fields, **digests}


def _name(kind: Kind, digest: str) -> str:
    return f"{kind}/{digest[:2]}/{digest}"


def _records(key: str) -> str:
    return f"records/{key[:2]}/{key}"
