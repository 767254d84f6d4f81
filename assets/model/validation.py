"""How good a model is on the validation side, and which of two epochs is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assets.model.devices import ALONE, Devices
from assets.model.examples import Examples, micro_batches
from assets.tasks import classification as task
from assets.tasks.unpadded import Forward

SUMMARY = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
"""The metrics that are one number."""

VALIDATION_TOKENS = 8192
"""Most tokens that are validated at once."""


def better(found: Mapping[str, float], best: Mapping[str, float], select_by: str) -> bool:
    """Whether an epoch beats the best one so far: by a lower loss, or by a higher value of any other metric."""
    sign = -1 if select_by == "loss" else 1
    return sign * found[select_by] > sign * best[select_by]


def validate(
    model: Any, forward: Forward, examples: Examples, *, labels: Sequence[str], devices: Devices = ALONE
) -> dict[str, float]:
    """Loss (nats) and the task's metrics, in float32; leaves the model in evaluation mode."""
    import torch

    model.eval()
    logits = torch.zeros(len(examples.tokens), model.config.num_labels)
    parts = micro_batches(list(range(len(examples.tokens))), examples.tokens, VALIDATION_TOKENS // devices.count)
    with torch.inference_mode():
        for part in parts[devices.rank :: devices.count]:
            logits[part] = forward([examples.tokens[at] for at in part]).float().cpu()
    # Each has the logits of its parts, and 0 for the others.
    devices.add([logits])
    predicted = [labels[at] for at in logits.argmax(dim=-1).tolist()]
    metrics = task.metrics(examples.labels, predicted, labels)
    return {"loss": float(task.loss(logits, examples.targets)), **{name: metrics[name] for name in SUMMARY}}
