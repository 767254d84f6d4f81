"""What a check's outcome means for the steps after it."""

from __future__ import annotations

from itertools import product

from assets.store.step import Check, Outcome


def test_only_a_failure_of_a_blocking_check_that_is_no_mere_warning_stops() -> None:
    stopping = [
        (blocking, passed, warning)
        for blocking, passed, warning in product([False, True], repeat=3)
        if Check("c", "d", lambda *_: Outcome(True, ""), blocking=blocking).stops(Outcome(passed, "", warning=warning))
    ]
    assert stopping == [(True, False, False)]
