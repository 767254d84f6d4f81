"""The step's function: the global pass that gives every cleaned row its side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assets.errors import DataError
from assets.raw.rows import GONE
from assets.splits.groups import connected, counted, values_of
from assets.splits.measure import label_counts, measure
from assets.splits.rows import OVERLAY
from assets.splits.rule import SIDES, sides_of_groups
from assets.store.digests import write_json
from assets.store.links import linked, read_links, write_links
from assets.store.tables import as_ids, digest_of_rows, order_of, read_tables, write_table

if TYPE_CHECKING:
    from assets.store.step import Build, Measurements

Counts = Mapping[str, Mapping[str, int]]
"""label → side → rows."""


def split(
    build: Build,
    *,
    labels: Sequence[str],
    validation: float,
    test: float,
    salt: str,
    min_rows_per_label: int,
    group_by: str | None,
) -> Measurements:
    """Share rows out to train, validation and test.

    Content:
        rows.json: how many rows, and the digest of their identifiers, texts' keys, groups and sides in order.
        layout/: links `shards` and `prepared` as those of `cleaned`; rows.feather with `side` (index in `SIDES`, or -1
            for none) and `group` (the row that names it) for each of their rows. See `assets.splits.rows`.

    Args:
        build: input `cleaned`.
        labels: names of the classes, in the model's order.
        validation: share of rows for validation.
        test: share of rows for the test set.
        salt: changes which rows go where.
        min_rows_per_label: fewest rows of each label that each side must have.
        group_by: column whose values are never on two sides, or None.

    Raises:
        DataError: only one label occurs, or a side has too few rows of a label.
    """
    assert build.part is not None
    cleaned = build.inputs["cleaned"]
    links = read_links(cleaned)
    placed = []
    with build.progress.bar("shards placed", total=len(links["prepared"])) as advance:
        for digest in links["prepared"]:
            part = build.part("assets.splits.shard:positions", {"salt": salt}, inputs={"prepared": digest})
            placed.append(part.content)
            advance(1)
    at = read_tables(placed, "positions.feather")["at"].to_numpy()
    shards = linked(cleaned, "shards")
    ids = as_ids(read_tables(shards, "ids.feather")["row_id"])
    known = read_tables(linked(cleaned, "prepared"), "keys.feather", ["key", "label"])
    keys = as_ids(known["key"])
    overlay = read_tables([cleaned], "layout/rows.feather", ["kept", "group"])
    kept, near = overlay["kept"].to_numpy(), overlay["group"].to_numpy()
    there = np.flatnonzero(kept)
    rows = there[order_of(ids.take(there, axis=0))]
    group, values = near, None
    if group_by is not None:
        values = values_of(read_tables(shards, "rows.feather", [group_by])[group_by])
        # What is gone counts like what is not kept.
        lengths = [len(read_tables([part], "positions.feather")) for part in placed]
        gone = np.flatnonzero(np.repeat(np.isin(links["shards"], links.get(GONE, [])), lengths))
        others = np.concatenate([counted(cleaned, ids), gone])
        group = connected(near, rows, others, keys=keys, values=values)

    side = sides_of_groups(at, group, validation=validation, test=test)
    # A text in quarantine may have trained an earlier model: its near-duplicates stay where they were. It has no side.
    side[~kept] = -1
    label = _places(known["label"], labels)
    assert (label[there] >= 0).all(), "validation accepts no label that the task does not have"
    by_side = label_counts(label[there], side[there], labels)
    counts = {name: {side: by_side[side][name] for side in SIDES} for name in labels}
    _require_enough(counts, validation=validation, test=test, min_rows_per_label=min_rows_per_label, group_by=group_by)

    # A group is digested as the place of the row that names it.
    place = np.empty(len(ids), dtype=np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    digest = digest_of_rows(ids.take(rows, axis=0), keys.take(rows, axis=0), place[group[rows]], side[rows])
    write_json(build.content / "rows.json", {"rows": len(rows), "sha256": digest})
    write_links(build.content, {name: links[name] for name in ("shards", "prepared")})
    write_table(build.content / OVERLAY, pa.table({"side": side, "group": group}), compressed=True)
    return measure(build.content, labels, label=label, near=near, keys=keys, values=values)


def _places(column: pa.ChunkedArray, labels: Sequence[str]) -> npt.NDArray[np.int32]:
    """Place of each value, of a column in dictionary form, among the labels; -1 for another value."""
    chunks = column.unify_dictionaries().chunks
    place = pc.index_in(chunks[0].dictionary, value_set=pa.array(labels)).fill_null(-1).to_numpy()
    return place[np.concatenate([chunk.indices.to_numpy() for chunk in chunks])]  # type: ignore[no-any-return]


def _require_enough(
    counts: Counts, *, validation: float, test: float, min_rows_per_label: int, group_by: str | None
) -> None:
    present = [label for label, by_side in counts.items() if any(by_side.values())]
    if len(present) < 2:
        raise DataError(
            f"only one label occurs, {', '.join(present)}; a classifier needs two\n{_table(counts)}",
            where="splits",
            fix="add rows of the other labels, and check that `source.columns.label` names the column of labels",
        )
    short = {label: [side for side in SIDES if by_side[side] < min_rows_per_label] for label, by_side in counts.items()}
    short = {label: sides for label, sides in short.items() if sides}
    if not short:
        return
    lacking = "; ".join(
        f"{label} has {', '.join(f'{counts[label][side]} in {side}' for side in sides)}"
        for label, sides in short.items()
    )
    names = ", ".join(short)
    fixes = [f"add rows of {names}"]
    fewest = min(min(by_side.values()) for by_side in counts.values())
    if fewest > 0:
        fixes.append(f"lower `splits.min_rows_per_label` (now {min_rows_per_label}) to {fewest}")
    if all(sum(counts[label].values()) >= len(SIDES) * min_rows_per_label for label in short):
        fixes.append(f"change the shares `splits.validation` (now {validation}) and `splits.test` (now {test})")
    if group_by is not None:
        fixes.append(f"leave out `splits.group_by` (now {group_by}), whose values may hold most rows together")
    if len(counts) - len(short) >= 2:
        fixes.append(f"take {names} out of `task.labels`")
    raise DataError(
        f"too few rows to split: each side must have at least {min_rows_per_label} of each label, but {lacking}\n"
        f"{_table(counts)}",
        where="splits",
        fix=", or ".join(fixes),
    )


def _table(counts: Counts) -> str:
    """Rows by label and side, in columns."""
    total = {side: sum(by_side[side] for by_side in counts.values()) for side in SIDES}
    lines: list[tuple[str, ...]] = [("label", *SIDES)]
    lines += [(label, *(str(by_side[side]) for side in SIDES)) for label, by_side in {**counts, "all": total}.items()]
    width = max(len(line[0]) for line in lines)
    return "\n".join(f"    {line[0]:<{width}}" + "".join(f"  {cell:>10}" for cell in line[1:]) for line in lines)
