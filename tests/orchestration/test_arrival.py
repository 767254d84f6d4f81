"""Tests of what the new-data sensor decides."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.orchestration import arrival
from assets.orchestration.arrival import TRIES, Decision, Look, Memory, Waiting, decide
from assets.orchestration.runs import Ended
from assets.store.plan import Plan, StepPlan

NOW = 1_800_000_000.0
HOUR = 3600.0
STEPS = ("raw", "splits", "model", "release")
STALE = Plan("tiny", tuple(StepPlan(step, "stale", ()) for step in STEPS))
TRAIN = Plan("tiny", tuple(StepPlan(step, "stale" if step in STEPS[2:] else "fresh", ()) for step in STEPS))
FRESH = Plan("tiny", tuple(StepPlan(step, "fresh", ()) for step in STEPS))
NEW = Look("raw", "d1", known=False, unsettled="", settings="s1", plan=STALE, cheap=STEPS[:2], waiting=None)
ROWS = replace(NEW, waiting=Waiting("", "", 0, 0.0))
TAKEN = replace(NEW, known=True, plan=TRAIN)


def waits(new: int, rows: str = "r2", trained: str = "r1", begun: float = 0.0) -> Look:
    """Every row was taken in, and some of them not trained on."""
    return replace(TAKEN, waiting=Waiting(rows, trained, new, begun))


def decided(
    seen: Look,
    memory: Memory,
    last: Ended | None = None,
    *,
    least: int = 500,
    wait: float | None = None,
    now: float = NOW,
) -> Decision:
    return decide(seen, memory, last, min_new_rows=least, max_wait=wait, now=now)


def failed(*, may_pass: bool, time: float = NOW) -> Ended:
    return Ended("run1", False, "run run1 failed: no connection", may_pass, time)


def test_a_new_source_is_asked_for_whole_and_once() -> None:
    asked = decided(NEW, Memory())
    assert (asked.steps, asked.memory.key, asked.memory.number) == (STEPS, "d1-1", 1)
    for last in (None, Ended("run1", True, "", True, NOW)):
        assert decided(TAKEN, asked.memory, last).reason == "the source is what raw stands for"
    # Changed settings are no new data.
    changed = replace(TAKEN, settings="s2")
    assert decided(changed, asked.memory, Ended("run1", True, "", True, NOW)).steps == ()


def test_only_rows_are_taken_in_where_they_wait() -> None:
    asked = decided(ROWS, Memory())
    assert (asked.steps, asked.memory.whole) == (STEPS[:2], False)


def test_a_failure_that_may_pass_is_tried_again_after_growing_waits_and_no_more_than_so_often() -> None:
    memory = decided(NEW, Memory()).memory
    now, waited = NOW, []
    for number in range(2, TRIES + 2):
        last = failed(may_pass=True, time=now)
        early = decided(NEW, memory, last, now=now)
        assert early.reason.startswith(f"run run1 failed: no connection; try {number - 1} of 5 more is at ")
        begun = now
        while not (again := decided(NEW, memory, last, now=now)).steps:
            now += 1.0
        waited.append(now - begun)
        assert again.memory.key == f"d1-{number}"
        memory = again.memory
    assert waited == [60.0, 240.0, 960.0, 3840.0, 15360.0]
    over = decided(NEW, memory, failed(may_pass=True, time=now), now=now + 1000 * HOUR)
    assert over.steps == ()
    assert over.reason == (
        "run run1 failed: no connection; it was tried 5 more times, and nothing is asked for until the source, the "
        "configuration or the code changes"
    )


@pytest.mark.parametrize("known", [False, True])
def test_a_failure_for_the_data_waits_until_something_changes(known: bool) -> None:
    memory = decided(NEW, Memory()).memory
    seen = TAKEN if known else NEW
    stays = decided(seen, memory, failed(may_pass=False), now=NOW + 1000 * HOUR)
    assert stays.reason == (
        "run run1 failed: no connection; nothing is asked for until the source, the configuration or the code changes"
    )
    for changed in (replace(seen, digest="d2"), replace(seen, settings="s2")):
        again = decided(changed, memory, failed(may_pass=False))
        assert again.steps == seen.plan.to_run
        assert again.memory.tries == 0


def test_a_failure_that_somebody_mended_is_over() -> None:
    memory = decided(NEW, Memory()).memory
    mended = replace(TAKEN, plan=FRESH)
    assert decided(mended, memory, failed(may_pass=False)).reason == "the source is what raw stands for"


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (None, "a run was asked for source d1 already and is not there; try 1 of 5 more is at 2027-01-15 08:01 UTC"),
        (Ended("run1", True, "", True, NOW), "run run1 found the source in another state; try 1 of 5 more is at"),
    ],
)
def test_a_source_that_no_run_took_in_is_asked_for_again(last: Ended | None, reason: str) -> None:
    """A source that changed while it was asked for, and then changed back, would be lost."""
    memory = decided(NEW, Memory()).memory
    assert decided(NEW, memory, last).reason.startswith(reason)
    again = decided(NEW, memory, last, now=NOW + 60)
    assert (again.steps, again.memory.tries) == (STEPS, 1)


def test_rows_wait_for_enough_of_them() -> None:
    seen = decided(waits(312), Memory())
    assert seen.reason == "312 of 500 new rows; the oldest waits since 2027-01-15 08:00 UTC"
    later = decided(waits(499, rows="r3"), seen.memory, now=NOW + HOUR)
    assert later.reason == "499 of 500 new rows; the oldest waits since 2027-01-15 08:00 UTC"
    asked = decided(waits(500, rows="r4"), later.memory, now=NOW + 2 * HOUR)
    assert asked.steps == STEPS[2:]
    assert asked.memory.key == "r4-1"
    assert asked.memory.whole


def test_no_row_waits_longer_than_it_may() -> None:
    seen = decided(waits(1), Memory(), wait=24 * HOUR)
    assert seen.reason == (
        "1 of 500 new rows; the oldest waits since 2027-01-15 08:00 UTC, at most until 2027-01-16 08:00 UTC"
    )
    assert decided(waits(2, rows="r3"), seen.memory, wait=24 * HOUR, now=NOW + 24 * HOUR - 1).steps == ()
    assert decided(waits(2, rows="r3"), seen.memory, wait=24 * HOUR, now=NOW + 24 * HOUR).steps == STEPS[2:]


def test_rows_that_come_while_the_model_is_trained_wait_from_then_on() -> None:
    memory = decided(waits(600), Memory(), now=NOW).memory
    # The training began an hour later, and took the rows that were there.
    after = decided(waits(10, rows="r3", trained="r2", begun=NOW + HOUR), memory, now=NOW + 5 * HOUR)
    assert after.reason == "10 of 500 new rows; the oldest waits since 2027-01-15 09:00 UTC"
    none = decided(replace(waits(0, rows="r2", trained="r2"), plan=FRESH), memory, now=NOW + 5 * HOUR)
    assert none.reason == "the model was trained on the rows that the source has"
    assert none.memory.since is None
    assert decided(waits(3, rows="r4", trained="r2"), none.memory, now=NOW + 9 * HOUR).memory.since == NOW + 9 * HOUR


def test_changed_settings_train_nothing_before_there_are_new_rows() -> None:
    trained = waits(0, rows="r2", trained="r2")
    assert decided(trained, Memory()).reason == "the model was trained on the rows that the source has"


def test_a_training_that_failed_is_asked_for_again_and_not_before_its_time() -> None:
    memory = decided(waits(600), Memory()).memory
    assert "try 1 of 5 more" in decided(waits(600), memory, failed(may_pass=True)).reason
    assert decided(waits(600), memory, failed(may_pass=True), now=NOW + 60).steps == STEPS[2:]
    assert "nothing is asked for until" in decided(waits(600), memory, failed(may_pass=False)).reason
    # New rows are taken in all the same.
    more = replace(ROWS, digest="d2", waiting=Waiting("r2", "r1", 600, 0.0))
    assert decided(more, memory, failed(may_pass=False)).steps == STEPS[:2]


def test_a_training_that_leaves_the_model_untrained_is_not_repeated_at_once() -> None:
    memory = decided(waits(600), Memory()).memory
    assert decided(waits(600), memory, Ended("run1", True, "", True, NOW)).steps == ()


def test_a_source_that_may_be_about_to_change_is_waited_for_and_not_for_ever() -> None:
    writing = replace(NEW, unsettled="a.csv is empty")
    first = decided(writing, Memory())
    assert (first.steps, first.reason) == ((), "a.csv is empty")
    later = decided(replace(writing, digest="d2"), first.memory, now=NOW + arrival.SETTLE_SECONDS - 1)
    assert later.reason == "a.csv is empty"
    taken = decided(replace(writing, digest="d3"), later.memory, now=NOW + arrival.SETTLE_SECONDS)
    assert taken.steps == STEPS
    assert taken.memory.unsettled is None
    assert decided(NEW, first.memory).steps == STEPS
    # Somebody took it away again; the next one has as much time.
    away = decided(TAKEN, first.memory)
    assert decided(writing, away.memory, now=NOW + HOUR).reason == "a.csv is empty"


def test_the_cursor_keeps_everything() -> None:
    memory = decided(waits(600), Memory(), now=NOW).memory
    assert Memory.read(memory.written()) == memory
    assert Memory.read(None) == Memory.read("") == Memory()
    assert Memory.read('{"digest": "d", "number": 3, "of another version": 1}') == Memory("d", 3)


@settings(deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.booleans(), st.integers(0, 3), st.integers(0, 600), st.sampled_from(["none", "done", "may", "no"])
        ),
        max_size=25,
    ),
    st.booleans(),
)
def test_no_run_key_comes_twice(ticks: list[tuple[bool, int, int, str]], rows_wait: bool) -> None:
    """Dagster launches nothing for a key that it knows."""
    memory, keys, now = Memory(), [], NOW
    for known, source, new, ended in ticks:
        now += 1000.0
        last = {
            "none": None,
            "done": Ended("run1", True, "", True, now),
            "may": failed(may_pass=True, time=now - 900),
            "no": failed(may_pass=False, time=now - 900),
        }[ended]
        seen = replace(TAKEN if known else NEW, digest=f"d{source}")
        if rows_wait:
            seen = replace(seen, waiting=Waiting(f"r{source}", "r0", new, 0.0))
        found = decided(seen, memory, last, now=now)
        assert bool(found.steps) != bool(found.reason)
        if found.steps:
            keys.append(found.memory.key)
            assert set(found.steps) <= set(seen.plan.to_run)
        memory = Memory.read(found.memory.written())
    assert len(set(keys)) == len(keys)
