"""The sides as a `datasets.DatasetDict` on disk: written with the same bytes for the same rows, and measured."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from assets.store.step import Measurements


def write_dataset(folder: Path, sides: Mapping[str, pa.Table], labels: Sequence[str]) -> None:
    """Write one split for each side.

    Args:
        folder: where `datasets.load_from_disk` will find it.
        sides: side → rows (`row_id`, `text`, `label`, `group` and further columns, all strings).
        labels: names of the classes, in the model's order.
    """
    import datasets
    from datasets.table import InMemoryTable

    number = {label: index for index, label in enumerate(labels)}

    def dataset(side: str, rows: pa.Table) -> Any:
        features = datasets.Features(
            {
                name: datasets.ClassLabel(names=list(labels)) if name == "label" else datasets.Value("string")
                for name in rows.column_names
            }
        )
        numbers = pa.array([number[label] for label in rows["label"].to_pylist()], pa.int64())
        table = rows.set_column(rows.column_names.index("label"), "label", numbers).cast(features.arrow_schema)
        return datasets.Dataset(
            InMemoryTable(table),
            info=datasets.DatasetInfo(features=features),
            split=datasets.NamedSplit(side),
            # It is stored, and names cached results of `datasets`; by itself it would follow the library's internals.
            fingerprint=_fingerprint(rows, labels),
        )

    with _quiet():
        datasets.DatasetDict({side: dataset(side, rows) for side, rows in sides.items()}).save_to_disk(folder)


def measure(folder: Path) -> Measurements:
    """Read a dataset back and count what is in it, without regard to the rule that made it.

    Returns:
        rows and shares by side, labels by side, and how many groups and texts are on more than one side.
    """
    import datasets

    with _quiet():
        sides = datasets.load_from_disk(folder)

    def across(column: str) -> int:
        sides_with_it = Counter(value for side in sides.values() for value in set(_values(side, column)))
        return sum(count > 1 for count in sides_with_it.values())

    rows = {name: len(side) for name, side in sides.items()}
    labels = {}
    for name, side in sides.items():
        counts = Counter(_values(side, "label"))
        labels[name] = {label: counts[number] for number, label in enumerate(side.features["label"].names)}
    return {
        "rows": rows,
        "shares": {name: count / sum(rows.values()) for name, count in rows.items()},
        "labels": labels,
        "groups_across_sides": across("group"),
        "texts_across_sides": across("text"),
    }


def _values(dataset: Any, column: str) -> list[Any]:
    values: list[Any] = dataset.data.column(column).to_pylist()
    return values


def _fingerprint(rows: pa.Table, labels: Sequence[str]) -> str:
    values = json.dumps([list(labels), rows.to_pydict()])
    return hashlib.sha256(values.encode("ascii")).hexdigest()[:16]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars of `datasets`, which would write over ours; its setting is for the whole process."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
