from __future__ import annotations

import importlib

import pytest

from assets.cleaned import STEP
from assets.config.pipeline import Cleaning


def test_the_step_names_its_function_and_reads_the_section_it_takes() -> None:
    module, name = STEP.function.split(":")
    function = getattr(importlib.import_module(module), name)
    assert set(function.__annotations__) - {"build", "return"} == set(Cleaning.model_fields)
    assert STEP.configuration == ("cleaning",)


@pytest.mark.parametrize(("kept", "passed"), [(5, True), (4, False), (6, False)])
def test_a_lost_row_blocks(kept: int, passed: bool) -> None:
    (check,) = STEP.checks
    outcome = check.judge({"rows_in": 9, "kept": kept, "merged": 3, "quarantined": 1}, None)
    assert check.blocking
    assert outcome.passed is passed
    assert outcome.message == f"9 rows came in; {kept} kept + 3 merged + 1 quarantined"
