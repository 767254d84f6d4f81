"""Verification of a store: reads every byte, and compares it with manifests and digests."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assets.errors import DamagedError, StoreError
from assets.progress import Progress, Sink, discard
from assets.store.digests import LAYOUT, TABLE_SUFFIXES, digest_file, digest_json, digest_table
from assets.store.listing import DIGEST, Amount, folders_in, parse_record, read_files
from assets.store.storage import MANIFEST, Listed, LocalStorage, staging
from assets.store.store import Kind, Record, Store


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
        entries = read_files(self._storage, "promotions")
        for name, record in references:
            for what in _points_to(record):
                self._affected[what].append(name.removeprefix("references/").removesuffix(".json"))
        for name, data in entries:
            for digest in set(DIGEST.findall(data)):
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
        for name, data in read_files(self._storage, folder):
            try:
                found.append((name, parse_record(name, data)))
            except StoreError as error:
                self._faults.append(Fault(name, error.what))
        return found

    def _each(self, kind: Kind) -> Amount:
        folders = {
            f"{kind}/{prefix}/{digest}": files
            for prefix in self._storage.children(kind)
            for digest, files in folders_in(self._storage, f"{kind}/{prefix}").items()
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
        for pointed in _points_to(record):
            kind, _, digest = pointed.partition("/")
            if not self._there(pointed):
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
        # Removed on request, as the log says.
        gone = {digest for _, data in entries for digest in _forgotten(data)}
        for name, data in entries:
            for digest in sorted({found.decode() for found in DIGEST.findall(data)} - keys - gone):
                if not any(self._there(f"{kind}/{digest}") for kind in ("objects", "traces")):
                    what = f"it names {digest[:12]}, which is not in the store"
                    self._faults.append(Fault(name, what, (_log_of(name),)))


def _points_to(record: Record) -> tuple[str, ...]:
    linked = (f"objects/{digest}" for digest in record.links)
    return f"objects/{record.content}", f"traces/{record.trace}", *linked


def _forgotten(data: bytes) -> set[str]:
    """Digests and keys of what an entry of a promotion log says to be forgotten."""
    try:
        fields = json.loads(data)
    except ValueError:
        # What is damaged says nothing; that it is will be noticed by whoever reads the log.
        return set()
    return {*fields.get("replaced", {}), *fields.get("removed", ())}


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
    content = {name: value for name, value in content.items() if not name.startswith(f"{LAYOUT}/")}
    return None if digest_json(content) == digest else "its values are not those that it is named by"
