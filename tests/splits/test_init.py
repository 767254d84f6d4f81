from __future__ import annotations

import importlib

from assets.config.sides import Splits
from assets.splits import STEP


def test_the_step_names_its_function_and_reads_what_it_takes() -> None:
    module, name = STEP.function.split(":")
    function = getattr(importlib.import_module(module), name)
    assert set(function.__annotations__) - {"build", "return"} == {"labels", *Splits.model_fields}
    assert STEP.configuration == ("task.labels", "splits")
