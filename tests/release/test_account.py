"""The account of rows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from assets.release.account import row_account

COUNT = st.integers(0, 1000)


@settings(deadline=None, derandomize=True)
@given(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, st.none() | COUNT, st.integers(-5, 5))
def test_what_is_lost_is_missing(
    repeated: int,
    rejected: int,
    failed: int,
    merged: int,
    conflicting: int,
    kept: int,
    doubtful: int | None,
    lost: int,
) -> None:
    read = repeated + rejected + failed + merged + conflicting + kept + (doubtful or 0) + lost
    review = {} if doubtful is None else {"review": {"quarantined": doubtful}}
    account = row_account(
        {
            "raw": {"rows_read": read, "rejected": rejected, "repeated": repeated},
            "validated": {"quarantined": rejected + failed},
            "cleaned": {"kept": kept + (doubtful or 0), "merged": merged, "quarantined": conflicting},
            **review,
        }
    )
    assert account["missing"] == lost
    assert account["read"] == account["kept"] + account["quarantined"] + account["merged"] + account["missing"]
    parts = ("rejected", "failed", "conflicting", "doubtful")
    assert account["quarantined"] == sum(account[part] for part in parts)
    assert account["kept"] == kept
    assert account["merged"] == account["repeated"] + account["merged_texts"]
    assert account["failed"] == failed


def test_what_rulings_dropped_and_merged_has_its_own_place() -> None:
    account = row_account(
        {
            "raw": {"rows_read": 20, "rejected": 1, "repeated": 2},
            "validated": {"quarantined": 6, "merged": 3, "rulings": {"dropped": 4}},
            "cleaned": {"kept": 6, "merged": 1, "quarantined": 2},
        }
    )
    assert account["missing"] == 0
    assert (account["failed"], account["dropped"], account["merged_texts"]) == (1, 4, 4)
    quarantined = account["rejected"] + account["failed"] + account["dropped"] + account["conflicting"]
    assert account["quarantined"] == quarantined


def test_what_is_forgotten_has_its_own_place_where_there_is_any() -> None:
    measured = {
        "raw": {"rows_read": 12, "rejected": 1, "repeated": 2, "forgotten": 3},
        "validated": {"quarantined": 1},
        "cleaned": {"kept": 6, "merged": 0, "quarantined": 0},
    }
    account = row_account(measured)
    assert (account["forgotten"], account["missing"]) == (3, 0)
    del measured["raw"]["forgotten"]
    assert "forgotten" not in row_account(measured)
    assert row_account(measured)["missing"] == 3
