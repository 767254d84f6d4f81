"""Properties of the promotion log."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import ConfigurationError
from assets.release import log
from assets.store.step import LogEntry
from tests.release.material import WHEN, entry

SIGNED = {"by": "ada", "when": WHEN, "why": "it answers better"}
MODELS = st.sampled_from("abcd")
OPERATIONS = st.lists(st.tuples(st.sampled_from(["accept", "refuse", "promote", "rollback"]), MODELS), max_size=25)


def history(operations: list[tuple[str, str]]) -> tuple[LogEntry, ...]:
    """Do operations one after the other, leaving out those that the log refuses."""
    entries: tuple[LogEntry, ...] = ()
    for operation, model in operations:
        before = log.champion(entries)
        try:
            if operation == "promote":
                made = LogEntry(len(entries), log.promote(entries, model, **SIGNED))
            elif operation == "rollback":
                made = LogEntry(len(entries), log.rollback(entries, **SIGNED))
            elif operation == "accept" and model not in log.rolled_back(entries):
                made = entry(len(entries), model, model)
            else:
                made = entry(len(entries), model, before)
        except ConfigurationError:
            continue
        entries = (*entries, made)
    return entries


@settings(deadline=None, derandomize=True)
@given(OPERATIONS)
def test_a_promotion_is_undone_by_a_rollback(operations: list[tuple[str, str]]) -> None:
    entries = history(operations)
    before = log.champion(entries)
    candidates = [model for model in "abcd" if log.decisions(entries, model) and model != before]
    for model in candidates:
        promoted = (*entries, LogEntry(len(entries), log.promote(entries, model, **SIGNED)))
        assert log.champion(promoted) == model
        if before is None:
            with pytest.raises(ConfigurationError, match="is the first champion"):
                log.rollback(promoted, **SIGNED)
            continue
        fields = log.rollback(promoted, **SIGNED)
        assert (fields["champion"], fields["challenger"]) == (before, model)
        back = (*promoted, LogEntry(len(promoted), fields))
        assert model in log.rolled_back(back)
        assert before not in log.rolled_back(back)


@settings(deadline=None, derandomize=True)
@given(OPERATIONS)
def test_the_champion_is_never_one_that_is_rolled_back(operations: list[tuple[str, str]]) -> None:
    entries = history(operations)
    for length in range(len(entries) + 1):
        assert log.champion(entries[:length]) not in log.rolled_back(entries[:length])


def test_an_empty_log_has_no_champion() -> None:
    assert log.champion(()) is None
    assert log.rolled_back(()) == frozenset()
    assert log.decisions((), "a") == []


def test_a_refused_challenger_leaves_the_champion() -> None:
    assert log.champion((entry(0, "a", "a"), entry(1, "b", "a"))) == "a"


def test_rollbacks_go_back_one_champion_each() -> None:
    entries = [entry(0, "a", "a"), entry(1, "b", "b"), entry(2, "c", "c")]
    for expected in ("b", "a"):
        entries.append(LogEntry(len(entries), log.rollback(entries, **SIGNED)))
        assert log.champion(entries) == expected
    assert log.rolled_back(entries) == {"b", "c"}
    with pytest.raises(ConfigurationError, match="nothing to roll back to: 'a' is the first champion"):
        log.rollback(entries, **SIGNED)


def test_an_explicit_promotion_takes_back_a_rollback() -> None:
    entries = [entry(0, "a", "a"), entry(1, "b", "b")]
    entries.append(LogEntry(2, log.rollback(entries, **SIGNED)))
    assert log.rolled_back(entries) == {"b"}
    entries.append(LogEntry(3, log.promote(entries, "b", **SIGNED)))
    assert log.rolled_back(entries) == frozenset()
    assert log.champion(entries) == "b"


def test_what_a_promotion_says() -> None:
    entries = (entry(0, "a", "a"), entry(1, "b", "a"))
    assert log.promote(entries, "b", **SIGNED) == {
        "kind": "promote",
        "decision": "promoted",
        "challenger": "b",
        "champion": "b",
        "inputs": {"splits": "splits-of-b", "model": "b", "evaluation": "evaluation-of-b"},
        **SIGNED,
    }


def test_an_unknown_model_is_not_promoted() -> None:
    with pytest.raises(ConfigurationError, match="no model 'x' in the promotion log; known: a, b"):
        log.promote((entry(0, "a", "a"), entry(1, "b", "a")), "x", **SIGNED)
    with pytest.raises(ConfigurationError, match="known: none yet") as error:
        log.promote((), "x", **SIGNED)
    assert error.value.fix == "run the pipeline first"


def test_the_champion_is_not_promoted_again() -> None:
    with pytest.raises(ConfigurationError, match="'a' is the champion already"):
        log.promote((entry(0, "a", "a"),), "a", **SIGNED)


def test_without_a_champion_nothing_is_rolled_back() -> None:
    with pytest.raises(ConfigurationError, match="there is no champion"):
        log.rollback((entry(0, "a", None),), **SIGNED)


def test_every_decision_about_a_model_is_found() -> None:
    again = entry(2, "a", "a", inputs={"splits": "later"})
    promotion = replace(entry(3, "a", "a"), fields={**entry(3, "a", "a").fields, "kind": "promote"})
    entries = (entry(0, "a", "a"), entry(1, "b", "a"), again, promotion)
    assert [fields["inputs"]["splits"] for fields in log.decisions(entries, "a")] == ["splits-of-a", "later"]


ADOPTED = {"release": "r", "origin": "elsewhere", **SIGNED}


def test_a_model_from_elsewhere_is_the_first_champion() -> None:
    refused = (entry(0, "a", None),)
    fields = log.adopt(refused, "x", **ADOPTED)
    entries = (*refused, LogEntry(1, fields))
    assert (log.champion(entries), log.champions(entries), fields["kind"]) == ("x", ["x"], "adopt")
    assert log.adopted(entries, "x")
    assert not log.adopted(entries, "a")
    assert log.decisions(entries, "x") == [], "no gate saw it"
    assert log.told(entries, "x") == fields
    with pytest.raises(ConfigurationError, match="'x' is the champion already"):
        log.adopt(entries, "y", **ADOPTED)
    after = (*entries, entry(2, "b", "b"))
    back = log.rollback(after, **SIGNED)
    assert (back["champion"], back["challenger"]) == ("x", "b")
    assert log.outgrown(entries, "splits-of-a") is None, "nobody knows what it was made from"
    assert log.aliases(after) == {"challenger": "b", "champion": "b", "previous": "x"}


def test_an_accepted_challenger_waits_until_a_person_takes_it() -> None:
    entries = [entry(0, "a", "a")]
    assert log.waiting(entries) is None
    entries.append(entry(1, "b", "a", decision="accepted"))
    assert log.waiting(entries) == "b"
    assert log.champion(entries) == "a"
    entries.append(LogEntry(2, log.promote(entries, "b", **SIGNED)))
    assert log.waiting(entries) is None
    entries.append(LogEntry(3, log.rollback(entries, **SIGNED)))
    assert log.waiting(entries) is None, "taken out by a person, and not offered again"
    assert log.waiting([*entries, entry(4, "c", "a", decision="refused")]) is None


@settings(deadline=None, derandomize=True)
@given(OPERATIONS)
def test_what_came_into_use_leads_to_the_champion(operations: list[tuple[str, str]]) -> None:
    entries = history(operations)
    replaced = log.replacements(entries)
    assert (replaced[-1].fields["champion"] if replaced else None) == log.champion(entries)
    assert all(one.fields["champion"] != two.fields["champion"] for one, two in pairwise(replaced))
    aliases = log.aliases(entries)
    assert aliases["champion"] == log.champion(entries)
    if aliases["previous"] is not None:
        assert log.rollback(entries, **SIGNED)["champion"] == aliases["previous"]
