"""What the step reads of the promotion log, and its checks."""

from __future__ import annotations

from typing import Any

from assets.predictions import STEP, champion
from assets.store.step import LogEntry

EMPTY: dict[str, Any] = {"champion": (), "champion_evaluation": ()}


def decided(number: int, model: str, evaluation: str, before: str | None, decision: str = "promoted") -> LogEntry:
    after = model if decision == "promoted" else before
    inputs = {"evaluation": evaluation}
    return LogEntry(number, {"kind": "decision", "challenger": model, "champion": after, "inputs": inputs})


def test_it_is_the_champion_with_its_latest_evaluation() -> None:
    assert champion([], {}, None) == EMPTY
    refused = decided(0, "a", "e1", None, "refused")
    assert champion([refused], {}, None) == EMPTY
    entries = [refused, decided(1, "b", "e2", None)]
    used = {"champion": ("b",), "champion_evaluation": ("e2",)}
    assert champion(entries, {}, None) == used
    assert champion([*entries, decided(2, "c", "e3", "b", "refused")], {}, None) == used
    again = champion([*entries, decided(2, "b", "e3", "b", "unchanged")], {}, None)
    assert again == {"champion": ("b",), "champion_evaluation": ("e3",)}


def test_a_person_decides_too() -> None:
    entries = [decided(0, "a", "e1", None), decided(1, "b", "e2", "a")]
    back = LogEntry(2, {"kind": "rollback", "challenger": "b", "champion": "a", "inputs": {"evaluation": "e2"}})
    assert champion([*entries, back], {}, None) == {"champion": ("a",), "champion_evaluation": ("e1",)}
    adopted = LogEntry(0, {"kind": "adopt", "challenger": "z", "champion": "z", "inputs": {}})
    assert champion([adopted], {}, None) == {"champion": ("z",), "champion_evaluation": ()}


def outcomes(**measured: Any) -> dict[str, tuple[bool, str]]:
    given = {"reason": "", "files": 1, "read": 6, "predicted": 3, "without_text": 2, "rejected": 1, **measured}
    found = {check.name: check.judge(given, None) for check in STEP.checks}
    return {name: (outcome.passed, outcome.message) for name, outcome in found.items()}


def test_a_row_that_is_lost_is_seen() -> None:
    assert outcomes()["no_row_lost"] == (True, "6 rows read = 3 predicted + 2 without text + 1 rejected")
    assert outcomes(read=7)["no_row_lost"] == (False, "7 rows read ≠ 3 predicted + 2 without text + 1 rejected")
    assert outcomes()["every_row_predicted"] == (
        False,
        "of 6 rows read 2 have no text, 1 could not be read",
    )
    assert outcomes(without_text=0, rejected=0)["every_row_predicted"][0]
    assert outcomes(reason="there is no champion yet")["every_row_predicted"][0] is False
    assert outcomes(reason="there are no files", files=0)["every_row_predicted"][0]
