"""The step's function: from validated rows to cleaned ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assets.cleaned import MASKING
from assets.cleaned.conflicts import Rule, choose, read_time
from assets.cleaned.grouping import groups_of, in_company
from assets.cleaned.ngrams import Indices
from assets.cleaned.overlay import Decide, Labels, Mask, Overlay, find_equal, name_groups, resolve
from assets.cleaned.rows import MASKED
from assets.cleaned.superseded import SUPERSEDED, repeated, superseded
from assets.errors import DataError
from assets.raw.rows import LARGE, Ordered, Places, columns_of, frozen_ids, in_order
from assets.store.digests import canonical_json, digest_json, write_json
from assets.store.links import linked, read_links, write_links
from assets.store.tables import (
    Ids,
    among,
    as_ids,
    columns_in,
    digest_of_rows,
    firsts_in_order,
    from_hexadecimal,
    hexadecimal,
    read_tables,
    write_table,
)
from assets.store.threads import side_by_side
from assets.validated.rows import accepted, read_upheld

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from assets.cleaned.normalise import Form
    from assets.store.step import Build, Measurements, Part

CONFLICTING_LABELS = "conflicting_labels"


class Work(NamedTuple):
    """What is done with each shard, as a part of its own.

    Attributes:
        function: see `assets.store.parts.Parts`.
        done: in a word, for the progress.
        environment: libraries that matter.
    """

    function: str
    done: str
    environment: tuple[str, ...]


MASK = Work("assets.cleaned.masking:mask", "masked", ("pyarrow:major", *MASKING))
PREPARE = Work("assets.cleaned.shard:prepare", "prepared", ("pyarrow:major",))


class Rows(NamedTuple):
    """The accepted rows, in the order of `row_id`.

    Attributes:
        at: where each lies in the shards.
        ids: identifiers.
        keys: of their texts.
        labels: indices in `names`.
        names: of labels.
        frozen: whether each is of the frozen test set, or None without one.
    """

    at: Places
    ids: Ids
    keys: Ids
    labels: Labels
    names: list[str]
    frozen: Mask | None

    def without(self, some: Sequence[int]) -> Rows:
        """The rows without some of them."""
        if not some:
            return self
        stays = np.ones(len(self.at), bool)
        stays[some] = False
        frozen = None if self.frozen is None else self.frozen[stays]
        return Rows(self.at[stays], self.ids[stays], self.keys[stays], self.labels[stays], self.names, frozen)


class Others(NamedTuple):
    """Texts that no accepted row has, of rows in quarantine or gone, and that hold rows that stay together.

    A model may have been trained on them, so that what is nearly the same must not come into a test set.

    Attributes:
        at: where each lies in the shards.
        keys: their keys.
        named: for each the row that names its group.
        refused: digest of texts and further values of rows that were not accepted, for values may hold rows together
            too; None if accepted rows have all of them.
    """

    at: Indices
    keys: Ids
    named: Indices
    refused: str | None


def clean(
    build: Build,
    *,
    unicode: Form | None,
    whitespace: bool,
    mask_pii: Sequence[str] | None,
    near_duplicates: Mapping[str, Any] | None,
    conflicts: Rule,
    newest_by: str | None,
    id: str | None = None,  # noqa: A002 - the argument is the configuration's field
) -> Measurements:
    """Normalise, merge equal texts, quarantine conflicting labels and group near-duplicates.

    Content:
        rows.json: how many rows stay, and the digest of their identifiers, texts' keys, groups and counts in order,
            and of all other texts that hold some of them together; the digest of texts and values of rows that were not
            accepted; with a frozen test set that of its rows; `columns` as raw has them.
        merged.parquet: row_id, kept (row_id of the row that stays, of the same text and label).
        quarantine.parquet: row_id, label, expectation, detail; in the order of row_id. Texts are in the shards.
        layout/: links `shards` and `large` as validated has them, and `prepared` (see `assets.cleaned.shard`) in the
            same order, and with `mask_pii` `masked`; rows.feather with `kept`, `count` and `group` (where the row that
            names it lies, or -1) for each of their rows, and with a frozen test set `frozen`. See
            `assets.cleaned.rows`.

    Args:
        build: input `validated`; with a frozen test set also `raw`, which knows its rows.
        unicode: Unicode normal form, or None.
        whitespace: whether white space is normalised.
        mask_pii: kinds of personal data that are masked, or None.
        near_duplicates: `similarity` and `ngram`, or None to group nothing.
        conflicts: which label stays where the same text has several; the other rows go to quarantine.
        newest_by: further column by which rows are new, or None.
        id: further column with an id of which only the newest row counts, or None.

    Returns:
        rows_in, kept, merged, quarantined, superseded (those of them that are older than another one of their id),
        groups (of two texts or more), near_duplicates (texts in these), largest_group (in texts), labels (of the rows
        that stay); with `mask_pii` masked_rows (of rows_in), masked (of these, those with each kind).

    Raises:
        DataError: no row is left, or a value of `newest_by` is no time.
    """
    validated = build.inputs["validated"]
    shards, links = linked(validated, "shards"), read_links(validated)
    digests = links["shards"]
    form = {"unicode": unicode, "whitespace": whitespace}
    masked = None if mask_pii is None else _parts(build, MASK, {**form, "kinds": list(mask_pii)}, digests)
    unprepared = digests if masked is None else [part.digest for part in masked]
    parts = _parts(build, PREPARE, {**form, "near_duplicates": near_duplicates}, unprepared)
    prepared, lengths = [part.content for part in parts], [part.measurements["rows"] for part in parts]
    known = read_tables(prepared, "keys.feather")
    frozen = _frozen(build.inputs["raw"], validated) if "raw" in build.inputs else None
    every = _accepted(in_order(build, validated).where(accepted(validated)), known, frozen)
    old = {} if id is None else _superseded(every, shards, lengths, id, str(newest_by))
    rows = every.without(list(old))
    equal = find_equal(rows.keys, rows.labels, rows.frozen)
    contested = np.sort(equal.rows[np.repeat(equal.conflicting, equal.sizes)])
    times = _times(rows, contested, shards, lengths, newest_by) if conflicts == "newest" else {}
    overlay = resolve(equal, rows.labels, _decider(conflicts, rows, times))
    if (overlay.into < 0).all():
        texts_of = shards if masked is None else [part.content for part in masked]
        raise _nothing_left(overlay, _some(texts_of, lengths, ["text"], rows.at[contested])["text"])
    build.progress.message(f"comparing {len(overlay.texts):,} texts")
    keys = as_ids(known["key"])
    accepted_at = np.zeros(len(keys), bool)
    accepted_at[rows.at] = True
    refused = np.flatnonzero(~accepted_at)
    others = _others(refused, rows, keys)
    told = _digest_of_refused(refused, others, rows, keys, shards, lengths)
    together, of_others = np.empty(0, np.intp), others
    groups = together
    if near_duplicates is not None:
        of_rows = groups_of(build, parts, len(links.get(LARGE, ())), near_duplicates["similarity"])
        together = np.flatnonzero(in_company(of_rows).take(rows.at[overlay.texts]))
        groups, of_others = of_rows[rows.at[overlay.texts[together]]], of_rows[others]
    named, others_named = name_groups(overlay, together, groups, of_others)
    others, others_named = others[others_named >= 0], others_named[others_named >= 0]
    not_accepted = Others(others, keys[others], others_named, told)
    _write_overlay(build.content, rows, overlay, named, not_accepted, accepted_at, further=columns_of(validated))
    links = {"shards": digests, LARGE: links.get(LARGE, []), "prepared": [part.digest for part in parts]}
    write_links(build.content, links | ({} if masked is None else {MASKED: [part.digest for part in masked]}))
    merged = _merged(rows, overlay)
    pq.write_table(merged, build.content / "merged.parquet", compression="zstd")
    conflicting = _quarantine(rows, overlay.conflicting, CONFLICTING_LABELS)
    quarantine = pa.concat_tables([conflicting, _quarantine(every, old, SUPERSEDED)]).sort_by("row_id")
    pq.write_table(quarantine, build.content / "quarantine.parquet", compression="zstd")
    measured = _measure(rows, overlay, named, merged=len(merged), superseded=len(old))
    if masked is not None and mask_pii is not None:
        measured |= _measure_masked(build, [part.content for part in masked], rows, mask_pii)
    build.progress.message(
        f"{measured['kept']:,} rows kept, {measured['merged']:,} merged, {measured['quarantined']:,} in quarantine"
    )
    return measured


def _measure_masked(build: Build, masked: Sequence[Path], rows: Rows, kinds: Sequence[str]) -> Measurements:
    bits = read_tables(masked, "masked.feather")["kinds"].to_numpy()[rows.at]
    found = {kind: int((bits >> at & 1).sum()) for at, kind in enumerate(kinds)}
    told = ", ".join(f"{kind} in {count:,}" for kind, count in found.items() if count)
    count = int((bits > 0).sum())
    build.progress.message(f"masked personal data in {count:,} of {len(bits):,} rows" + (f": {told}" if told else ""))
    return {"masked_rows": count, "masked": found}


def _parts(build: Build, work: Work, settings: Mapping[str, Any], shards: Sequence[str]) -> list[Part]:
    part = build.part
    assert part is not None

    def make(shard: str) -> Part:
        return part(work.function, settings, inputs={"shard": shard}, environment=work.environment)

    parts = []
    with build.progress.bar(f"shards {work.done}", total=len(shards)) as advance:
        for done in side_by_side(make, shards):
            parts.append(done())
            advance(1)
    return parts


def _frozen(raw: Path, validated: Path) -> Ids:
    """Identifiers of the rows of the frozen test set, also of those that a ruling gave another label."""
    ids, upheld = frozen_ids(raw), read_upheld(validated)
    came_as, now = (from_hexadecimal(upheld[name].to_pylist()) for name in ("came_as", "row_id"))
    return np.concatenate([ids, now[among(came_as, ids)]])


def _accepted(rows: Ordered, known: pa.Table, frozen: Ids | None) -> Rows:
    at, ids = rows.at, rows.ids
    labels = known["label"].combine_chunks()
    keys = as_ids(known["key"]).take(at, axis=0)
    return Rows(
        at,
        ids,
        keys,
        labels.indices.to_numpy()[at],
        labels.dictionary.to_pylist(),
        None if frozen is None else among(ids, frozen),
    )


def _others(refused: Indices, rows: Rows, keys: Ids) -> Indices:
    """Which of the rows that were not accepted have texts that no accepted one has, each text once, ordered by key."""
    at = refused[firsts_in_order(keys[refused])]
    known = rows.keys[among(rows.keys, keys[at])]
    return at[~among(keys[at], known)]


def _digest_of_refused(
    refused: Indices, others: Indices, rows: Rows, keys: Ids, shards: Sequence[Path], lengths: Sequence[int]
) -> str | None:
    """Digest of texts and further values of rows that were not accepted; None if accepted ones have all of them."""
    further = columns_in(shards[0], "rows.feather")[2:]
    if not further:
        return digest_of_rows(keys[others]) if len(others) else None

    def told(at: Indices | Places) -> set[tuple[str | None, ...]]:
        columns = _some(shards, lengths, further, at).columns
        return set(zip(hexadecimal(keys[at]).to_pylist(), *(column.to_pylist() for column in columns), strict=True))

    found = told(refused) - told(rows.at[among(rows.keys, keys[refused])])
    return digest_json(sorted(canonical_json(each).decode() for each in found)) if found else None


def _some(shards: Sequence[Path], lengths: Sequence[int], columns: Sequence[str], at: Indices | Places) -> pa.Table:
    """Columns of some rows of the shards, in the order in which they are named; other shards are not read."""
    order = np.argsort(at)
    ends = np.cumsum(lengths)
    found = [pa.table({name: pa.array([], pa.string()) for name in columns})]
    for shard, end, length in zip(shards, ends, lengths, strict=True):
        first, last = np.searchsorted(at[order], (end - length, end))
        if first < last:
            table = read_tables([shard], "rows.feather", columns)
            found.append(table.take(at[order[first:last]] - (end - length)))
    return pa.concat_tables(found).take(np.argsort(order))


def _superseded(
    rows: Rows, shards: Sequence[Path], lengths: Sequence[int], column: str, newest_by: str
) -> dict[int, str]:
    """Rows that do not count, since a newer one has the same id; those of a frozen test set always do."""
    ids = _some(shards, lengths, [column], rows.at)[column]
    some = repeated(ids)
    if rows.frozen is not None:
        some = some[~rows.frozen[some]]
    times = _times(rows, some, shards, lengths, newest_by)
    says = zip(*rows.keys[some].T.tolist(), rows.labels[some].tolist(), strict=True)
    places: list[int] = some.tolist()
    return superseded(places, ids.take(some).to_pylist(), [times[row] for row in places], list(says))


def _times(
    rows: Rows, some: Indices, shards: Sequence[Path], lengths: Sequence[int], column: str | None
) -> dict[int, datetime | None]:
    """When some rows were made, as a further column says."""
    assert column is not None
    values = _some(shards, lengths, [column], rows.at[some])[column].to_pylist()
    names = hexadecimal(rows.ids[some]).to_pylist()
    return {
        row: read_time(value, column=column, row_id=row_id)
        for row, row_id, value in zip(some.tolist(), names, values, strict=True)
    }


def _decider(rule: Rule, rows: Rows, times: Mapping[int, datetime | None]) -> Decide:
    known: dict[Any, tuple[int | None, str]] = {}

    def decide(equal: Sequence[int], labels: Sequence[int]) -> tuple[int | None, str]:
        frozen = () if rows.frozen is None else tuple(rows.frozen[equal].tolist())
        when = tuple(map(times.get, equal))
        # Nothing else counts, and it is the same for many texts.
        if (labels := tuple(labels), when, frozen) not in known:
            label, why = choose(rule, [rows.names[label] for label in labels], when, frozen)
            known[labels, when, frozen] = None if label is None else rows.names.index(label), why
        return known[labels, when, frozen]

    return decide


def _write_overlay(
    content: Path,
    rows: Rows,
    overlay: Overlay,
    named: Indices,
    others: Others,
    accepted_at: Mask,
    *,
    further: dict[str, Any],
) -> None:
    count = overlay.counts()
    stays = count > 0
    kept, withheld = np.flatnonzero(stays), np.flatnonzero(~stays & (named >= 0))
    # A group is digested as the place of its row among those that stay.
    place = (np.cumsum(stays) - 1).astype(np.int32)
    digest = digest_of_rows(
        rows.ids.compress(stays, axis=0),
        rows.keys.compress(stays, axis=0),
        place[named[kept]],
        count[kept],
        rows.ids.take(withheld, axis=0),
        # Their own sides count for their groups, and go by texts.
        rows.keys.take(withheld, axis=0),
        place[named[withheld]],
        *((others.keys, place[others.named]) if len(others.at) else ()),
    )
    told: dict[str, Any] = {"rows": len(kept), "sha256": digest}
    if others.refused is not None:
        told["refused"] = others.refused
    if rows.frozen is not None:
        told["frozen"] = digest_of_rows(rows.ids[rows.frozen])
    write_json(content / "rows.json", told | further)
    # Most rows stay, stand for themselves alone and are a group of their own. To say so row by row in the order of
    # row_id would be to write all over the memory.
    lie: dict[str, Any] = {"kept": accepted_at.copy()}
    odd = np.flatnonzero(count != 1)
    lie["kept"][rows.at[odd]] = stays[odd]
    lie["count"] = lie["kept"].astype(np.int32)
    lie["count"][rows.at[odd]] = count[odd]
    lie["group"] = np.where(lie["kept"], np.arange(len(accepted_at), dtype=np.int32), np.int32(-1))
    odd = np.flatnonzero((named >= 0) & (named != np.arange(len(named))))
    lie["group"][rows.at[odd]] = rows.at[named[odd]]
    lie["group"][others.at] = rows.at[others.named]
    if rows.frozen is not None:
        lie["frozen"] = np.zeros(len(accepted_at), bool)
        lie["frozen"][rows.at] = rows.frozen
    write_table(content / "layout" / "rows.feather", pa.table(lie), compressed=True)


def _merged(rows: Rows, overlay: Overlay) -> pa.Table:
    merged = np.flatnonzero((overlay.into >= 0) & (overlay.into != np.arange(len(overlay.into))))
    return pa.table({"row_id": hexadecimal(rows.ids[merged]), "kept": hexadecimal(rows.ids[overlay.into[merged]])})


def _quarantine(rows: Rows, why: Mapping[int, str], expectation: str) -> pa.Table:
    lost = list(why)
    labels = [rows.names[label] for label in rows.labels[lost].tolist()]
    return pa.table(
        {
            "row_id": hexadecimal(rows.ids[lost]),
            "label": pa.array(labels, pa.string()),
            "expectation": pa.array([expectation] * len(lost), pa.string()),
            "detail": pa.array(why.values(), pa.string()),
        }
    )


def _measure(rows: Rows, overlay: Overlay, named: Indices, *, merged: int, superseded: int) -> Measurements:
    kept = overlay.kept[overlay.kept >= 0]
    sizes = np.bincount(named[kept])
    labels = np.bincount(rows.labels[kept], minlength=len(rows.names)).tolist()
    return {
        "rows_in": len(rows.at) + superseded,
        "kept": len(kept),
        "merged": merged,
        "quarantined": len(overlay.conflicting) + superseded,
        "superseded": superseded,
        "groups": int((sizes > 1).sum()),
        "near_duplicates": int(sizes[sizes > 1].sum()),
        "largest_group": int(sizes.max()),
        "labels": {name: count for name, count in sorted(zip(rows.names, labels, strict=True)) if count},
    }


def _nothing_left(overlay: Overlay, as_they_came: pa.ChunkedArray) -> DataError:
    if not overlay.conflicting:
        return DataError(
            "there is no row to clean: validation accepted none",
            where="cleaned",
            fix="look at the rows that validation put in quarantine, and correct the source or `validation`",
        )
    texts = as_they_came.slice(0, 3).to_pylist()
    examples = "; ".join(f"{text!r}: {why}" for text, why in zip(texts, overlay.conflicting.values(), strict=False))
    return DataError(
        f"no row is left: each of the {len(overlay.conflicting)} rows has a text that occurs with different labels, "
        f"for instance {examples}",
        where="cleaned",
        fix="correct the labels in the source, so that one text has one label, and check that `source.columns.label` "
        "names the column of labels",
    )
