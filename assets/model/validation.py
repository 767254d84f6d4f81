"""How good a model is on the validation side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assets.model.devices import ALONE, Devices
from assets.model.examples import Examples
from assets.model.memory import Parts
from assets.tasks import classification as task
from assets.tasks.unpadded import Forward

SUMMARY = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
"""The metrics that are one number."""

VALIDATION_TOKENS = 8192
"""Most tokens that are validated at once."""


def validate(
    model: Any, forward: Forward, examples: Examples, *, labels: Sequence[str], parts: Parts, devices: Devices = ALONE
) -> dict[str, float]:
    """Loss (nats) and the task's metrics, in float32 from the logits on; leaves the model in evaluation mode.

    Args:
        model: that is looked at.
        forward: runs it.
        examples: that it is asked about.
        labels: names of the classes.
        parts: runs them in parts that fit into memory.
        devices: each runs its share.
    """
    import torch

    model.eval()
    logits = torch.zeros(len(examples.tokens), model.config.num_labels)

    def answer(parts: list[list[int]], idle: int) -> None:
        for part in parts:
            logits[part] = forward([examples.tokens[at] for at in part]).float().cpu()
        for _ in range(idle):
            forward([examples.tokens[0]])

    mine = devices.share(range(len(examples.tokens)), examples.tokens.lengths)
    with torch.inference_mode():
        parts.run(mine, answer)
    # Each has the logits of its parts, and 0 for the others.
    devices.add([logits])
    predicted = [labels[at] for at in logits.argmax(dim=-1).tolist()]
    metrics = task.metrics(examples.labels, predicted, labels)
    return {"loss": float(task.loss(logits, examples.targets)), **{name: metrics[name] for name in SUMMARY}}
