"""Trainings of two processes that share out a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from assets.errors import ConfigurationError
from assets.model import loop, stepping
from assets.model.devices import Devices, devices_together
from assets.model.stepping import Training
from assets.progress import Event
from assets.tasks import blocks
from tests.model.pair import STOPPED, TRAININGS, RunsOut, trained

SETTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        **TRAININGS,
        "one epoch": {"epochs": 1},
        "layers run again": {"epochs": 1, "recompute": True},
        "lora": {"epochs": 1, "lora_rank": 4},
    }
)
"""What is trained by the two together, and by one alone."""


@contextmanager
def every_word() -> Iterator[pytest.MonkeyPatch]:
    """Train the words that a batch lacks too, as it is where the model is shared out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_touched", lambda *_: _nothing())
        yield patch


@contextmanager
def _nothing() -> Iterator[None]:
    yield


class Meter:
    """Bytes that this process keeps between two steps, most."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.weights = self.moments = 0
        update = Training.update

        def measured(training: Training, batch: list[int]) -> None:
            update(training, batch)
            weights = list(training.model.parameters())
            self.weights = max(self.weights, sum(map(held, weights)))
            moments = [moment for weight in weights for moment in training._moments(weight)]
            self.moments = max(self.moments, sum(map(held, moments)))

        patch.setattr(Training, "update", measured)


def held(tensor: Any) -> int:
    """Bytes of a tensor that lie in this process."""
    from torch.distributed.tensor import DTensor

    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return int(local.numel() * local.element_size())


def run_out_within(patch: pytest.MonkeyPatch, what: str, most: int = 60) -> list[int]:
    """Let memory run out amid a part with more tokens: in the first layer, forwards, or in the last that goes back."""
    import torch

    times: list[int] = []
    attend = blocks._Attention
    before = getattr(attend, what)
    calls = 0

    def full(ctx: Any, *given: Any) -> Any:
        nonlocal calls
        tokens = given[0].shape[0]
        if tokens > most:
            calls += 1
            # Each of the two layers goes back once.
            if what == "forward" or calls % 2 == 0:
                times.append(tokens)
                raise torch.OutOfMemoryError("tried to allocate 2 GiB")
        return before(ctx, *given)

    patch.setattr(attend, what, staticmethod(full))
    return times


def main(folder: Path) -> None:
    """What each of the two processes does: all trainings, one after the other."""
    found: dict[str, Any] = {}

    def run(name: str, devices: Devices, *, sharding: bool = True, at: str = "", **changed: Any) -> None:
        found[name] = trained(folder / (at or name), devices, sharding=sharding, **changed)

    with devices_together() as devices, pytest.MonkeyPatch.context() as patch:
        meter = Meter(patch)
        for name, changed in SETTINGS.items():
            run(name, devices, **changed)
            found[name] |= {"kept": [meter.weights, meter.moments]}
        run("bf16", devices, epochs=1, precision="bf16")
        with pytest.MonkeyPatch.context() as short:
            # Different on each, as on GPUs that others use too.
            asked: list[int] = []

            def free(_: Any, *given: int) -> float:
                asked.extend(given)
                return 200_000.0 + 1e6 * devices.rank

            short.setattr(stepping, "free_memory", free)
            said: list[Event] = []
            run("in parts", devices, epochs=1, sink=said.append)
            told = [event["text"] for event in said if event["kind"] == "message"]
            found["in parts"] |= {"said": told, "asked": asked}
        with pytest.MonkeyPatch.context() as padded:
            padded.setattr(loop, "why_padded", lambda _: "so that it is")
            # In the same batches as the others.
            padded.setattr(stepping, "PADDED_WINDOW", stepping.WINDOW)
            run("padded", devices, epochs=1)
        for what in ("forward", "backward"):
            with pytest.MonkeyPatch.context() as out:
                times = [] if devices.first else run_out_within(out, what)
                run(f"one runs out of memory, {what}", devices, epochs=1)
                assert devices.first or times
        with pytest.MonkeyPatch.context() as out:
            runs_out = None if devices.first else RunsOut(out.setattr)
            run("one runs out of memory after a part", devices, epochs=1)
            assert runs_out is None or runs_out.times
        with pytest.MonkeyPatch.context() as out:
            if not devices.first:
                run_out_within(out, "forward", most=1)
            out.setattr(stepping, "kept", lambda *_: (1.0, 1.0))
            with pytest.raises(ConfigurationError) as refused:
                run("too little", devices)
            found["too little"] = str(refused.value)
        run("with dropout", devices, dropout=0.1)
        trained(folder / "two then two", devices, sharding=True, dropout=0.1, stop_at=STOPPED)
        run("two then two", devices, dropout=0.1)
        trained(folder / "shared then one", devices, sharding=True, stop_at=STOPPED)
        trained(folder / "shared then whole", devices, sharding=True, stop_at=STOPPED)
        run("one then shared", devices)
        with every_word():
            run("shared then whole", devices, sharding=False)
            trained(folder / "whole then shared", devices, sharding=False, stop_at=STOPPED)
        run("whole then shared", devices)
    (folder / f"found-{devices.rank}.json").write_text(json.dumps(found), encoding="utf-8")
