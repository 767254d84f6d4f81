"""The checks of release."""

from __future__ import annotations

from typing import Any

from assets.release import STEP
from assets.release.account import row_account
from assets.store.step import Outcome
from tests.release.material import measurements


def judge(name: str, measured: dict[str, Any]) -> Outcome:
    check = next(check for check in STEP.checks if check.name == name)
    assert not check.blocking
    return check.judge(measured, None)


def comparison(*, passed: bool) -> dict[str, Any]:
    return {"name": "floor", "passed": passed, "value": 0.5, "limit": 0.6, "message": "accuracy 0.5; 0.6 is required"}


def test_a_refusal_is_a_warning_with_its_reasons() -> None:
    outcome = judge("gate", {"decision": "refused", "comparisons": [comparison(passed=False)]})
    assert (outcome.passed, outcome.warning) == (False, True)
    assert outcome.message == "refused: accuracy 0.5; 0.6 is required"
    assert outcome.values == {"floor": 0.5}


def test_a_champion_that_fails_by_now_is_a_warning() -> None:
    outcome = judge("gate", {"decision": "unchanged", "comparisons": [comparison(passed=False)]})
    assert (outcome.passed, outcome.warning) == (False, True)


def test_a_promotion_passes() -> None:
    outcome = judge("gate", {"decision": "promoted", "comparisons": [comparison(passed=True)]})
    assert outcome.passed
    assert outcome.message == "promoted: every condition is met"


def test_no_row_is_lost() -> None:
    outcome = judge("no_row_lost", {"account": row_account(measurements())})
    assert outcome.passed
    assert outcome.message == "109 rows read = 90 accepted + 6 in quarantine + 13 merged as duplicates"


def test_a_lost_row_fails() -> None:
    outcome = judge("no_row_lost", {"account": row_account(measurements(cleaned={"merged": 4}))})
    assert not outcome.passed
    assert not outcome.warning
    assert outcome.message.startswith("2 rows are not accounted for: 109 rows read ≠ 90 accepted")


def test_what_was_changed_by_hand_is_a_warning() -> None:
    assert judge("registry_as_left", {"settled": {}}).passed
    change = {"alias": "champion", "found": 1, "due": 2}
    outcome = judge("registry_as_left", {"settled": {"by_hand": [change]}})
    assert (outcome.passed, outcome.warning, outcome.values) == (False, True, {"changes": 1})
    assert outcome.message.startswith("alias champion was set to version 1 in MLflow by hand; by the promotion log")
