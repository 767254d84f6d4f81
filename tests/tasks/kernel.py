"""What `torch.nn.attention.varlen` would compute on a GPU, on a CPU: its kernel alone, so that all around it is tested.

Importing this module registers it, for the very operators that a GPU runs: what is traced, and how gradients are asked
for, is torch's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch  # noqa: TID253 - of tests of torch code
from torch.nn.attention import varlen  # noqa: TID253 - likewise


def _weights(
    query: torch.Tensor, key: torch.Tensor, offsets: torch.Tensor, scale: float, window: Sequence[int]
) -> torch.Tensor:
    """Shape [heads, tokens, tokens]."""
    at = torch.arange(len(query))
    text = torch.bucketize(at, offsets[1:], right=True)
    seen = text[:, None] == text
    if window[0] >= 0:
        seen &= (at[:, None] - at).abs() <= window[0]
    scores = torch.einsum("qhd,khd->hqk", query.float(), key.float()) * scale
    return scores.masked_fill(~seen, -torch.inf).softmax(-1)


@varlen._varlen_attn.register_kernel("cpu")
def _forward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    offsets: torch.Tensor,
    of_keys: torch.Tensor,
    longest: int,
    longest_of_keys: int,
    is_causal: bool,
    scale: float,
    window: Sequence[int],
    *_: Any,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    assert query.dtype == torch.bfloat16  # the flash kernel refuses float32
    assert offsets is of_keys or torch.equal(offsets, of_keys)
    assert offsets.dtype == torch.int32
    assert int(offsets[-1]) == len(query)
    assert longest_of_keys == longest >= int(offsets.diff().max())
    assert not is_causal
    attended = torch.einsum("hqk,khd->qhd", _weights(query, key, offsets, scale, window), value.float())
    return (
        attended.to(value.dtype).contiguous(),
        torch.zeros(query.shape[1], len(query)),
        torch.zeros(2, dtype=torch.uint64),
    )


@varlen._varlen_attn_backward.register_kernel("cpu")
def _backward(
    upstream: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attended: torch.Tensor,
    normaliser: torch.Tensor,
    offsets: torch.Tensor,
    of_keys: torch.Tensor,
    longest: int,
    longest_of_keys: int,
    is_causal: bool,
    random_state: torch.Tensor,
    scale: float,
    window: Sequence[int],
) -> tuple[torch.Tensor, ...]:
    weights = _weights(query, key, offsets, scale, window)
    of_weights = torch.einsum("qhd,khd->hqk", upstream.float(), value.float())
    of_scores = weights * (of_weights - (weights * of_weights).sum(-1, keepdim=True)) * scale
    found = (
        torch.einsum("hqk,khd->qhd", of_scores, key.float()),
        torch.einsum("hqk,qhd->khd", of_scores, query.float()),
        torch.einsum("hqk,qhd->khd", weights, upstream.float()),
    )
    return tuple(each.to(value.dtype).contiguous() for each in found)
