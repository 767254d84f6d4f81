"""Weights in float32 and the copies of them that training runs on, in bfloat16 on a CPU.

Autocast converts every weight, and every value that passes from one kind of operation to the next, in each pass: on a
CPU a third of a training step. A whole copy of the model in bfloat16 is converted once after each step instead, and all
between is in bfloat16 as it is. What the optimizer keeps and changes stays in float32, and so does what is saved.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Mirror:
    """A model and what stands for it while it is trained.

    Attributes:
        model: with the weights that the optimizer changes, in float32.
        stand_in: runs forwards and backwards; may be the model itself.
    """

    model: Any
    stand_in: Any

    @classmethod
    def in_bf16(cls, model: Any) -> Mirror:
        """Make a copy of a model in bfloat16, with the same buffers."""
        import torch

        stand_in = copy.deepcopy(model)
        for parameter in stand_in.parameters():
            parameter.data = parameter.detach().to(torch.bfloat16)
        return cls(model, stand_in)

    @cached_property
    def weights(self) -> list[Any]:
        """Of the model. To find them takes as long as many an operation, and they are needed several times a step."""
        return list(self.model.parameters())

    @cached_property
    def running(self) -> list[Any]:
        """What stands for each of the weights when it runs."""
        return list(self.stand_in.parameters())

    def clear(self) -> None:
        """Forget the gradients of what runs."""
        for other in self.running:
            other.grad = None

    def gather(self, *, first: bool) -> None:
        """Bring the gradients of a part of a batch to the weights, in float32, and forget them in the copy.

        Many parts added up in bfloat16 would lose those to come: it tells no 257 from 256.

        Args:
            first: this is the batch's first part: what the weights have is of another batch.
        """
        import torch

        if self.stand_in is self.model:
            return
        pairs = list(zip(self.weights, self.running, strict=True))
        for weight, other in pairs:
            if other.grad is None and first:
                weight.grad = None
            elif other.grad is not None and weight.grad is None:
                # Kept from step to step: fresh memory costs more than what is written into it.
                weight.grad = torch.zeros_like(weight)
        bring = torch._foreach_copy_ if first else torch._foreach_add_
        there = [(weight.grad, other.grad) for weight, other in pairs if other.grad is not None]
        bring([ours for ours, _ in there], [theirs for _, theirs in there])
        self.clear()

    def gradients(self) -> list[torch.Tensor]:
        """Gradients of the weights that have any, in float32, where the optimizer finds them."""
        return [weight.grad for weight in self.weights if weight.grad is not None]

    def refresh(self) -> None:
        """Bring the copy in line with the weights."""
        import torch

        if self.stand_in is not self.model:
            parameters = zip(self.weights, self.running, strict=True)
            pairs = [(weight.detach(), other.detach()) for weight, other in parameters if weight.requires_grad]
            torch._foreach_copy_([other for _, other in pairs], [weight for weight, _ in pairs])
