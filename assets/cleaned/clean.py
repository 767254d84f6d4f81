"""The step's function: from validated rows to cleaned ones."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from assets.cleaned.near_duplicates import group
from assets.cleaned.normalise import normalise
from assets.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from assets.store.step import Build, Measurements

CONFLICTING_LABELS = "conflicting_labels"


@dataclass(frozen=True)
class Overlay:
    """What becomes of each row. Rows are named by their index in the order of `row_id`.

    Attributes:
        kept: row that stays → how many rows it stands for, itself among them.
        merged: row → the kept row with an equal text.
        conflicting: row whose text occurs with different labels → the labels, in words.
        group: kept row, or lowest row of a conflicting text → lowest kept row of its group. Conflicting texts count as
            members, so that a conflict that turns up later does not take a group apart; groups of conflicting texts
            alone are left out.
    """

    kept: dict[int, int]
    merged: dict[int, int]
    conflicting: dict[int, str]
    group: dict[int, int]


def resolve(texts: Sequence[str], labels: Sequence[str], near_duplicates: Mapping[str, Any] | None) -> Overlay:
    """Decide what becomes of each row.

    Args:
        texts: normalised text of each row, in the order of `row_id`.
        labels: label of each row.
        near_duplicates: `similarity` and `ngram` (see `assets.cleaned.near_duplicates.group`), or None not to look.
    """
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        rows_of[text].append(row)
    overlay = Overlay({}, {}, {}, {})
    for first, *others in rows_of.values():
        counts = Counter(labels[row] for row in (first, *others))
        if len(counts) > 1:
            detail = ", ".join(f"{label}: {count} row{'s' * (count > 1)}" for label, count in sorted(counts.items()))
            overlay.conflicting.update(dict.fromkeys((first, *others), f"the same text has the labels {detail}"))
        else:
            overlay.kept[first] = 1 + len(others)
            overlay.merged.update(dict.fromkeys(others, first))
    firsts = [rows[0] for rows in rows_of.values()]
    groups = range(len(firsts)) if near_duplicates is None else group(list(rows_of), **near_duplicates)
    lowest_kept: dict[int, int] = {}
    for first, root in zip(firsts, groups, strict=True):
        if first in overlay.kept:
            lowest_kept.setdefault(root, first)
    for first, root in zip(firsts, groups, strict=True):
        if root in lowest_kept:
            overlay.group[first] = lowest_kept[root]
    return overlay


def clean(
    build: Build, *, unicode: Literal["NFC", "NFKC"] | None, whitespace: bool, near_duplicates: Mapping[str, Any] | None
) -> Measurements:
    """Normalise, merge equal texts, quarantine conflicting labels and group near-duplicates.

    Content:
        rows.parquet: row_id, text (normalised), label, count (rows that it stands for, itself among them), group
            (row_id of the group's lowest row), and the further columns of the input; one row for each text.
        merged.parquet: row_id, kept (row_id of the row of rows.parquet with an equal text).
        quarantine.parquet: row_id, text (as it came), label, expectation, detail.
        withheld.parquet: row_id, text (normalised), group; one row for each text in quarantine whose group has kept
            rows: it still counts when sides are given to groups.

    Args:
        build: input `validated`.
        unicode: Unicode normal form, or None.
        whitespace: whether white space is normalised.
        near_duplicates: `similarity` and `ngram`, or None to group nothing.

    Raises:
        DataError: no row is left.
    """
    rows = pq.read_table(build.inputs["validated"] / "rows.parquet").sort_by("row_id")
    texts = [normalise(text, unicode=unicode, whitespace=whitespace) for text in rows["text"].to_pylist()]
    labels = rows["label"].to_pylist()
    build.progress.message(f"comparing {len(texts)} texts")
    overlay = resolve(texts, labels, near_duplicates)
    if not overlay.kept:
        raise _nothing_left(texts, overlay)
    for name, table in _tables(rows, texts, overlay).items():
        pq.write_table(table, build.content / f"{name}.parquet", compression="zstd")
    return _measure(build.content, rows_in=len(rows))


def _tables(rows: pa.Table, texts: Sequence[str], overlay: Overlay) -> dict[str, pa.Table]:
    """The tables of the content, each sorted by `row_id`."""
    row_ids = rows["row_id"].to_pylist()

    def ids(indices: Sequence[int]) -> pa.Array:
        return pa.array([row_ids[index] for index in indices], pa.string())

    def normalised(indices: Sequence[int]) -> pa.Array:
        return pa.array([texts[index] for index in indices], pa.string())

    kept, merged, conflicting = (sorted(part) for part in (overlay.kept, overlay.merged, overlay.conflicting))
    withheld = [row for row in conflicting if row in overlay.group]
    further = [name for name in rows.column_names if name not in {"row_id", "text", "label"}]
    labels = rows["label"].cast(pa.string())
    return {
        "rows": pa.table(
            {
                "row_id": ids(kept),
                "text": normalised(kept),
                "label": labels.take(kept),
                "count": pa.array([overlay.kept[row] for row in kept], pa.int64()),
                "group": ids([overlay.group[row] for row in kept]),
                **{name: rows[name].take(kept) for name in further},
            }
        ),
        "merged": pa.table({"row_id": ids(merged), "kept": ids([overlay.merged[row] for row in merged])}),
        "quarantine": pa.table(
            {
                "row_id": ids(conflicting),
                "text": rows["text"].take(pa.array(conflicting, pa.int64())),
                "label": labels.take(pa.array(conflicting, pa.int64())),
                "expectation": pa.array([CONFLICTING_LABELS] * len(conflicting), pa.string()),
                "detail": pa.array([overlay.conflicting[row] for row in conflicting], pa.string()),
            }
        ),
        "withheld": pa.table(
            {
                "row_id": ids(withheld),
                "text": normalised(withheld),
                "group": ids([overlay.group[row] for row in withheld]),
            }
        ),
    }


def _measure(content: Path, *, rows_in: int) -> Measurements:
    """Count what was written, so that the check of law 5 judges the result and not what was meant to be written."""
    rows = pq.read_table(content / "rows.parquet", columns=["label", "group"])
    sizes = Counter(rows["group"].to_pylist())
    grouped = [size for size in sizes.values() if size > 1]
    return {
        "rows_in": rows_in,
        "kept": len(rows),
        "merged": pq.read_metadata(content / "merged.parquet").num_rows,
        "quarantined": pq.read_metadata(content / "quarantine.parquet").num_rows,
        "groups": len(grouped),
        "near_duplicates": sum(grouped),
        "largest_group": max(sizes.values()),
        "labels": dict(sorted(Counter(rows["label"].to_pylist()).items())),
    }


def _nothing_left(texts: Sequence[str], overlay: Overlay) -> DataError:
    if not texts:
        return DataError(
            "there is no row to clean: validation accepted none",
            where="cleaned",
            fix="look at the rows that validation put in quarantine, and correct the source or `validation`",
        )
    examples = "; ".join(f"{texts[row]!r}: {overlay.conflicting[row]}" for row in list(overlay.conflicting)[:3])
    return DataError(
        f"no row is left: each of the {len(texts)} rows has a text that occurs with different labels, for instance "
        f"{examples}",
        where="cleaned",
        fix="correct the labels in the source, so that one text has one label, and check that `source.columns.label` "
        "names the column of labels",
    )
