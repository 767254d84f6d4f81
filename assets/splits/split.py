"""The step's function: from cleaned rows to three sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.errors import DataError
from assets.splits.dataset import measure, write_dataset
from assets.splits.rule import SIDES, sides_of_groups

if TYPE_CHECKING:
    from assets.store.step import Build, Measurements

Counts = Mapping[str, Mapping[str, int]]
"""label → side → rows."""


def split(
    build: Build, *, labels: Sequence[str], validation: float, test: float, salt: str, min_rows_per_label: int
) -> Measurements:
    """Share rows out to train, validation and test.

    Content:
        dataset/: a `datasets.DatasetDict` with row_id, text, label (`ClassLabel`), group and the further columns.
        sides.parquet: row_id, group, side.

    Args:
        build: input `cleaned`.
        labels: names of the classes, in the model's order.
        validation: share of rows for validation.
        test: share of rows for the test set.
        salt: changes which rows go where.
        min_rows_per_label: fewest rows of each label that each side must have.

    Raises:
        DataError: only one label occurs, or a side has too few rows of a label.
    """
    rows = pq.read_table(build.inputs["cleaned"] / "rows.parquet").drop_columns("count").sort_by("row_id")
    # A text in quarantine may have trained an earlier model: its near-duplicates stay where they were.
    withheld = pq.read_table(build.inputs["cleaned"] / "withheld.parquet")
    members = pa.concat_tables([table.select(["group", "text"]) for table in (rows, withheld)])
    sides_by_group = sides_of_groups(
        zip(members["group"].to_pylist(), members["text"].to_pylist(), strict=True),
        salt=salt,
        validation=validation,
        test=test,
    )
    sides = pa.array([sides_by_group[group] for group in rows["group"].to_pylist()], pa.string())

    found = Counter(zip(rows["label"].to_pylist(), sides.to_pylist(), strict=True))
    counts = {label: {side: found[label, side] for side in SIDES} for label in labels}
    _require_enough(counts, validation=validation, test=test, min_rows_per_label=min_rows_per_label)

    pq.write_table(
        rows.select(["row_id", "group"]).append_column("side", sides),
        build.content / "sides.parquet",
        compression="zstd",
    )
    order = ["row_id", "text", "label", "group"]
    order += [name for name in rows.column_names if name not in order]
    by_side = {side: rows.select(order).filter(pc.equal(sides, side)) for side in SIDES}
    write_dataset(build.content / "dataset", by_side, labels)
    return measure(build.content / "dataset")


def _require_enough(counts: Counts, *, validation: float, test: float, min_rows_per_label: int) -> None:
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
