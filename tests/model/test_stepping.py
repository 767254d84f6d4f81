"""Steps of the optimizer: what they ask of the device."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.model import stepping
from assets.model.compiled import compiled
from assets.model.curves import Pace
from assets.model.devices import ALONE
from assets.model.examples import Examples
from assets.model.mirror import Mirror
from assets.model.stepping import Training
from assets.progress import Progress
from assets.tasks.classification import pretrained
from assets.tasks.device import Precision, autocast, choose_device
from assets.tasks.tokens import Tokens
from assets.tasks.unpadded import unpadded
from tests.model.pair import RECIPE
from tests.tiny import LABELS, make_base_model


def no_forward(_: Any) -> torch.Tensor:
    raise AssertionError("nothing is run")


def training_of(
    folder: Path,
    train: Examples,
    device: str = "cpu",
    *,
    precision: Precision = "float32",
    padded: bool = False,
    **changed: Any,
) -> Training:
    model, where = pretrained(make_base_model(folder), LABELS), torch.device(device)
    return Training(
        Mirror(model, model),
        train,
        replace(RECIPE, **changed),
        forward=no_forward,
        touched=None,
        padded=padded,
        device=where,
        casting=partial(autocast, where, precision),
        devices=ALONE,
        progress=Progress("model"),
        pace=Pace(),
    )


def test_what_a_batch_weighs_is_not_asked_of_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # On the device "meta" there are no values to read: whoever would wait for them fails.
    tokens = Tokens.of([[2, 3]] * 4)
    train = Examples("abcd", [LABELS[0]] * 3 + [LABELS[1]], tokens, torch.tensor([0, 0, 0, 1]))
    monkeypatch.setattr(Training, "_gradients_of", lambda _, parts: parts)
    training = training_of(tmp_path, train, "meta", class_weights="balanced")

    [(part, weight)] = training._gradients([0, 3])

    assert weight == pytest.approx(4 / (2 * 3) + 4 / (2 * 1))
    assert part == [0, 3]


@pytest.mark.parametrize(("padded", "largest"), [(False, 30 + 4 + 2), (True, 3 * 30)])
def test_padding_takes_memory_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, padded: bool, largest: int) -> None:
    tokens = Tokens.of([[2] * 2, [2] * 30, [2] * 1, [2] * 4])
    train = Examples("abcd", [LABELS[0]] * 4, tokens, torch.zeros(4, dtype=torch.int64))
    monkeypatch.setattr(stepping, "kept", lambda *_: (10.0, 1.0))

    found = training_of(tmp_path, train, padded=padded, batch_size=3).settle(None)

    assert found.needed == 10 * largest


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("compiling", [False, True])
def test_no_step_waits_for_the_gpu(tmp_path: Path, compiling: bool) -> None:
    tokens = Tokens.of([[2] * length for length in (5, 9, 3, 7)] * 16)
    train = Examples([f"{at}" for at in range(64)], [*LABELS] * 32, tokens, torch.tensor([0, 1] * 32))
    training = training_of(tmp_path, train, choose_device().type, precision="bf16", batch_size=8)
    model = training.model.to(training.device).train()
    with unpadded(model, 0) as training.forward, compiled(model) if compiling else nullcontext():
        # What the first steps reserve and choose is not the steady state.
        first, second, *others = training.epoch()
        training.update(first)
        training.update(second)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for batch in others:
                training.update(batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert training.curve.step == 8
