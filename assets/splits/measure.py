"""Counts what is in the splits as they were written, without regard to the rule that made them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pyarrow import feather

from assets.splits.rows import OVERLAY
from assets.splits.sides import SIDES
from assets.store.tables import Ids, distinct, maybe_repeated

if TYPE_CHECKING:
    from assets.store.step import Measurements

Numbers = npt.NDArray[np.signedinteger]


def measure(
    content: Path,
    labels: Sequence[str],
    *,
    label: Numbers,
    near: Numbers,
    keys: Ids,
    values: Numbers | None,
) -> Measurements:
    """Read the sides back and count.

    Args:
        content: what the step wrote.
        labels: names of the classes, in the model's order.
        label: of each row, its place among them.
        near: of each row, its group of near-duplicates, as a number.
        keys: of each row, the key of its text.
        values: of each row, its value in the column that is grouped by, or -1; None without such a column.

    Returns:
        rows and shares by side, labels by side, effective_rows (as many rows in groups of their own would say as much:
        the square of the rows by the sum of the squares of the groups' sizes), and how many groups of near-duplicates,
        texts and – with a column – values are on more than one side.
    """
    overlay = feather.read_table(str(content / OVERLAY), columns=["side", "group"])
    written = overlay["side"].to_numpy()
    there = np.flatnonzero(written >= 0)
    side = written[there]
    by_side = label_counts(label[there], side, labels)
    rows = {name: sum(by_side[name].values()) for name in SIDES}
    sizes = np.bincount(overlay["group"].to_numpy()[there]).astype(float)
    measured = {
        "rows": rows,
        "shares": {name: count / len(there) for name, count in rows.items()},
        "labels": by_side,
        "effective_rows": len(there) ** 2 / float((sizes**2).sum()),
        "groups_across_sides": _across(near[there], side),
        "texts_across_sides": _texts_across(keys.take(there, axis=0), side),
    }
    if values is not None:
        measured["values_across_sides"] = _across(values[there], side)
    return measured


def label_counts(label: Numbers, side: Numbers, labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Rows by side and label."""
    found = np.bincount(side * np.intp(len(labels)) + label, minlength=len(SIDES) * len(labels))
    counts = found.reshape(len(SIDES), len(labels)).tolist()
    return {name: dict(zip(labels, row, strict=True)) for name, row in zip(SIDES, counts, strict=True)}


def _across(names: Numbers, side: Numbers) -> int:
    """How many names are on more than one side; -1 is none."""
    there = names >= 0
    if not there.all():
        names, side = names[there], side[there]
    of_one = np.empty(names.max(initial=-1) + 1, dtype=side.dtype)
    of_one[names] = side
    return len(np.unique(names[side != of_one[names]]))


def _texts_across(keys: Ids, side: Numbers) -> int:
    some = maybe_repeated(keys)
    return _across(distinct(keys.take(some, axis=0))[1], side[some])
