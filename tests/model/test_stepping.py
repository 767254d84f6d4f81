"""Steps of the optimizer: what they ask of the device."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.model import stepping
from assets.model.curves import Pace
from assets.model.devices import ALONE
from assets.model.examples import Examples
from assets.model.mirror import Mirror
from assets.model.stepping import Training
from assets.progress import Progress
from assets.tasks.classification import pretrained
from assets.tasks.tokens import Tokens
from tests.model.pair import RECIPE
from tests.tiny import LABELS, make_base_model


def no_forward(_: Any) -> torch.Tensor:
    raise AssertionError("nothing is run")


def training_of(
    folder: Path, train: Examples, device: str = "cpu", *, padded: bool = False, **changed: Any
) -> Training:
    model = pretrained(make_base_model(folder), LABELS)
    return Training(
        Mirror(model, model),
        train,
        replace(RECIPE, **changed),
        forward=no_forward,
        touched=None,
        padded=padded,
        device=torch.device(device),
        casting=nullcontext,
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
