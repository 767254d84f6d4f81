from __future__ import annotations

import importlib
from typing import Any

import pytest

from assets.chain import chain_of
from assets.cleaned import STEP
from assets.config.pipeline import Cleaning, Pipeline
from assets.store.step import Outcome
from tests.config.test_pipeline import make


def judged(name: str, pipeline: Pipeline | None = None, **measurements: Any) -> Outcome:
    (check,) = (check for check in STEP.checks if check.name == name)
    assert check.blocking
    return check.judge(measurements, pipeline)


def test_the_step_names_its_function_and_reads_the_section_it_takes() -> None:
    module, name = STEP.function.split(":")
    function = getattr(importlib.import_module(module), name)
    # The limit is the check's.
    taken = set(Cleaning.model_fields) - {"max_group"}
    assert set(function.__annotations__) - {"build", "return"} == taken
    assert set(STEP.configuration) == {f"cleaning.{field}" for field in taken}


@pytest.mark.parametrize(("kept", "passed"), [(5, True), (4, False), (6, False)])
def test_a_lost_row_blocks(kept: int, passed: bool) -> None:
    outcome = judged("every_row_is_accounted_for", rows_in=9, kept=kept, merged=3, quarantined=1)
    assert outcome.passed is passed
    assert outcome.message == f"9 rows came in; {kept} kept + 3 merged + 1 quarantined"


@pytest.mark.parametrize(
    ("largest", "kept", "limit", "passed"),
    [
        (200, 2000, 0.1, True),
        (201, 2000, 0.1, False),
        (201, 2000, 0.2, True),
        (100, 100, 0.1, True),
        (101, 101, 0.1, False),
    ],
)
def test_a_group_of_too_many_texts_blocks(largest: int, kept: int, limit: float, passed: bool) -> None:
    pipeline = make(cleaning={"max_group": limit})
    outcome = judged("largest_group_within_limit", pipeline, largest_group=largest, kept=kept)
    assert outcome.passed is passed
    assert f"{largest:,} of {kept:,} texts" in outcome.message


@pytest.mark.parametrize(
    ("splits", "inputs"), [({}, ("validated",)), ({"frozen": {"files": ["a"]}}, ("validated", "raw"))]
)
def test_raw_is_read_where_a_test_set_came_with_the_data(splits: dict[str, Any], inputs: tuple[str, ...]) -> None:
    (step,) = (step for step in chain_of(make(splits=splits)) if step.name == "cleaned")
    assert step.inputs == inputs
