"""Attention over blocks of texts: what plain autograd computes, values and gradients."""

from __future__ import annotations

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.tasks.blocks import LANES, Block, attend_within
from assets.tasks.dropout import kept

HEADS, SIZE = 3, 8


def blocks_of(widths: list[list[int]]) -> list[Block]:
    """One block for each list of lengths; shorter texts of it are padded."""
    blocks, start = [], 0
    for lengths in widths:
        width = max(lengths)
        padding = torch.arange(width) >= torch.tensor(lengths)[:, None]
        mask = torch.zeros(len(lengths), width).masked_fill_(padding, -torch.inf)[:, None, None, :]
        blocks.append(Block(start, len(lengths), width, mask if min(lengths) < width else None))
        start += len(lengths) * width
    return blocks


def plainly(tensors: tuple[torch.Tensor, ...], blocks: list[Block], dropout: float, window: int | None) -> torch.Tensor:
    done = []
    for block in blocks:
        part = slice(block.start, block.end)
        query, key, value = (each[part].view(block.texts, block.width, HEADS, SIZE).transpose(1, 2) for each in tensors)
        scores = 0.3 * query @ key.transpose(-1, -2)
        if block.mask is not None:
            scores = scores + block.mask
        if window is not None:
            at = torch.arange(block.width)
            scores = scores.masked_fill((at[:, None] - at).abs() >= window, -torch.inf)
        weights = torch.softmax(scores, dim=-1)
        if dropout:
            weights = weights * kept(weights, dropout)
        done.append((weights @ value).transpose(1, 2).reshape(-1, HEADS, SIZE))
    done.append(tensors[0].new_zeros(len(tensors[0]) - blocks[-1].end, HEADS, SIZE))
    return torch.cat(done)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("widths", [[[1, 3], [5, 5]], [[LANES - 1, LANES - 1], [LANES, LANES - 3], [LANES + 5]]])
def test_values_and_gradients_are_those_of_plain_autograd(
    widths: list[list[int]], dropout: float, window: int | None
) -> None:
    torch.manual_seed(0)
    blocks = blocks_of(widths)
    # Behind the last block nobody is attended to.
    tokens = blocks[-1].end + 3
    ours = tuple(torch.randn(tokens, HEADS, SIZE, requires_grad=True) for _ in range(3))
    theirs = tuple(each.detach().clone().requires_grad_() for each in ours)
    upstream = torch.randn(tokens, HEADS, SIZE)

    torch.manual_seed(1)
    query, key, value = ours
    found = attend_within(query, key, value, blocks, scaling=0.3, dropout=dropout, window=window)
    torch.manual_seed(1)
    expected = plainly(theirs, blocks, dropout, window)
    torch.autograd.backward([found, expected], [upstream, upstream])

    torch.testing.assert_close(found, expected)
    for our, their in zip(ours, theirs, strict=True):
        assert our.grad is not None
        assert their.grad is not None
        assert not our.grad[-3:].any()
        torch.testing.assert_close(our.grad[:-3], their.grad[:-3])


def test_in_bfloat16_it_is_as_close_to_float32_as_its_operands_are() -> None:
    torch.manual_seed(0)
    blocks = blocks_of([[9, 12], [20, 20]])
    tensors = tuple(torch.randn(64, HEADS, SIZE) for _ in range(3))

    query, key, value = (each.bfloat16() for each in tensors)
    found = attend_within(query, key, value, blocks, scaling=0.3, dropout=0.0, window=None)

    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), plainly(tensors, blocks, 0.0, None), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("lengths", [[20, 27], [3, 13]])
def test_padding_beyond_the_window_spoils_nothing_in_the_next_layer(lengths: list[int]) -> None:
    torch.manual_seed(0)
    width, alone = max(lengths), [blocks_of([[length]]) for length in lengths]
    given = torch.randn(2 * width, HEADS, SIZE, requires_grad=True)
    texts = [given[at * width : at * width + length] for at, length in enumerate(lengths)]

    def two_layers(values: torch.Tensor, blocks: list[Block]) -> torch.Tensor:
        for _ in range(2):
            values = attend_within(values, values, values, blocks, scaling=0.3, dropout=0.0, window=5)
        return values

    found = two_layers(given, blocks_of([lengths]))
    real = [found[at * width : at * width + length] for at, length in enumerate(lengths)]
    torch.cat(real).square().sum().backward()  # type: ignore[no-untyped-call]
    assert given.grad is not None
    gradient = given.grad.clone()
    given.grad = None
    expected = [two_layers(text, blocks) for text, blocks in zip(texts, alone, strict=True)]
    torch.cat(expected).square().sum().backward()  # type: ignore[no-untyped-call]

    torch.testing.assert_close(torch.cat(real), torch.cat(expected))
    torch.testing.assert_close(gradient, given.grad)
