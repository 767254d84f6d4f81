from __future__ import annotations

from assets.raw import judge_lines


def test_unreadable_lines_are_a_warning_with_their_number() -> None:
    outcome = judge_lines({"rows": 8, "rejected": 2}, None)
    assert (outcome.passed, outcome.warning) == (False, True)
    assert outcome.message == "2 of 10 distinct lines could not be read as rows"
    assert judge_lines({"rows": 8, "rejected": 0}, None).passed
