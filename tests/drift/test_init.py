"""What the step reads of the promotion log."""

from __future__ import annotations

from typing import Any

import pytest

from assets.drift import STEP, champion
from assets.drift.checks import TESTS
from assets.store.step import LogEntry


def decided(number: int, model: str, splits: str, before: str | None, decision: str = "promoted") -> LogEntry:
    return LogEntry(
        number,
        {
            "kind": "decision",
            "challenger": model,
            "champion": model if decision == "promoted" else before,
            "inputs": {"splits": splits},
        },
    )


def compared(entries: list[LogEntry], splits: str) -> Any:
    found = champion(entries, {"splits": splits}, None)
    return found["champion"], found["champion_splits"]


def test_rows_are_compared_with_the_champion_that_was_in_use_when_they_came_in() -> None:
    first = decided(0, "a", "s1", None)
    assert compared([], "s1") == ((), ())
    assert compared([first], "s1") == ((), ())
    assert compared([first], "s2") == (("a",), ("s1",))
    # The run ends with a decision: what was compared stands, whatever it was.
    assert compared([first, decided(1, "b", "s2", "a")], "s2") == (("a",), ("s1",))
    assert compared([first, decided(1, "b", "s2", "a", "refused")], "s2") == (("a",), ("s1",))
    # Further training on the same rows changes nothing about the rows.
    assert compared([first, decided(1, "b", "s2", "a"), decided(2, "c", "s2", "b")], "s2") == (("a",), ("s1",))
    assert compared([first, decided(1, "b", "s2", "a")], "s3") == (("b",), ("s2",))


def test_a_champion_was_made_from_all_the_splits_that_it_came_out_of() -> None:
    entries = [decided(0, "a", "s1", None), decided(1, "a", "s2", "a", "unchanged")]
    assert compared(entries, "s3") == (("a",), ("s1", "s2"))
    assert compared(entries, "s2") == ((), ())


def test_a_champion_that_was_rolled_back_is_none() -> None:
    back = LogEntry(2, {"kind": "rollback", "challenger": "b", "champion": "a", "inputs": {"splits": "s1"}})
    assert compared([decided(0, "a", "s1", None), decided(1, "b", "s2", "a"), back], "s3") == (("a",), ("s1",))


def test_each_test_has_a_check_that_does_not_block() -> None:
    assert [check.name for check in STEP.checks] == [
        "same_labels",
        "same_lengths",
        "same_vocabulary",
        "same_separation",
    ]
    assert not any(check.blocking for check in STEP.checks)


@pytest.mark.parametrize(
    ("p", "said"), [(0.3, "p = 0.3 after"), (0.0, "p < 1e-06 after"), (1.8e-17, "p < 1e-06 after")]
)
def test_a_chance_that_is_next_to_none_is_not_said_to_be_none(p: float, said: str) -> None:
    found = {"said": "difference", "effect": 0.2, "least_effect": 0.1, "p_adjusted": p, "alarm": True}
    measurements = {"reason": "", "level": 0.01, "tests": dict.fromkeys(TESTS, found)}
    assert all(said in check.judge(measurements, None).message for check in STEP.checks)
