"""What a store holds of texts that are to be forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from assets.cli.everywhere import SHORT
from assets.cli.scrubbing import Words, still_in
from assets.errors import DamagedError
from assets.model.rows import ancestors
from assets.release.log import stands
from assets.splits.rows import OVERLAY
from assets.splits.sides import SIDES
from assets.store.forgotten import form, matching
from assets.store.links import linked, read_links
from assets.store.listing import parse_record, read_files
from assets.store.storage import LocalStorage
from assets.store.store import Kind, Record, Store
from assets.store.tables import among, as_ids, columns_in, from_hexadecimal, hexadecimal, read_tables

Mask = npt.NDArray[np.bool_]
TEXTS = ("rows.feather", "ids.feather")
"""Files of a shard: the texts of rows, and their identifiers."""
LEARNED = ("train", "validation")
"""Sides whose rows a model that is started from another has in its weights, or was chosen by."""
WEIGHTS = "model/config.json"
"""In the content of a model, which no row's text is in; the words of its tokenizer are not."""


@dataclass
class Shards:
    """The shards that have rows or lines which are to go.

    Attributes:
        stays: digest → for each row whether it stays.
        rejected: digest → for each rejected line whether it stays.
        every: digests of all shards of the store, those without such rows too.
        texts: of the rows and lines, as they came.
        row_ids: of the rows and lines.
    """

    stays: dict[str, Mask] = field(default_factory=dict)
    rejected: dict[str, Mask] = field(default_factory=dict)
    every: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    row_ids: set[str] = field(default_factory=set)


@dataclass
class Found:
    """What of a store is to go, but for shards.

    Attributes:
        objects: digests, each before those that it links to.
        traces: digests.
        records: names of records that point to any of it, or to the shards.
        carriers: names of records of models that have any of it from models that they were started from.
        references: names of references that point to any of it, or to such models, with what they say.
    """

    objects: list[str]
    traces: list[str]
    records: list[str]
    carriers: list[str]
    references: dict[str, Record]


def digests(store: Store, kind: Kind) -> Iterator[str]:
    """Every object or trace that looks whole."""
    for prefix in store.storage.children(kind):
        yield from store.storage.children(f"{kind}/{prefix}")


def manifests(store: Store, kind: Kind) -> dict[str, dict[str, Any]]:
    """Digest → manifest of every object or trace that has one."""
    found = {}
    for digest in digests(store, kind):
        try:
            found[digest] = store.manifest(kind, digest)
        except DamagedError:
            # Without one nothing reads it; `freshtune store verify` tells of it.
            continue
    return found


def shards(store: Store) -> Iterator[Path]:
    """Folder of every shard with rows."""
    for digest, manifest in manifests(store, "objects").items():
        if set(TEXTS) <= manifest["files"].keys():
            yield store.open("objects", digest, reading=False)


def shards_of(store: Store, pipeline: str) -> list[Path]:
    """Shards that a pipeline's results link to: what it stands for in every environment, and what its logs name."""
    known = manifests(store, "objects")
    named = {
        digest
        for name, record in _records(store, "references")
        if name.split("/")[2] == pipeline
        for digest in record.links
    }
    for environment, each in logs(store):
        if each == pipeline:
            for digest in named_by_logs(entry.fields for entry in store.log(environment, pipeline)):
                named.update(known.get(digest, {}).get("links", ()))
    return [
        store.open("objects", digest, reading=False)
        for digest, manifest in known.items()
        if digest in named and set(TEXTS) <= manifest["files"].keys()
    ]


def ids_of(shards: Iterable[Path], column: str, row_ids: Iterable[str]) -> set[str]:
    """What some rows have in a column of ids, without white space at the ends; nothing where it is blank."""
    some = from_hexadecimal(sorted(row_ids))
    found: set[str] = set()
    for shard, values in _columns(shards, column):
        ids = as_ids(read_tables([shard], "ids.feather", ["row_id"])["row_id"])
        found.update(value.strip() for value in values.filter(pa.array(among(ids, some))).to_pylist() if value)
    return found - {""}


def texts_with(shards: Iterable[Path], column: str, ids: set[str]) -> set[str]:
    """Texts of the rows that have one of some ids."""
    found: set[str] = set()
    for shard, values in _columns(shards, column):
        meant = pa.array([value is not None and value.strip() in ids for value in values.to_pylist()], pa.bool_())
        found.update(read_tables([shard], "rows.feather", ["text"])["text"].filter(meant).drop_null().to_pylist())
    return found


def _columns(shards: Iterable[Path], column: str) -> Iterator[tuple[Path, pa.ChunkedArray]]:
    """A column of those shards that have it."""
    for shard in shards:
        if column in columns_in(shard, "rows.feather"):
            yield shard, read_tables([shard], "rows.feather", [column])[column]


def is_labelled(shard: Path) -> bool:
    """Whether it is a shard of labelled rows as they were parsed, with the file and line of each."""
    return (shard / "places.feather").is_file() and "label" in columns_in(shard, "rows.feather")


def look_at_shards(store: Store, key: bytes, hashes: frozenset[str]) -> Shards:
    """Find the rows and rejected lines that some keyed hashes mean."""
    found = Shards()
    for shard in shards(store):
        found.every.add(shard.name)
        names = ["text"]
        texts = read_tables([shard], "rows.feather", names)["text"].to_pylist()
        gone = np.array(matching(texts, key, hashes), bool)
        lines = _lines(shard)
        lost = np.array(matching([line for line, _ in lines], key, hashes), bool)
        if not gone.any() and not lost.any():
            continue
        found.stays[shard.name], found.rejected[shard.name] = ~gone, ~lost
        ids = as_ids(read_tables([shard], "ids.feather", ["row_id"])["row_id"])[gone]
        found.row_ids.update(hexadecimal(ids).to_pylist())
        found.texts.update(texts[at] for at in np.flatnonzero(gone))
        for at in np.flatnonzero(lost):
            found.texts.add(lines[at][0])
            found.row_ids.add(lines[at][1])
    return found


def lines_with(store: Store, texts: Iterable[str]) -> set[str]:
    """Rejected lines that hold one of some texts, whatever the white space, but for short ones."""
    long = {form(text) for text in texts if len(text) >= SHORT}
    return {line for shard in shards(store) for line, _ in _lines(shard) if any(text in form(line) for text in long)}


def _lines(shard: Path) -> list[tuple[str, str]]:
    """Text and identifier of each rejected line of a shard."""
    if not (shard / "rejected.feather").is_file():
        return []
    table = read_tables([shard], "rejected.feather", ["row_id", "line_text"])
    names = hexadecimal(as_ids(table["row_id"])).to_pylist()
    return list(zip(table["line_text"].to_pylist(), names, strict=True))


def words(shards: Shards, texts: Iterable[str], forms: Iterable[str]) -> Words:
    """What to look for: texts as they came, as somebody gave them, and in normal forms."""
    every = {*shards.texts, *texts, *forms}
    every |= {form(text) for text in every} | {text.strip() for text in every}
    return Words(tuple(sorted(text for text in every if text)), tuple(sorted(shards.row_ids)))


def look(store: Store, shards: Shards, words: Words) -> Found:
    """Find everything that holds any of it, is a part made of such shards, or links to something that goes.

    Parts of shards go whole, for they may hold digests and n-grams of texts.
    """
    records = dict(_records(store, "records"))
    gone = _with_parts(set(shards.stays), records.values())
    known = manifests(store, "objects")
    gone |= {
        digest
        for digest, manifest in known.items()
        if digest not in shards.every and WEIGHTS not in manifest["files"] and _holds(store, "objects", digest, words)
    }
    # Tokens are no words that could be looked for.
    gone = _with_parts(gone, records.values())
    while more := {
        digest for digest, manifest in known.items() if digest not in gone and gone & set(manifest.get("links", ()))
    }:
        gone |= more
    gone -= shards.stays.keys()
    traces = [digest for digest in digests(store, "traces") if _holds(store, "traces", digest, words)]
    every = {*gone, *shards.stays}
    sides = sides_in(store, shards)
    carriers = {
        digest for digest, manifest in known.items() if WEIGHTS in manifest["files"] and carried(store, digest, sides)
    }

    def points(record: Record) -> bool:
        return record.content in every or record.trace in set(traces) or bool(every & set(record.links))

    linking = {digest: len(known[digest].get("links", ())) for digest in gone if digest in known}
    return Found(
        objects=sorted(linking, key=lambda digest: (-linking[digest], digest)),
        traces=sorted(traces),
        records=sorted(name for name, record in records.items() if points(record)),
        carriers=sorted(name for name, record in records.items() if record.content in carriers),
        references={
            name: record
            for name, record in _records(store, "references")
            if points(record) or record.content in carriers
        },
    )


def _with_parts(objects: set[str], records: Iterable[Record]) -> set[str]:
    """Some objects, and the parts that are made of any of them, or of such parts."""
    parts = [record for record in records if ":" in record.ingredients.get("step", "")]
    found = set(objects)
    while more := {
        part.content
        for part in parts
        if part.content not in found and found & set(part.ingredients.get("inputs", {}).values())
    }:
        found |= more
    return found


def _records(store: Store, folder: str) -> Iterator[tuple[str, Record]]:
    return ((name, parse_record(name, data)) for name, data in read_files(store.storage, folder))


def _holds(store: Store, kind: Kind, digest: str, words: Words) -> bool:
    fetched = not isinstance(store.storage, LocalStorage) and not (store.cache / kind / digest[:2] / digest).exists()
    try:
        folder = store.storage.local(f"{kind}/{digest[:2]}/{digest}", store.cache)
        return bool(words.holding(folder))
    except FileNotFoundError:
        # It has no manifest any more: a removal that was killed.
        return False
    finally:
        if fetched:
            LocalStorage(store.cache).remove(f"{kind}/{digest[:2]}/{digest}")


def longer(store: Store, words: Words) -> Words:
    """Texts of other rows, which hold any of some words as a part."""
    long = [text for text in words.texts if len(text) >= SHORT]
    found: set[str] = set()
    for shard in shards(store):
        rows = read_tables([shard], "rows.feather", ["text"])["text"]
        for text in long:
            found.update(rows.filter(pc.match_substring(rows, text)).to_pylist())
    found |= {form(text) for text in found} | {text.strip() for text in found}
    return Words(tuple(sorted(found - set(words.texts))), ())


def remaining(store: Store, words: Words) -> list[str]:
    """`objects/DIGEST` and `traces/DIGEST` that hold any of it, models excepted."""
    found = []
    others = longer(store, words)
    kinds: tuple[Kind, ...] = ("objects", "traces")
    for kind in kinds:
        for digest, manifest in manifests(store, kind).items():
            if WEIGHTS in manifest["files"]:
                continue
            folder = store.storage.local(f"{kind}/{digest[:2]}/{digest}", store.cache)
            if any(still_in(path, words, others) for path in words.wholly_in(folder)):
                found.append(f"{kind}/{digest}")
    return found


def sides_of(store: Store, splits: str, shards: Shards) -> dict[str, int]:
    """How many of the rows were on each side of splits; empty if none was, or they cannot be read any more."""
    try:
        folder = store.open("objects", splits)
    except DamagedError:
        return {}
    if "shards" not in read_links(folder):
        return {}
    side = read_tables([folder], OVERLAY, ["side"])["side"].to_numpy()
    counts = dict.fromkeys(SIDES, 0)
    start = 0
    for shard in linked(folder, "shards"):
        count = read_tables([shard], "ids.feather").num_rows
        if shard.name in shards.stays:
            own = side[start : start + count][~shards.stays[shard.name]]
            for at, name in enumerate(SIDES):
                counts[name] += int((own == at).sum())
        start += count
    return {name: number for name, number in counts.items() if number}


def sides_in(store: Store, shards: Shards) -> Callable[[str], Mapping[str, int]]:
    """From splits to how many of the rows were on each side of them, see `sides_of`; looked at once for each.

    Of splits that an earlier request replaced, what stands for them is looked at.
    """
    entries = [entry for environment, pipeline in logs(store) for entry in store.log(environment, pipeline)]

    @cache
    def sides(splits: str) -> Mapping[str, int]:
        # What this request has replaced is there until the end, and still has them.
        return sides_of(store, splits, shards) or sides_of(store, stands(entries, splits), shards)

    return sides


def carried(store: Store, model: str, sides: Callable[[str], Mapping[str, int]]) -> dict[str, int]:
    """How many of the rows a model has in its weights from models that it was started from: side of theirs → rows."""
    found: dict[str, int] = {}
    for each in ancestors(lambda name: store.storage.read(f"objects/{model[:2]}/{model}/{name}")):
        for splits in each["splits"]:
            for side, count in sides(splits).items():
                if side in LEARNED:
                    found[side] = max(count, found.get(side, 0))
    return found


def logs(store: Store) -> Iterator[tuple[str, str]]:
    """Environment and pipeline of every promotion log."""
    for environment in store.storage.children("promotions"):
        for pipeline in store.storage.children(f"promotions/{environment}"):
            yield environment, pipeline


def named_by_logs(entries: Iterable[Mapping[str, Any]]) -> dict[str, Kind]:
    """Objects and traces that entries of a promotion log name and that readers of the log open."""
    found: dict[str, Kind] = {}
    for fields in entries:
        for step in ("raw", "splits", "evaluation"):
            if step in fields.get("inputs", {}):
                found[fields["inputs"][step]] = "objects"
        for part, kind in (("content", "objects"), ("trace", "traces")):
            if part in fields.get("release", {}):
                found[fields["release"][part]] = kind  # type: ignore[assignment]
    return found


def found_before(store: Store, request: str) -> dict[str, Any] | None:
    """What a request had found before anything was removed, if it came so far."""
    try:
        told: dict[str, Any] = json.loads(store.storage.read(f"forgotten/{request}.found.json"))
    except FileNotFoundError:
        return None
    return told
