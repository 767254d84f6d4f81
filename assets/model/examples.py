"""Rows ready for the model, and batches of them in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.tasks.tokens import Tokens

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Examples:
    """One side of the splits, ready for the model.

    Attributes:
        row_ids: identifier of each row.
        labels: label of each row.
        tokens: token numbers of each row.
        targets: what the loss compares with, shape [rows].
    """

    row_ids: Sequence[str]
    labels: Sequence[str]
    tokens: Tokens
    targets: torch.Tensor


def micro_batches(batch: list[int], lengths: Sequence[int], most: float) -> list[list[int]]:
    """Cut a batch into parts of at most `most` tokens, one row at least, texts of like length together."""
    if sum(lengths[at] for at in batch) <= most:
        return [batch]
    parts: list[list[int]] = []
    held = 0
    for at in sorted(batch, key=lengths.__getitem__):
        if not parts or held + lengths[at] > most:
            parts.append([])
            held = 0
        parts[-1].append(at)
        held += lengths[at]
    return parts
