"""One side of the splits, and tokens as padded batches of like length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from assets.splits.rows import read_side as read_rows
from assets.tasks.device import Precision, autocast
from assets.tasks.tokens import Tokens

if TYPE_CHECKING:
    import torch

TokenIds = list[int]

TOKENS = MappingProxyType({"cpu": 1024, "cuda": 32768})
"""Tokens in a batch of inference by kind of device, padding included: the work of a batch is alike for short and long
rows. A core is busy with few, and slower with more than its cache holds (measured on MiniLM); a GPU wants many."""


@dataclass(frozen=True)
class Side:
    """Rows of one side of the splits, in the order of their identifiers.

    Attributes:
        row_ids: identifier of each row.
        texts: text of each row.
        labels: label of each row, by name.
    """

    row_ids: list[str]
    texts: list[str]
    labels: list[str]


def read_side(splits: Path, side: str) -> Side:
    """Read `train`, `validation` or `test` from the content of the step `splits`."""
    table = read_rows(splits, side)
    return Side(*(table[name].to_pylist() for name in ("row_id", "text", "label")))


def collate(rows: Sequence[TokenIds], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Pad rows at their end to the longest of them.

    Returns:
        `input_ids` and `attention_mask` (1 for tokens, 0 for padding), int64 of shape [len(rows), longest row].
    """
    import torch

    width = max(map(len, rows))
    return {
        "input_ids": torch.tensor([row + [pad_token_id] * (width - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
    }


def shuffled_batches(
    lengths: Sequence[int], batch_size: int, generator: torch.Generator, *, window: int
) -> list[list[int]]:
    """Row positions of one epoch's batches, in random order.

    A random permutation is cut into windows, each window is sorted by length and cut into batches, and the batches of
    all windows are shuffled.

    Args:
        lengths: tokens of each row.
        batch_size: rows in a batch.
        generator: of the order.
        window: batches in a window; with 1 rows are wholly at random.
    """
    import torch

    order = torch.randperm(len(lengths), generator=generator).tolist()
    batches = []
    for start in range(0, len(order), window * batch_size):
        rows = sorted(order[start : start + window * batch_size], key=lengths.__getitem__)
        batches += [rows[at : at + batch_size] for at in range(0, len(rows), batch_size)]
    return [batches[at] for at in torch.randperm(len(batches), generator=generator).tolist()]


def budgeted_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Row positions in batches of like length, longest first, each of at most `budget` tokens with its padding.

    Rows of equal length keep their order. A row that is longer than the budget is a batch of its own.
    """
    batches: list[list[int]] = []
    width = 0
    for at in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        # The first row of a batch is its longest: all others are padded to it.
        if not batches or (len(batches[-1]) + 1) * width > budget:
            batches.append([])
            width = lengths[at]
        batches[-1].append(at)
    return batches


def infer(
    model: Any,
    rows: Tokens,
    *,
    pad_token_id: int,
    budget: int | None = None,
    precision: Precision = "float32",
    advance: Callable[[int], object] = lambda amount: None,
) -> torch.Tensor:
    """Logits of every row in float32 on the CPU, in the order of `rows`; shape [len(rows), outputs].

    Rows run in batches of like length, the longest first, so that memory that does not suffice fails at once. Leaves
    the model in evaluation mode.

    Args:
        model: a `PreTrainedModel` whose output has `logits`.
        rows: token numbers of each row.
        pad_token_id: fills rows up.
        budget: tokens at once, padding included; None: `TOKENS`.
        precision: of matrix products. In bf16 the batch that a row is in may show in the third digit of its scores.
        advance: called with the number of rows done after each batch.
    """
    import torch

    model.eval()
    device = model.device
    # Fetched once at the end: a GPU would wait for the CPU after each batch.
    result = torch.empty(len(rows), model.config.num_labels, device=device)
    with torch.inference_mode(), autocast(device, precision):
        for batch in budgeted_batches(rows.lengths, budget or TOKENS[device.type]):
            inputs = collate([rows[at] for at in batch], pad_token_id)
            logits = model(**{name: tensor.to(device) for name, tensor in inputs.items()}).logits
            result[torch.tensor(batch, device=device)] = logits.float()
            advance(len(batch))
    return result.cpu()
