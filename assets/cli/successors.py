"""What stands for an object of the store once rows are forgotten: the same without them.

What the promotion log names is needed later: the splits of every champion tell which rows it has seen, and what `raw`
stood for remembers the texts that are gone from the source. So they are not only removed, but made again without the
rows that go.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.cli.scrubbing import Words, scrub
from assets.raw.rows import GONE, LARGE, RETAINED
from assets.splits.rows import OVERLAY
from assets.store.digests import digest_json, write_json
from assets.store.links import LINKS, linked, read_links, write_links
from assets.store.storage import MANIFEST
from assets.store.store import Kind, Record, Store
from assets.store.tables import as_ids, digest_of_rows, order_of, read_tables, write_table

Mask = npt.NDArray[np.bool_]
KEPT = "layout/rows.feather"
STEP = "forgotten:successor"
"""What records of successors are called; as of a part that was made of nothing, so that they are kept."""


@dataclass
class Successors:
    """Makes them.

    Attributes:
        store: where they are published.
        words: what is to go.
        stays: shard → for each of its rows whether it stays; of the shards that lose rows or rejected lines.
        rejected: shard → the same of its rejected lines.
        by: who does this.
        when: Unix time, in seconds.
    """

    store: Store
    words: Words
    stays: Mapping[str, Mask]
    rejected: Mapping[str, Mask]
    by: str
    when: float
    _made: dict[str, str] = field(default_factory=dict)

    def of(self, kind: Kind, digest: str) -> str | None:
        """Digest of what stands for an object or trace from now on; None if it is damaged, or cannot be told apart."""
        if self.store.fault(kind, digest) is not None:
            return None
        folder = self.store.open(kind, digest)
        if kind == "objects" and (folder / LINKS).is_file():
            return self._linking(folder)
        return self._plain(kind, folder)

    def _plain(self, kind: Kind, folder: Path) -> str | None:
        with self.store.staged() as staged:
            new = self._copied(folder, staged)
            if (new / "sources.json").is_file():
                # Of `raw`: which shards its rows were read from.
                told = json.loads((new / "sources.json").read_bytes())
                told["shards"] = [self._shard(each) for each in told["shards"]]
                write_json(new / "sources.json", told)
            made = self.store.publish(kind, new)
        return None if made == folder.name else made

    def _copied(self, folder: Path, staged: Path) -> Path:
        new = staged / "content"
        shutil.copytree(folder, new, copy_function=shutil.copyfile, ignore=lambda _, names: {MANIFEST} & {*names})
        for path in self.words.holding(new):
            if not scrub(path, self.words) or self.words.holding(path):
                path.unlink()
        return new

    def _linking(self, folder: Path) -> str | None:
        links = read_links(folder)
        if set(links) - {LARGE} == {"shards", "prepared"} and (folder / OVERLAY).is_file():
            fill = self._fill_splits
        elif set(links) <= {"shards", LARGE, GONE, RETAINED}:
            fill = self._fill_raw
        else:
            return None
        with self.store.staged() as staged:
            new = self._copied(folder, staged)
            fill(folder, links, new)
            return self._published(folder.name, new)

    def _published(self, old: str, new: Path) -> str:
        """Publish an object with links; they are kept by a record, under a key that nothing else has."""
        linked_to = sorted({digest for digests in read_links(new).values() for digest in digests})
        content = self.store.publish("objects", new)
        with self.store.staged() as staged:
            (staged / "trace").mkdir()
            write_json(staged / "trace" / "measurements.json", {})
            trace = self.store.publish("traces", staged / "trace")
        made = {
            "step": "forgotten:successor",
            "configuration": {"of": old},
            "environment": {},
            "code": {},
            "inputs": {},
        }
        key = digest_json({**made, "content": content})
        if self.store.record(key) is None:
            record = Record(key, content, trace, made, {}, 0.0, self.when, self.by, links=linked_to)
            self.store.add_record(record, after=None)
        return content

    def _stays(self, shard: Path) -> Mask:
        known = self.stays.get(shard.name)
        return np.ones(read_tables([shard], "ids.feather").num_rows, bool) if known is None else known

    def _fill_raw(self, folder: Path, links: Mapping[str, list[str]], new: Path) -> None:
        shards = linked(folder, "shards")
        stays = np.concatenate([self._stays(shard) for shard in shards])
        kept = read_tables([folder], KEPT)["kept"].to_numpy()
        write_table(new / KEPT, pa.table({"kept": kept[stays]}), compressed=True)
        ids = as_ids(read_tables(shards, "ids.feather")["row_id"])
        some = ids[stays & kept]
        rows: dict[str, Any] = json.loads((folder / "rows.json").read_bytes())
        rows |= {"rows": len(some), "sha256": digest_of_rows(some[order_of(some)])}
        if GONE in links:
            (gone,) = linked(folder, GONE)
            left = as_ids(read_tables([gone], "ids.feather")["row_id"])[self._stays(gone)]
            rows[GONE] = {"rows": len(left), "sha256": digest_of_rows(left)}
        write_json(new / "rows.json", rows)
        write_links(new, {name: [self._shard(each) for each in digests] for name, digests in links.items()})

    def _fill_splits(self, folder: Path, links: Mapping[str, list[str]], new: Path) -> None:
        shards = linked(folder, "shards")
        stays = np.concatenate([self._stays(shard) for shard in shards])
        overlay = read_tables([folder], OVERLAY)
        side, group = (overlay[name].to_numpy() for name in ("side", "group"))
        table = {"side": side[stays], "group": regrouped(group, stays)}
        write_table(new / OVERLAY, pa.table(table), compressed=True)
        ids = as_ids(read_tables(shards, "ids.feather")["row_id"])[stays]
        rows: dict[str, Any] = json.loads((folder / "rows.json").read_bytes())
        there = np.flatnonzero(table["side"] >= 0)
        there = there[order_of(ids[there])]
        digest = digest_of_rows(ids[there], ids[table["group"][there]], table["side"][there])
        write_json(new / "rows.json", rows | {"rows": len(there), "sha256": digest})
        prepared = [
            self._rows_of(texts, ("texts", "keys"), self.stays[shard.name]) if shard.name in self.stays else texts.name
            for shard, texts in zip(shards, linked(folder, "prepared"), strict=True)
        ]
        of_raw = {name: digests for name, digests in links.items() if name != "prepared"}
        moved = {name: [self._shard(each) for each in digests] for name, digests in of_raw.items()}
        write_links(new, {**moved, "prepared": prepared})

    def _rows_of(self, folder: Path, names: tuple[str, ...], stays: Mask) -> str:
        """An object of tables that have a value for each row, without some rows."""
        with self.store.staged() as staged:
            new = staged / "content"
            new.mkdir()
            for name in names:
                if (folder / f"{name}.feather").is_file():
                    rows = read_tables([folder], f"{name}.feather").filter(pa.array(stays))
                    write_table(new / f"{name}.feather", rows, compressed=name != "ids")
            return self.store.publish("objects", new)

    def _shard(self, digest: str) -> str:
        """A shard without the rows that go; itself if none do."""
        if digest not in self.stays:
            return digest
        if digest not in self._made:
            self._made[digest] = self._without(self.store.open("objects", digest), self.stays[digest])
        return self._made[digest]

    def _without(self, shard: Path, stays: Mask) -> str:
        with self.store.staged() as staged:
            new = staged / "content"
            new.mkdir()
            for name in ("rows", "ids"):
                table = read_tables([shard], f"{name}.feather").filter(pa.array(stays))
                write_table(new / f"{name}.feather", table, compressed=name == "rows")
            if (shard / "places.feather").is_file():
                good = self.rejected[shard.name]
                lines = read_tables([shard], "rejected.feather").filter(pa.array(good))
                write_table(new / "rejected.feather", lines, compressed=True)
                at = read_tables([shard], "places.feather")
                row, file, line = (at[name].to_numpy() for name in ("row", "file", "line"))
                is_row = row >= 0
                there = np.where(is_row, stays[np.where(is_row, row, 0)] if len(stays) else False, False)
                lost = np.where(is_row, 0, -1 - row)
                there |= ~is_row & (good[lost] if len(good) else False)
                moved, moved_lines = np.cumsum(stays) - 1, np.cumsum(good) - 1
                now = np.where(
                    is_row,
                    moved[np.where(is_row, row, 0)] if len(stays) else 0,
                    -1 - (moved_lines[lost] if len(good) else 0),
                )
                table = {"row": now[there].astype(np.int32), "file": file[there], "line": line[there]}
                write_table(new / "places.feather", pa.table(table), compressed=True)
                shutil.copyfile(shard / "files.json", new / "files.json")
            return self.store.publish("objects", new)


def regrouped(group: npt.NDArray[Any], stays: Mask) -> npt.NDArray[Any]:
    """Groups without some rows: where the row goes that names a group, the first one that stays names it.

    Args:
        group: for each row the index of the row that names its group, or -1.
        stays: for each row whether it stays.
    """
    place = np.cumsum(stays) - 1
    left = group[stays]
    found = left.copy()
    names, first, which = np.unique(left, return_index=True, return_inverse=True)
    good = names >= 0
    renamed = names.copy()
    renamed[good] = np.where(stays[names[good]], place[names[good]], first[good])
    found[:] = renamed[which]
    return found
