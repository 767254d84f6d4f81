"""The account of rows: every row that was read is kept, in quarantine, or merged as a duplicate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def row_account(measurements: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Add up what became of the rows, from the measurements of the steps raw, validated and cleaned.

    Returns:
        Rows: `read`; `kept`; `quarantined` (= `rejected` by the parser + `failed` an expectation + `dropped` by a
        ruling + `conflicting` labels); `merged` (= `repeated` as they were + `merged_texts`, equal after a ruling or
        after normalising); `missing`, which must be 0.
    """
    raw, validated, cleaned = (measurements[step] for step in ("raw", "validated", "cleaned"))
    quarantined = validated["quarantined"] + cleaned["quarantined"]
    # A result that was accepted after an upgrade may be older than what rulings measure.
    dropped = validated.get("rulings", {}).get("dropped", 0)
    texts = validated.get("merged", 0) + cleaned["merged"]
    merged = raw["repeated"] + texts
    return {
        "read": raw["rows_read"],
        "kept": cleaned["kept"],
        "quarantined": quarantined,
        "rejected": raw["rejected"],
        "failed": validated["quarantined"] - raw["rejected"] - dropped,
        "dropped": dropped,
        "conflicting": cleaned["quarantined"],
        "merged": merged,
        "repeated": raw["repeated"],
        "merged_texts": texts,
        "missing": raw["rows_read"] - cleaned["kept"] - quarantined - merged,
    }
