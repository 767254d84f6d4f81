"""Texts laid end to end: the same logits and gradients as with padding, and as little work as can be."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch  # noqa: TID253 - this module tests torch code
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.tasks.inputs import collate
from assets.tasks.unpadded import (
    ATTENTION_COST,
    BLOCK_COST,
    FIRST_POSITION,
    Layout,
    attend,
    cut,
    lay_out,
    rounded,
    unpadded,
    why_padded,
)

WORDS = 100
SIZES = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
    "num_labels": 3,
}


def bert(**more: Any) -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(BertConfig(**SIZES, **more))


def electra() -> Any:
    from transformers import ElectraConfig, ElectraForSequenceClassification

    return ElectraForSequenceClassification(ElectraConfig(**SIZES, embedding_size=32))


def roberta() -> Any:
    from transformers import RobertaConfig, RobertaForSequenceClassification

    return RobertaForSequenceClassification(RobertaConfig(**SIZES, pad_token_id=1))


def xlm_roberta() -> Any:
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    return XLMRobertaForSequenceClassification(XLMRobertaConfig(**SIZES, pad_token_id=1))


def camembert() -> Any:
    from transformers import CamembertConfig, CamembertForSequenceClassification

    return CamembertForSequenceClassification(CamembertConfig(**SIZES, pad_token_id=1))


def distilbert() -> Any:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    sizes = {"dim": 32, "n_layers": SIZES["num_hidden_layers"], "n_heads": 4, "hidden_dim": 64}
    return DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=WORDS, max_position_embeddings=80, num_labels=3, **sizes)
    )


def modernbert(pooling: str = "cls") -> Any:
    from transformers import ModernBertConfig, ModernBertForSequenceClassification

    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    return ModernBertForSequenceClassification(
        # A window that most texts are longer than.
        ModernBertConfig(**SIZES, **special, local_attention=16, classifier_pooling=pooling)
    )


MODELS: dict[str, Callable[[], Any]] = {
    "bert": bert,
    "electra": electra,
    "roberta": roberta,
    "xlm-roberta": xlm_roberta,
    "camembert": camembert,
    "distilbert": distilbert,
    "modernbert": modernbert,
}


def some_rows(count: int, seed: int) -> list[list[int]]:
    generator = random.Random(seed)  # noqa: S311 - toy data
    return [[generator.randrange(3, WORDS) for _ in range(generator.randrange(2, 60))] for _ in range(count)]


def gradients(model: Any, logits: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 3).backward()  # type: ignore[no-untyped-call]
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_every_architecture_that_runs_unpadded_is_tested() -> None:
    assert MODELS.keys() == FIRST_POSITION.keys()


@pytest.mark.parametrize("round_up", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients_are_those_of_the_padded_model(
    name: str, round_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "assets.tasks.unpadded.lay_out", lambda *rows, **how: lay_out(*rows, **{**how, "round_up": round_up})
    )
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    rows, pad = some_rows(9, seed=1), model.config.pad_token_id
    assert why_padded(model) is None
    expected = model(**collate(rows, pad)).logits
    of_padded = gradients(model, expected)

    with unpadded(model, pad) as forward:
        logits = forward(rows)
        of_unpadded = gradients(model, logits)

    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert of_unpadded.keys() == of_padded.keys()
    for parameter, gradient in of_padded.items():
        torch.testing.assert_close(of_unpadded[parameter], gradient, rtol=1e-3, atol=1e-5, msg=parameter)
    torch.testing.assert_close(model(**collate(rows, pad)).logits, expected)  # and it is as it was


def test_the_others_say_why_they_are_padded() -> None:
    from transformers import DebertaV2Config

    assert why_padded(bert()) is None
    assert "mean of all tokens" in str(why_padded(modernbert("mean")))
    assert "decoder" in str(why_padded(bert(is_decoder=True)))
    model = bert()
    model.config = DebertaV2Config()
    assert str(why_padded(model)).startswith("deberta-v2 is not among the architectures that run without padding: bert")


def cost(lengths: list[int], ends: tuple[int, ...]) -> float:
    begins = (0, *ends[:-1])
    widths = [lengths[end - 1] for end in ends]
    return sum(
        (end - begin) * width * (1 + ATTENTION_COST * width) + BLOCK_COST
        for begin, end, width in zip(begins, ends, widths, strict=True)
    )


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=8).map(sorted))
def test_blocks_are_cut_where_the_work_is_least(lengths: list[int]) -> None:
    inner = range(1, len(lengths))
    all_cuts = [(*ends, len(lengths)) for n in range(len(lengths)) for ends in itertools.combinations(inner, n)]

    found = tuple(cut(lengths))

    assert found[-1] == len(lengths)
    assert cost(lengths, found) == pytest.approx(min(cost(lengths, ends) for ends in all_cuts))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(0, 2))
def test_every_token_is_laid_out_at_its_position(lengths: list[int], first: int) -> None:
    rows = [[100 * at + place for place in range(1, length + 1)] for at, length in enumerate(lengths)]

    layout = lay_out(rows, pad_token_id=0, first_position=first, device=torch.device("cpu"))

    ids, positions = layout.input_ids[0].tolist(), layout.position_ids[0].tolist()
    assert layout.real == sum(lengths) == sum(token != 0 for token in ids)
    for row, start in zip(rows, layout.firsts.tolist(), strict=True):
        assert ids[start : start + len(row)] == row
        assert positions[start : start + len(row)] == list(range(first, first + len(row)))
    assert sum(block.texts * block.width for block in layout.blocks) == len(ids)
    assert sum(block.texts for block in layout.blocks) == len(rows)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 100_000))
def test_there_are_few_numbers_of_tokens(tokens: int) -> None:
    assert tokens <= rounded(tokens) <= max(tokens + 15, tokens * 9 / 8)
    assert rounded(rounded(tokens)) == rounded(tokens)
    assert len({rounded(near) for near in range(tokens, 2 * tokens)}) <= 9


def test_only_products_in_bfloat16_get_rounded_rows() -> None:
    seen: list[Layout] = []
    for model in (bert(), bert().bfloat16()):
        with unpadded(model, 0, seen.append) as forward:
            forward([[5, 6, 7]])

    assert [layout.input_ids.shape[1] for layout in seen] == [3, 16]
    assert seen[1].input_ids[0].tolist() == [5, 6, 7] + [0] * 13


def test_little_of_a_batch_of_mixed_lengths_is_padding() -> None:
    seen: list[Layout] = []
    model = bert()
    with unpadded(model, 0, seen.append) as forward:
        forward(some_rows(32, seed=0))

    assert seen[0].real / seen[0].input_ids.numel() > 0.9


def test_the_kernel_of_a_gpu_gets_bfloat16_and_what_comes_back_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    # The flash kernel refuses float32: validation outside autocast ended there.
    from torch.nn.attention import varlen

    def kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        assert {query.dtype, key.dtype, value.dtype} == {torch.bfloat16}
        return value

    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    offsets, value = torch.tensor([0, 2, 5], dtype=torch.int32), torch.randn(1, 4, 5, 8)
    attended, _ = attend(
        torch.nn.Identity(), value, value, value, None, scaling=1.0, blocks=(), offsets=offsets, longest=3
    )

    assert attended.dtype == torch.float32
    assert torch.equal(attended, value.transpose(1, 2).bfloat16().float())
