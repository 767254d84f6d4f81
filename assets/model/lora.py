"""Low-rank adaptation (Hu et al. 2022): the body's weights rest, a small product beside each is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assets.tasks.loading import is_head

if TYPE_CHECKING:
    from peft import LoraModel

STRENGTH = 2
"""What updates are scaled by, whatever their rank: `lora_alpha / r` of peft."""


def adapt(model: Any, rank: int) -> LoraModel:
    """Put updates of low rank beside every matrix of the body; only they and the head are trained from here on.

    The names of all other weights stay as they are. `merge_and_unload()` of what is returned adds the updates to the
    matrices and leaves the model with the modules that it had.

    Args:
        model: a `PreTrainedModel` with a head; changed in place. The updates begin at zero, their first factors are
            drawn from torch's global generator.
        rank: of each update.
    """
    import torch
    from peft import LoraConfig, LoraModel

    matrices = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not is_head(model, f"{name}.weight")
    ]
    found = LoraModel(model, LoraConfig(r=rank, lora_alpha=STRENGTH * rank, target_modules=matrices), "default")
    for name, weight in model.named_parameters():
        if is_head(model, name):
            weight.requires_grad_(True)
    return found
