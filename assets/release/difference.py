"""What is different between two models: settings, rows, code, libraries, metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from assets.store.store import Record


def made_differently(old: Mapping[str, Record], new: Mapping[str, Record]) -> dict[str, list[dict[str, Any]]]:
    """What two models were made from that is not the same, from the records of their steps.

    Returns:
        `settings` (`what`, `old`, `new`; None: not set), `environment` (libraries, the same) and `code` (`step`,
        `pieces`: functions and modules that changed, came or went).
    """
    changed: dict[str, list[dict[str, Any]]] = {}
    for name, part in (("settings", "configuration"), ("environment", "environment")):
        before, after = _all(old, part), _all(new, part)
        changed[name] = [
            {"what": what, "old": before.get(what), "new": after.get(what)}
            for what in sorted({*before, *after})
            if before.get(what) != after.get(what)
        ]
    changed["code"] = []
    for step in dict.fromkeys([*old, *new]):
        pieces = _pieces(old.get(step), new.get(step))
        if pieces:
            changed["code"].append({"step": step, "pieces": pieces})
    return changed


def _all(records: Mapping[str, Record], part: str) -> dict[str, Any]:
    return {what: value for record in records.values() for what, value in record.ingredients[part].items()}


def _pieces(old: Record | None, new: Record | None) -> list[str]:
    before, after = (record.ingredients["code"] if record else {} for record in (old, new))
    return sorted(piece for piece in {*before, *after} if before.get(piece) != after.get(piece))


def rows_differ(old: Path, new: Path) -> dict[str, Any]:
    """What became of rows from one set of splits to another.

    A row with another label is another row, so it is found by its text.

    Args:
        old: content of the splits that the first model was made from.
        new: of those that the second was made from.

    Returns:
        `added`, `removed`, `relabelled`, `moved` (to another side): numbers of rows; `same_test_rows`: whether both
        were measured on the same ones; `rows`: side → [before, after].
    """
    import pyarrow.compute as pc

    from assets.splits.rows import read_sides, read_some

    before, after = (read_sides(splits) for splits in (old, new))
    place = pc.index_in(before["row_id"], value_set=after["row_id"])
    gone = before["row_id"].filter(pc.is_null(place))
    came = after["row_id"].filter(pc.invert(pc.is_in(after["row_id"], value_set=before["row_id"])))
    relabelled = 0
    if len(gone) and len(came):
        had, has = read_some(old, gone), read_some(new, came)
        label_before = had["label"].take(pc.index_in(has["text"], value_set=had["text"]))
        relabelled = _count(pc.not_equal(label_before, has["label"]))
    tests = [rows["row_id"].filter(pc.equal(rows["side"], "test")) for rows in (before, after)]
    return {
        "added": len(came) - relabelled,
        "removed": len(gone) - relabelled,
        "relabelled": relabelled,
        "moved": _count(pc.not_equal(before["side"], after["side"].take(place))),
        "same_test_rows": tests[0].equals(tests[1]),
        "rows": {
            side: [_count(pc.equal(rows["side"], side)) for rows in (before, after)]
            for side in ("train", "validation", "test")
        },
    }


def _count(true: pa.ChunkedArray) -> int:
    """How many values are true; null, of what has no counterpart, is not."""
    import pyarrow.compute as pc

    return pc.sum(true).as_py() or 0


def scores_differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics of two models, and of each label, from the `metrics.json` of their evaluations.

    Returns:
        `metrics`: `metric`, `old`, `new`, `difference`, and `old_interval`, `new_interval` where there are such;
        `labels`: `label`, `old`, `new`, `difference` of its F1, the largest loss first; None where only one knows it.
    """
    metrics = [
        {**_pair("metric", name, old, new, lambda found, name=name: found.get(name)), **_intervals(name, old, new)}
        for name in ("accuracy", "precision_macro", "recall_macro", "f1_macro")
        if name in old or name in new
    ]
    known = dict.fromkeys([*old.get("per_class", {}), *new.get("per_class", {})])
    labels = [
        _pair("label", label, old, new, lambda found, label=label: found.get("per_class", {}).get(label, {}).get("f1"))
        for label in known
    ]
    labels.sort(key=lambda each: (each["difference"] is None, each["difference"] or 0.0, each["label"]))
    return {"metrics": metrics, "labels": labels}


def _pair(
    kind: str, name: str, old: Mapping[str, Any], new: Mapping[str, Any], value: Callable[..., float | None]
) -> dict[str, Any]:
    before, after = value(old), value(new)
    difference = None if before is None or after is None else after - before
    return {kind: name, "old": before, "new": after, "difference": difference}


def _intervals(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    found = {"old_interval": old.get("intervals", {}).get(name), "new_interval": new.get("intervals", {}).get(name)}
    return {which: interval for which, interval in found.items() if interval is not None}
