"""Runs encoders over texts laid end to end: linear layers see next to no padding, attention stays within each text.

The texts of a batch are sorted by length and cut into blocks of texts of like length, each padded to its longest. All
blocks lie behind one another in one row of tokens, `[1, tokens]`, through which embeddings, linear layers and norms run
at once; attention takes each block as a view, `[texts, heads, width, width]`, so that nothing is gathered or scattered.
Where blocks begin is chosen so that the work, that for padding and that for starting another block, is least. On a GPU
there is no padding at all: `torch.nn.attention.varlen` finds the texts by their offsets.

transformers' own padding-free path needs flash attention and does not know classification heads: they take the first
token of each row of the batch, which would be one logit for all texts. So the hidden states of first tokens are taken
out by their offsets where the pretrained body ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from assets.tasks.device import onto
from assets.tasks.inputs import TokenIds

if TYPE_CHECKING:
    import torch

    from assets.tasks.blocks import Block

Forward = Callable[[Sequence[TokenIds]], "torch.Tensor"]
"""From the tokens of each text to its logits, shape [texts, outputs], in the order of the texts."""

NAME = "freshtune_unpadded"
"""What the attention is registered as at transformers."""
FIRST_POSITION = {
    "bert": False,
    "electra": False,
    "distilbert": False,
    "modernbert": False,
    "roberta": True,
    "xlm-roberta": True,
    "camembert": True,
}
"""Architectures that run unpadded → whether positions begin behind the number of the padding token, not at 0."""
HANDED_ON = ("firsts", "blocks", "offsets", "longest")
"""What of a layout is handed on to attention and to the end of the body."""
BLOCK_COST = 24.0
"""What a further block costs, in tokens through the linear layers: its small operations, measured on MiniLM."""
ATTENTION_COST = 0.004
"""What attention costs for each token and each that it looks at, in tokens through the linear layers; measured."""


@dataclass(frozen=True)
class Layout:
    """Texts in one row of tokens.

    Attributes:
        input_ids: shape [1, tokens].
        position_ids: shape [1, tokens].
        firsts: where the first token of each text is, in the order in which they were given, shape [texts].
        blocks: on a CPU.
        offsets: on a GPU: where each text begins and the last ends, int32 of shape [texts + 1].
        longest: tokens of the longest text.
        real: tokens that are not padding.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    firsts: torch.Tensor
    blocks: tuple[Block, ...]
    offsets: torch.Tensor | None
    longest: int
    real: int

    def inputs(self) -> dict[str, Any]:
        """What a model is called with: transformers hands on to its attention what it does not know itself."""
        return {name: getattr(self, name) for name in ("input_ids", "position_ids", *HANDED_ON)}


def cut(lengths: Sequence[int]) -> list[int]:
    """Cut texts into blocks so that the work is least.

    Args:
        lengths: tokens of each text, ascending.

    Returns:
        Where blocks end, ascending; the last is `len(lengths)`.
    """
    least, begin = [0.0], [0]
    for end in range(1, len(lengths) + 1):
        width = lengths[end - 1]
        each = width * (1 + ATTENTION_COST * width)
        costs = [least[start] + (end - start) * each + BLOCK_COST for start in range(end)]
        best = min(range(end), key=costs.__getitem__)
        least.append(costs[best])
        begin.append(best)
    ends, end = [], len(lengths)
    while end:
        ends.append(end)
        end = begin[end]
    return ends[::-1]


def rounded(tokens: int) -> int:
    """Next of a few numbers of tokens: eight to each doubling, at most an eighth more.

    oneDNN compiles each of its products for the very shapes, which costs several times what running it does: in batches
    of ever new lengths a sixth of a training step (measured).
    """
    step = 1 << max(4, tokens.bit_length() - 4)
    return -(-tokens // step) * step


def lay_out(
    rows: Sequence[TokenIds],
    *,
    pad_token_id: int,
    first_position: int,
    device: torch.device,
    by_offsets: bool = False,
    round_up: bool = False,
) -> Layout:
    """Lay texts end to end.

    Args:
        rows: token numbers of each text, at least one each.
        pad_token_id: fills texts up within a block.
        first_position: position of a text's first token.
        device: where the tensors go.
        by_offsets: say where texts begin, as attention on a GPU wants it, and do not cut them into blocks.
        round_up: fill the row up behind the last text: see `rounded`.
    """
    import torch

    from assets.tasks.blocks import Block

    order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
    lengths = [len(rows[at]) for at in order]
    ends = list(range(1, len(rows) + 1)) if by_offsets else cut(lengths)
    ids: list[int] = []
    positions: list[int] = []
    firsts = [0] * len(rows)
    blocks = []
    begin = 0
    for end in ends:
        width, start = lengths[end - 1], len(ids)
        for at in order[begin:end]:
            firsts[at] = len(ids)
            ids += rows[at] + [pad_token_id] * (width - len(rows[at]))
            positions += range(first_position, first_position + width)
        if not by_offsets:
            blocks.append(Block(start, end - begin, width, _mask(lengths[begin:end], width)))
        begin = end
    if round_up:
        surplus = rounded(len(ids)) - len(ids)
        ids += [pad_token_id] * surplus
        positions += [first_position] * surplus
    offsets = torch.tensor([*accumulate(lengths, initial=0)], dtype=torch.int32) if by_offsets else None
    return Layout(
        onto(device, torch.tensor([ids])),
        onto(device, torch.tensor([positions])),
        onto(device, torch.tensor(firsts)),
        tuple(blocks),
        None if offsets is None else onto(device, offsets),
        lengths[-1],
        sum(lengths),
    )


def _mask(lengths: Sequence[int], width: int) -> torch.Tensor | None:
    import torch

    if lengths[0] == width:
        return None
    padding = torch.arange(width) >= torch.tensor(lengths)[:, None]
    return torch.zeros(len(lengths), width).masked_fill_(padding, -torch.inf)[:, None, None, :]


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    blocks: Sequence[Block],
    offsets: torch.Tensor | None,
    longest: int,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each text of a layout, as transformers asks for it.

    Args:
        module: the attention layer.
        query: shape [1, heads, tokens, size of a head]; so are key and value.
        key: see query.
        value: see query.
        attention_mask: none is made.
        scaling: of the products.
        blocks: of the layout; so are offsets and longest.
        offsets: see blocks.
        longest: see blocks.
        dropout: share of the attention weights that is dropped; on a GPU the kernel has none, and none is dropped.
        sliding_window: most distance of two tokens that see each other, plus 1, or None for any.

    Returns:
        Shape [1, tokens, heads, size of a head], and no weights.
    """
    assert attention_mask is None, "texts that are laid end to end have no mask of their own"
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    if offsets is not None:
        import torch
        from torch.nn.attention.varlen import varlen_attn

        window = (-1, -1) if sliding_window is None else (sliding_window - 1, sliding_window - 1)
        # All that the kernel takes: rotary positions and what is no matrix product may leave float32 under autocast.
        wanted = value.dtype
        query, key, value = (tensor.to(torch.bfloat16) for tensor in (query, key, value))
        attended = varlen_attn(query, key, value, offsets, offsets, longest, longest, scale=scaling, window_size=window)
        assert isinstance(attended, torch.Tensor)
        return attended.to(wanted)[None], None
    from assets.tasks.blocks import attend_within

    dropout = dropout if module.training else 0.0
    attended = attend_within(query, key, value, blocks, scaling=scaling, dropout=dropout, window=sliding_window)
    return attended[None], None


def why_padded(model: Any) -> str | None:
    """Why a model cannot run unpadded, in words, or None if it can."""
    kind = model.config.model_type
    if kind not in FIRST_POSITION:
        return f"{kind} is not among the architectures that run without padding: {', '.join(FIRST_POSITION)}"
    if getattr(model.config, "classifier_pooling", "cls") != "cls":
        return f"the head of this {kind} takes the mean of all tokens, not the first one"
    if getattr(model.config, "is_decoder", False):
        return f"this {kind} is a decoder, whose tokens see only those before them"
    if getattr(model.config, "position_embedding_type", "absolute") != "absolute":
        return f"this {kind} has relative positions"
    return None


@contextmanager
def unpadded(model: Any, pad_token_id: int, observe: Callable[[Layout], None] | None = None) -> Iterator[Forward]:
    """Let a model of one of the architectures that can run over texts laid end to end, for a while.

    Args:
        model: a `PreTrainedModel` with a classification head, for which `why_padded` has no reason.
        pad_token_id: fills texts up within a block.
        observe: told of each layout.
    """
    import torch
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
    assert why_padded(model) is None
    first_position = pad_token_id + 1 if FIRST_POSITION[model.config.model_type] else 0
    before = model.config._attn_implementation
    hook = body_of(model).register_forward_hook(_take_firsts, with_kwargs=True)
    model.set_attn_implementation(NAME)

    # Only products in bfloat16 are oneDNN's.
    round_up = model.device.type == "cpu" and model.dtype == torch.bfloat16

    def forward(rows: Sequence[TokenIds]) -> torch.Tensor:
        layout = lay_out(
            rows,
            pad_token_id=pad_token_id,
            first_position=first_position,
            device=model.device,
            by_offsets=model.device.type == "cuda",
            round_up=round_up,
        )
        if observe is not None:
            observe(layout)
        logits: torch.Tensor = model(**layout.inputs()).logits
        return logits

    try:
        yield forward
    finally:
        hook.remove()
        model.set_attn_implementation(before)


def body_of(model: Any) -> Any:
    """The module whose result is the hidden states that the pooler or the head reads."""
    body = model.base_model
    # A pooler inside the body takes the first token of each row: it must get what is taken out already.
    return body.encoder if getattr(body, "pooler", None) is not None else body


def _take_firsts(_module: Any, _given: Any, named: Mapping[str, Any], output: Any) -> Any:
    """Leave of the hidden states, shape [1, tokens, width], those of first tokens, shape [texts, 1, width]."""
    output.last_hidden_state = output.last_hidden_state[0][named["firsts"]].unsqueeze(1)
    return output
