"""Rows ready for the model, and batches of them in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.tasks.inputs import TokenIds

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
    tokens: Sequence[TokenIds]
    targets: torch.Tensor


def micro_batches(batch: list[int], tokens: Sequence[TokenIds], most: float) -> list[list[int]]:
    """Cut a batch into parts of at most `most` tokens, one row at least, texts of like length together."""
    if sum(len(tokens[at]) for at in batch) <= most:
        return [batch]
    parts: list[list[int]] = []
    held = 0
    for at in sorted(batch, key=lambda at: len(tokens[at])):
        if not parts or held + len(tokens[at]) > most:
            parts.append([])
            held = 0
        parts[-1].append(at)
        held += len(tokens[at])
    return parts
