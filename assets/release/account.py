"""The account of rows: every row that was read is kept, in quarantine, or merged as a duplicate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def row_account(measurements: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Add up what became of the rows, from the measurements of the steps raw, validated, cleaned and, if any, review.

    Returns:
        Rows: `read`; `kept`; `quarantined` (= `rejected` by the parser + `failed` an expectation + `dropped` by a
        ruling + `conflicting` labels + `superseded` by a newer row + a `doubtful` label); `merged` (= `repeated` as
        they were + `merged_texts`, equal after a ruling or after normalising); `forgotten` (left out on request), where
        there are any; `missing`, which must be 0.
    """
    raw, validated, cleaned = (measurements[step] for step in ("raw", "validated", "cleaned"))
    doubtful = measurements["review"]["quarantined"] if "review" in measurements else 0
    kept = cleaned["kept"] - doubtful
    quarantined = validated["quarantined"] + cleaned["quarantined"] + doubtful
    # A result that was accepted after an upgrade may be older than these measurements.
    dropped = validated.get("rulings", {}).get("dropped", 0)
    superseded = cleaned.get("superseded", 0)
    texts = validated.get("merged", 0) + cleaned["merged"]
    merged = raw["repeated"] + texts
    forgotten = raw.get("forgotten", 0)
    return {
        "read": raw["rows_read"],
        "kept": kept,
        "quarantined": quarantined,
        "rejected": raw["rejected"],
        "failed": validated["quarantined"] - raw["rejected"] - dropped,
        "dropped": dropped,
        "conflicting": cleaned["quarantined"] - superseded,
        "superseded": superseded,
        "doubtful": doubtful,
        "merged": merged,
        "repeated": raw["repeated"],
        "merged_texts": texts,
        **({"forgotten": forgotten} if forgotten else {}),
        "missing": raw["rows_read"] - kept - quarantined - merged - forgotten,
    }
