"""What the step reads of the promotion log."""

from __future__ import annotations

from assets.quality import champion
from assets.store.step import LogEntry
from tests.drift.test_init import decided


def test_without_a_result_batches_lie_between_the_decisions_since_the_champion() -> None:
    entries = [
        decided(0, "a", "s1", None),
        decided(1, "b", "s2", "a", "refused"),
        decided(2, "b2", "s2", "a", "refused"),
        decided(3, "c", "s3", "a", "refused"),
    ]
    assert champion(entries, {"splits": "s4"}, None) == {
        "champion": ("a",),
        "champion_evaluation": (),
        "champion_splits": ("s1",),
        "later_splits": ("s2", "s3"),
    }
    # The decision about the rows that stand changes nothing about what was measured of them.
    for splits, entry in (("s3", 3), ("s2", 1)):
        before, after = (champion(entries[:end], {"splits": splits}, None) for end in (entry, entry + 1))
        assert before == after
    assert set(champion([], {"splits": "s1"}, None).values()) == {()}


def test_decisions_before_the_champion_are_no_batches() -> None:
    entries = [decided(0, "a", "s1", None), decided(1, "b", "s2", "a"), decided(2, "c", "s3", "b", "refused")]
    assert champion(entries, {"splits": "s4"}, None)["later_splits"] == ("s3",)
    back = LogEntry(3, {"kind": "rollback", "challenger": "b", "champion": "a", "inputs": {"splits": "s1"}})
    assert champion([*entries, back], {"splits": "s4"}, None)["later_splits"] == ("s2", "s3")


def test_batches_lie_between_the_splits_that_were_seen_whether_or_not_anything_was_decided() -> None:
    entries = [decided(0, "a", "s1", None)]
    stood = {"champion": "a", "seen": {"splits": "s3", "before": ["s2"], "after": ["s2", "s3"]}}
    # The splits that stand: what the result was made from, so that it stays fresh, decided about or not.
    for more in ([], [decided(1, "b", "s3", "a", "refused")], [decided(1, "b", "s3", "a")]):
        assert champion([*entries, *more], {"splits": "s3"}, stood)["later_splits"] == ("s2",)
    assert champion(entries, {"splits": "s4"}, stood)["later_splits"] == ("s2", "s3")
    # It tells nothing about another champion.
    assert champion([*entries, decided(1, "b", "s3", "a")], {"splits": "s4"}, stood) == {
        "champion": ("b",),
        "champion_evaluation": (),
        "champion_splits": ("s3",),
        "later_splits": (),
    }
