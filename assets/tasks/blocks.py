"""Attention on a CPU over blocks of texts of like length, forwards and backwards in as few passes as there can be.

A block is small: 16 texts of 26 tokens and 12 heads are 192 products of 26 by 32. Their arithmetic takes 0.1 ms, and
what autograd does around it – slices filled up with zeros, operands copied for each product, softmax of a few numbers –
many times as long. Here each operand of a block is copied once, the softmax is in float32, and gradients are written
where they belong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch  # noqa: TID253 - only functions that run a model import this module

from assets.tasks.dropout import kept

LANES = 16
"""Numbers in a vector register. torch's softmax over fewer goes element by element, five times slower (measured)."""


@dataclass(frozen=True)
class Block:
    """Texts of like length that attention takes together.

    Attributes:
        start: where it begins in the row of tokens.
        texts: how many it has.
        width: tokens of each, padding included.
        mask: 0 for tokens and minus infinity for padding, shape [texts, 1, 1, width]; None without padding.
    """

    start: int
    texts: int
    width: int
    mask: torch.Tensor | None

    @property
    def end(self) -> int:
        """Where it ends in the row of tokens."""
        return self.start + self.texts * self.width

    def take(self, tensor: torch.Tensor) -> torch.Tensor:
        """Of a tensor of shape [tokens, heads, size] this block's part, copied: [texts · heads, width, size]."""
        _, heads, size = tensor.shape
        return self._view(tensor).transpose(1, 2).reshape(self.texts * heads, self.width, size)

    def put(self, tensor: torch.Tensor, values: torch.Tensor) -> None:
        """Write into a tensor of shape [tokens, heads, size] what `take` would give back."""
        _, heads, size = tensor.shape
        self._view(tensor).copy_(values.view(self.texts, heads, self.width, size).transpose(1, 2))

    def _view(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor[self.start : self.end].view(self.texts, self.width, *tensor.shape[1:])


def attend_within(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    blocks: Sequence[Block],
    *,
    scaling: float,
    dropout: float,
    window: int | None,
) -> torch.Tensor:
    """Attention within each text of each block.

    Args:
        query: shape [tokens, heads, size of a head]; so are key and value.
        key: see query.
        value: see query.
        blocks: in the order of their tokens, from the first on; nothing attends to what is behind the last.
        scaling: of the products.
        dropout: share of the attention weights that is dropped.
        window: most distance of two tokens that see each other, plus 1, or None for any.

    Returns:
        Of the same shape; 0 behind the last block.
    """
    result: torch.Tensor = _Attention.apply(query, key, value, blocks, scaling, dropout, window)  # type: ignore[no-untyped-call]
    return result


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        blocks: Sequence[Block],
        scaling: float,
        dropout: float,
        window: int | None,
    ) -> torch.Tensor:
        result = torch.empty(value.shape, dtype=value.dtype)
        saved = []
        for block in blocks:
            queries, keys, values = block.take(query), block.take(key), block.take(value)
            weights = _weights(queries, keys, block, scaling, window)
            used, keep = weights.to(value.dtype), None
            if dropout:
                keep = kept(used, dropout)
                used = used * keep
            block.put(result, torch.bmm(used, values))
            saved += [queries, keys, values, weights, used, keep]
        result[blocks[-1].end :] = 0
        ctx.save_for_backward(*saved)
        ctx.blocks, ctx.scaling = blocks, scaling
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        found = tuple(torch.empty(gradient.shape, dtype=gradient.dtype) for _ in range(3))
        saved = iter(ctx.saved_tensors)
        for block in ctx.blocks:
            queries, keys, values, weights, used, keep = (next(saved) for _ in range(6))
            upstream = block.take(gradient)
            of_weights = torch.bmm(upstream, values.transpose(1, 2))
            if keep is not None:
                of_weights *= keep
            # Of the softmax: weights · (gradient - sum of weights · gradient).
            of_scores = of_weights.float().mul_(weights)
            of_scores = of_scores.addcmul_(weights, of_scores.sum(-1, keepdim=True), value=-1)
            of_products = of_scores.mul_(ctx.scaling).to(gradient.dtype)
            block.put(found[0], torch.bmm(of_products, keys))
            block.put(found[1], torch.bmm(of_products.transpose(1, 2), queries))
            block.put(found[2], torch.bmm(used.transpose(1, 2), upstream))
        for each in found:
            each[ctx.blocks[-1].end :] = 0
        return (*found, None, None, None, None)


def _weights(
    queries: torch.Tensor, keys: torch.Tensor, block: Block, scaling: float, window: int | None
) -> torch.Tensor:
    """Weights of the attention of a block, in float32; shape [texts · heads, width, width]."""
    scores = torch.bmm(queries, keys.transpose(1, 2)).float().mul_(scaling)
    if block.mask is not None:
        scores.view(block.texts, -1, block.width, block.width).add_(block.mask)
    if window is not None and block.width > window:
        at = torch.arange(block.width)
        scores.masked_fill_((at[:, None] - at).abs() >= window, -torch.inf)
        # Padding that is further than the window from all tokens sees itself: of nothing at all comes NaN, which the
        # next layer spreads. Beside a finite score the least number has a weight of 0, as minus infinity has.
        scores.diagonal(dim1=1, dim2=2).clamp_(min=torch.finfo(scores.dtype).min)
    if block.width >= LANES:
        return torch.softmax(scores, dim=-1)
    scores.sub_(scores.amax(-1, keepdim=True)).exp_()
    return scores.div_(scores.sum(-1, keepdim=True))
