"""The step's function: the global pass that gives every cleaned row its side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assets.raw.rows import LARGE, columns_of, in_order, shard_ids
from assets.review.rows import quarantined
from assets.splits.enough import Settings, require_enough
from assets.splits.frozen import set_apart
from assets.splits.groups import connected, counted, renamed, values_of
from assets.splits.measure import label_counts, measure
from assets.splits.own import sides_by_hash, sides_by_time
from assets.splits.rows import OVERLAY
from assets.splits.rule import sides_of_groups
from assets.splits.sides import SIDES
from assets.store.digests import write_json
from assets.store.links import linked, read_links, write_links
from assets.store.tables import as_ids, digest_of_rows, read_tables, write_table

if TYPE_CHECKING:
    from assets.store.step import Build, Measurements


def split(
    build: Build,
    *,
    labels: Sequence[str],
    validation: float,
    test: float,
    salt: str,
    min_rows_per_label: int,
    group_by: str | None,
    by_time: Mapping[str, Any] | None,
    frozen: Mapping[str, Any] | None,
) -> Measurements:
    """Share rows out to train, validation and test.

    Content:
        rows.json: how many rows, and the digest of their identifiers, texts' keys, groups and sides in order; `columns`
            as raw has them.
        layout/: links `shards`, `large` and `prepared` as those of `cleaned`; rows.feather with `side` (index in
            `SIDES`, or -1 for none) and `group` (the row that names it) for each of their rows. See
            `assets.splits.rows`.

    Args:
        build: input `cleaned`; and `review` where rows with a doubtful label are left out.
        labels: names of the classes, in the model's order.
        validation: share of rows for validation.
        test: share of rows for the test set.
        salt: changes which rows go where.
        min_rows_per_label: fewest rows of each label that each side must have.
        group_by: column whose values are never on two sides, or None.
        by_time: `column`, `validation_from` and `test_from`, where sides are by time and not by shares; or None.
        frozen: not None where `raw` was told which rows are the test set: `test` means nothing then.

    Returns:
        See `assets.splits.measure.measure`; with a frozen test set also left_out, rows on no side.

    Raises:
        DataError: only one label occurs, a side has too few rows of a label, or a row has no time.
    """
    cleaned = build.inputs["cleaned"]
    links = read_links(cleaned)
    shards = linked(cleaned, "shards")
    known = read_tables(linked(cleaned, "prepared"), "keys.feather")
    keys = as_ids(known["key"])
    of_overlay = ["kept", "group"] if frozen is None else ["kept", "group", "frozen"]
    overlay = read_tables([cleaned], "layout/rows.feather", of_overlay)
    kept, near = overlay["kept"].to_numpy(), overlay["group"].to_numpy()
    if "review" in build.inputs:
        kept = kept & ~quarantined(build.inputs["review"], shard_ids(shards))
    there = np.flatnonzero(kept)
    ordered = in_order(build, cleaned).where(kept)
    rows = ordered.at
    # As they come, groups are named after the first row that `cleaned` keeps.
    group, values = (renamed(near, rows) if "review" in build.inputs else near), None
    if group_by is not None:
        values = values_of(read_tables(shards, "rows.feather", [group_by])[group_by])
    if group_by is not None or by_time is not None:
        # Rows that are not kept have values and times of their own, and a model may have been trained on them.
        group = connected(near, rows, np.flatnonzero(~kept), keys=keys, values=values)
    if by_time is not None:
        ids = shard_ids(shards)
        timed = np.concatenate([rows, counted(cleaned, ids)])
        own = sides_by_time(build, links["shards"], timed, ids=ids, by_time=by_time)
    else:
        of_test = test if frozen is None else 0.0
        own = sides_by_hash(build, links["prepared"], salt=salt, validation=validation, test=of_test)

    side = sides_of_groups(own, group)
    if frozen is not None:
        set_apart(side, group, overlay["frozen"].to_numpy())
    # A text in quarantine may have trained an earlier model: its near-duplicates stay where they were. It has no side.
    side[~kept] = -1
    label = _places(known["label"], labels)
    assert (label[there] >= 0).all(), "validation accepts no label that the task does not have"
    sided = np.flatnonzero(side >= 0)
    by_side = label_counts(label[sided], side[sided], labels)
    counts = {name: {side: by_side[side][name] for side in SIDES} for name in labels}
    require_enough(counts, Settings(validation, test, min_rows_per_label, group_by, by_time, frozen))

    # A group is digested as the place of the row that names it; most rows are a group of their own.
    place = np.arange(len(rows), dtype=np.int32)
    elsewhere = np.flatnonzero((group != np.arange(len(group))).take(rows))
    place[elsewhere] = ordered.places_of(group[rows[elsewhere]])
    digest = digest_of_rows(ordered.ids, keys.take(rows, axis=0), place, side[rows])
    write_json(build.content / "rows.json", {"rows": len(rows), "sha256": digest} | columns_of(cleaned))
    write_links(build.content, {name: links[name] for name in ("shards", LARGE, "prepared") if name in links})
    write_table(build.content / OVERLAY, pa.table({"side": side, "group": group}), compressed=True)
    measured = measure(build.content, labels, label=label, near=near, keys=keys, values=values)
    build.progress.message(", ".join(f"{measured['rows'][side]:,} {side}" for side in SIDES))
    if frozen is not None:
        measured["left_out"] = len(there) - len(sided)
        build.progress.message(
            f"{measured['left_out']:,} rows are on no side: they are in one group with a row of the frozen test set"
        )
    return measured


def _places(column: pa.ChunkedArray, labels: Sequence[str]) -> npt.NDArray[np.int32]:
    """Place of each value, of a column in dictionary form, among the labels; -1 for another value."""
    chunks = column.unify_dictionaries().chunks
    place = pc.index_in(chunks[0].dictionary, value_set=pa.array(labels)).fill_null(-1).to_numpy()
    return place[np.concatenate([chunk.indices.to_numpy() for chunk in chunks])]  # type: ignore[no-any-return]
