"""Which steps a configuration asks for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from assets import chain
from assets.store.step import Step


def step(name: str, **declared: Any) -> Step:
    return Step(name=name, description="", function=f"nowhere:{name}", **declared)


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (
        step("first"),
        step("aside", inputs=("first",), wanted=lambda config: config.aside),
        step(
            "last",
            inputs=("first", "aside"),
            environment=("always", "sometimes:major"),
            optional={"aside": lambda config: config.reads, "sometimes:major": lambda config: config.reads},
        ),
    )
    monkeypatch.setattr(chain, "CHAIN", steps)


@pytest.mark.parametrize(
    ("aside", "reads", "expected"),
    [
        (True, True, {"first": (), "aside": ("first",), "last": ("first", "aside")}),
        (True, False, {"first": (), "aside": ("first",), "last": ("first",)}),
        (False, True, {"first": (), "last": ("first",)}),
        (False, False, {"first": (), "last": ("first",)}),
    ],
)
def test_an_optional_step_is_there_and_read_only_where_the_configuration_asks_for_it(
    *, aside: bool, reads: bool, expected: dict[str, tuple[str, ...]]
) -> None:
    config: Any = SimpleNamespace(aside=aside, reads=reads)
    assert {each.name: each.inputs for each in chain.chain_of(config)} == expected


@pytest.mark.parametrize("reads", [True, False])
def test_a_library_matters_only_where_the_configuration_asks_for_it(*, reads: bool) -> None:
    config: Any = SimpleNamespace(aside=False, reads=reads)
    last = chain.chain_of(config)[-1]
    assert last.environment == (("always", "sometimes:major") if reads else ("always",))
