from __future__ import annotations

import importlib
from typing import Any

import pytest

from assets.chain import chain_of
from assets.config.pipeline import Pipeline, Review
from assets.review import STEP
from assets.store.step import Outcome
from tests.config.test_pipeline import make


def judged(name: str, pipeline: Pipeline, **measurements: Any) -> tuple[Outcome, bool]:
    (check,) = (check for check in STEP.checks if check.name == name)
    outcome = check.judge(measurements, pipeline)
    return outcome, check.stops(outcome)


def test_the_step_names_its_function_and_reads_the_section_it_takes() -> None:
    module, name = STEP.function.split(":")
    function = getattr(importlib.import_module(module), name)
    # The limit is the check's.
    taken = set(Review.model_fields) - {"max_quarantined"}
    assert set(function.__annotations__) - {"build", "return"} == taken
    assert set(STEP.configuration) == {f"review.{field}" for field in taken}


@pytest.mark.parametrize(
    ("section", "there", "read"),
    [(None, False, False), ({}, True, False), ({"quarantine": True}, True, True)],
)
def test_the_chain_has_it_if_it_is_asked_for(section: dict[str, Any] | None, there: bool, read: bool) -> None:
    chain = {step.name: step.inputs for step in chain_of(make(review=section))}
    assert ("review" in chain) is there
    assert ("review" in chain["splits"]) is read


def test_suspects_are_a_warning() -> None:
    pairs = [{"label": "ham", "suggested": "spam", "count": count} for count in (1200, 20, 3, 1)]
    outcome, stops = judged("labels_agree", make(), suspects=1224, judged=9000, unjudged=2, share=0.136, pairs=pairs)
    assert not outcome.passed
    assert outcome.warning
    assert not stops
    assert outcome.message == (
        "1,224 of 9,000 labels (13.60%) look wrong – ham that may be spam: 1,200, ham that may be spam: 20, "
        "ham that may be spam: 3; 2 rows have a label that is too rare to judge"
    )


def test_no_suspects() -> None:
    outcome, _ = judged("labels_agree", make(), suspects=0, judged=10, unjudged=0, share=0.0, pairs=[])
    assert outcome.passed
    assert outcome.message == "0 of 10 labels (0.00%) look wrong"


@pytest.mark.parametrize(("quarantined", "passed"), [(50, True), (51, False)])
def test_too_many_rows_in_quarantine_block(quarantined: int, passed: bool) -> None:
    outcome, stops = judged("doubtful_labels_within_limit", make(review={}), quarantined=quarantined, rows=1000)
    assert outcome.passed is passed
    assert stops is not passed
    assert outcome.message == (
        f"{quarantined} of 1,000 rows ({quarantined / 1000:.2%}) are in quarantine for a doubtful label, at most "
        "5.00% may be"
    )
