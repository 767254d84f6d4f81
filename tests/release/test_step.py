"""The declaration of the step fits its functions and the configuration."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from assets.config.gate import Gate
from assets.release import STEP


def named(function: str) -> Any:
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)


def test_the_function_takes_what_is_declared() -> None:
    arguments = [path.rpartition(".")[2] for path in STEP.configuration]
    parameters = inspect.signature(named(STEP.function)).parameters.values()
    assert [each.name for each in parameters if each.kind is each.KEYWORD_ONLY] == arguments == list(Gate.model_fields)


def test_what_settles_is_there() -> None:
    assert STEP.decides
    assert STEP.settle is not None
    assert list(inspect.signature(named(STEP.settle)).parameters) == ["settlement"]
