"""Steps of the optimizer: what they ask of the device."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.model.devices import ALONE
from assets.model.examples import Examples
from assets.model.mirror import Mirror
from assets.model.stepping import Training
from assets.progress import Progress
from assets.tasks.classification import pretrained
from tests.model.pair import RECIPE
from tests.tiny import LABELS, make_base_model


def no_forward(_: Any) -> torch.Tensor:
    raise AssertionError("nothing is run")


def test_what_a_batch_weighs_is_not_asked_of_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # On the device "meta" there are no values to read: whoever would wait for them fails.
    model = pretrained(make_base_model(tmp_path), LABELS)
    train = Examples("abcd", [LABELS[0]] * 3 + [LABELS[1]], [[2, 3]] * 4, torch.tensor([0, 0, 0, 1]))
    monkeypatch.setattr(Training, "_gradients_of", lambda _, weight, parts: (weight, parts))
    training = Training(
        Mirror(model, model),
        train,
        replace(RECIPE, class_weights="balanced"),
        forward=no_forward,
        touched=None,
        device=torch.device("meta"),
        casting=nullcontext,
        devices=ALONE,
        progress=Progress("model"),
    )

    weight, parts = training._gradients([0, 3])

    assert weight == pytest.approx(4 / (2 * 3) + 4 / (2 * 1))
    assert parts == [[0, 3]]
