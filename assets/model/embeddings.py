"""Trains of the word embeddings only the rows that a batch has: half of a small model's weights are never touched.

The table of MiniLM has 30,522 rows, and a batch of 16 short texts some 300 different words. Gradient, norm, moments and
update of all others are work for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Touched:
    """The word embeddings of a model, trained by the rows that batches have.

    As `torch.optim.SparseAdam` has it, with decoupled weight decay: moments, decay and update of a row change only in
    steps that have it. The bias of the moments is corrected by the number of steps so far, of all rows.

    Attributes:
        weight: the whole table, shape [words, width].
        moments: first and second moment of each row, both of the table's shape.
        learning_rate: peak.
        weight_decay: decoupled.
    """

    def __init__(self, weight: torch.Tensor, *, learning_rate: float, weight_decay: float) -> None:
        import torch

        self.weight = weight
        self.moments = (torch.zeros_like(self.weight), torch.zeros_like(self.weight))
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self._looked_up: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._words = torch.empty(0, dtype=torch.int64)
        self._gradient = torch.empty(0)

    def look_up(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Rows of the words, shape [*input_ids.shape, width], with a gradient that `collect` finds."""
        import torch

        words, place = torch.unique(input_ids, return_inverse=True)
        rows = self.weight.detach()[words].requires_grad_()
        self._looked_up.append((words, rows))
        return torch.nn.functional.embedding(place, rows)

    def collect(self, joined: Callable[[torch.Tensor], torch.Tensor] = lambda words: words) -> list[torch.Tensor]:
        """Bring the gradients of all batches since the last step together; returned for the norm.

        Args:
            joined: from the words of these batches, distinct and ascending, to those and others that are to be updated.
        """
        import torch

        words = torch.cat([words for words, _ in self._looked_up])
        gradients = torch.cat([rows.grad for _, rows in self._looked_up if rows.grad is not None])
        assert len(words) == len(gradients), "every batch was followed by its backward pass"
        self._looked_up = []
        self._words = joined(torch.unique(words))
        place = torch.searchsorted(self._words, words)
        summed = gradients.new_zeros(len(self._words), gradients.shape[1])
        self._gradient = summed.index_add_(0, place, gradients)
        return [self._gradient]

    def forget(self) -> None:
        """Leave out the batches since the last step: they are run again."""
        self._looked_up = []

    def step(self, number: int, rate_share: float, divisor: float = 1.0) -> None:
        """Update the rows: AdamW with torch's own settings (0.9, 0.999, 1e-8).

        Args:
            number: of this step, counted from 1.
            rate_share: share of the peak learning rate.
            divisor: of the gradient.
        """
        rate = self.learning_rate * rate_share
        self._gradient /= divisor
        first, second = self.moments
        mean = first[self._words].lerp_(self._gradient, 0.1)
        square = second[self._words].mul_(0.999).addcmul_(self._gradient, self._gradient, value=0.001)
        first[self._words], second[self._words] = mean, square
        size = (square / (1 - 0.999**number)).sqrt_().add_(1e-8)
        rows = self.weight.detach()
        rows[self._words] = (
            rows[self._words].mul_(1 - rate * self.weight_decay).addcdiv_(mean, size, value=-rate / (1 - 0.9**number))
        )


@contextmanager
def touched_only(model: Any, stand_in: Any, *, learning_rate: float, weight_decay: float) -> Iterator[Touched]:
    """Let a model's word embeddings be trained so for a while; they are no parameters of the optimizer then.

    Args:
        model: the model.
        stand_in: what runs in training, whose other weights may be of another type; may be the model itself.
        learning_rate: peak.
        weight_decay: decoupled.
    """
    weight, embedding = model.get_input_embeddings().weight, stand_in.get_input_embeddings()
    touched, dtype = Touched(weight, learning_rate=learning_rate, weight_decay=weight_decay), embedding.weight.dtype
    weight.requires_grad_(False)
    embedding.forward = lambda input_ids: (
        touched.look_up(input_ids).to(dtype) if stand_in.training else type(embedding).forward(embedding, input_ids)
    )
    try:
        yield touched
    finally:
        del embedding.forward
        weight.requires_grad_(True)
