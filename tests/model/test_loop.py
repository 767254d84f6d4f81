"""What runs in training and what epochs are judged by, device by device."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.model import loop
from assets.model.curves import Pace
from assets.model.devices import Devices
from assets.model.sharding import Shards
from assets.progress import Event, Progress
from assets.tasks.classification import pretrained
from assets.tasks.device import autocast
from tests.tiny import LABELS, make_base_model

ROWS = [[2, *range(5, 25), 3], [2, 7, 3]]
GPU = torch.device("cuda")


def test_on_a_gpu_float32_is_padded(tmp_path: Path) -> None:
    model = pretrained(make_base_model(tmp_path), LABELS).eval()
    pace, said = Pace(), list[Event]()
    reason = loop._why_padded(model, GPU, "float32")

    with loop._forward(model, 0, pace, Progress("model", said.append), reason) as forward:
        assert forward(ROWS).shape == (2, len(LABELS))

    assert pace.places == 2 * len(ROWS[0])
    assert [event["text"] for event in said] == [
        "batches are padded: attention without padding on a GPU takes no float32"
    ]
    assert loop._why_padded(model, GPU, "bf16") is None
    assert loop._why_padded(model, torch.device("cpu"), "float32") is None


def test_on_a_gpu_and_shared_out_epochs_are_judged_under_autocast(tmp_path: Path) -> None:
    model = pretrained(make_base_model(tmp_path), LABELS).eval()
    casting = partial(autocast, torch.device("cpu"), "bf16")

    with loop._forward(model, 0, Pace(), Progress("model"), None) as forward:
        on_gpu = loop._judging(forward, GPU, casting, sharded=False)
        on_cpu = loop._judging(forward, torch.device("cpu"), casting, sharded=False)
        shared = loop._judging(forward, torch.device("cpu"), casting, sharded=True)
        assert [each(ROWS).dtype for each in (on_gpu, on_cpu, shared)] == [
            torch.bfloat16,
            torch.float32,
            torch.bfloat16,
        ]


@pytest.mark.parametrize(
    ("wanted", "count", "large", "is_so"),
    [
        (None, 2, True, True),
        (None, 2, False, False),
        (None, 1, True, False),
        (True, 2, False, True),
        (True, 1, True, False),
        (False, 2, True, False),
    ],
)
def test_when_a_model_is_shared_out(
    monkeypatch: pytest.MonkeyPatch, wanted: bool | None, count: int, large: bool, is_so: bool
) -> None:
    part, model, devices = torch.nn.Linear(1, 1), torch.nn.Linear(2, 2), Devices(0, count)
    monkeypatch.setattr(loop, "too_large", lambda *_: large)
    monkeypatch.setattr(loop, "shard", lambda *_: Shards(0, count, part))

    trained, who = loop._placed(model, wanted, torch.device("cpu"), "float32", devices)

    assert (trained is part, isinstance(who, Shards)) == (is_so, is_so)
