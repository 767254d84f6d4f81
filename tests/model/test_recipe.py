"""Learning rates over steps and layers, weights of classes, patience."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253 - this module tests torch code
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.model.recipe import (
    Recipe,
    class_weights,
    default_epochs,
    default_rates,
    learning_rate_of,
    out_of_patience,
    parameter_groups,
    rate_share,
    total_weight,
)
from assets.tasks.classification import loss, pretrained
from tests.tiny import LABELS, make_base_model

RECIPE = Recipe(
    epochs=1,
    batch_size=8,
    learning_rate=1e-4,
    head_learning_rate=1e-3,
    warmup=0.1,
    weight_decay=0.01,
    max_gradient_norm=1.0,
    seed=0,
    select_by="f1_macro",
)


@settings(deadline=None, derandomize=True)
@given(steps=st.integers(1, 300), warmup=st.floats(0, 1))
def test_learning_rate_rises_then_falls_and_is_never_zero_while_training(steps: int, warmup: float) -> None:
    shares = [rate_share(step, steps, warmup) for step in range(steps)]
    peak = max(0, math.ceil(warmup * steps) - 1)

    assert all(0 < share <= 1 for share in shares)
    assert shares[peak] == 1
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)


def test_learning_rate_of_an_example() -> None:
    assert [rate_share(step, 6, 1 / 3) for step in range(7)] == [0.5, 1, 1, 0.75, 0.5, 0.25, 0]


def test_every_parameter_is_in_one_group_with_its_rate_and_decay(tmp_path: Path) -> None:
    model = pretrained(make_base_model(tmp_path), LABELS)
    names = {parameter: name for name, parameter in model.named_parameters()}

    groups = parameter_groups(model, RECIPE)

    assert sorted(names[parameter] for group in groups for parameter in group["params"]) == sorted(names.values())
    assert groups[0]["lr"] == RECIPE.learning_rate
    for group in groups:
        for name in (names[parameter] for parameter in group["params"]):
            assert group["lr"] == (1e-3 if "classifier" in name or "pooler" in name else 1e-4), name
            assert group["weight_decay"] == (0 if "bias" in name or "LayerNorm" in name else 0.01), name
    assert [group["lr"] for group in parameter_groups(model, replace(RECIPE, head_learning_rate=1e-4))] == [1e-4] * 2


@settings(deadline=None, derandomize=True)
@given(steps=st.integers(1, 300), warmup=st.floats(0, 1))
def test_a_cosine_rises_and_falls_like_a_line_and_is_above_it_in_the_first_half(steps: int, warmup: float) -> None:
    cosine = [rate_share(step, steps, warmup, "cosine") for step in range(steps)]
    line = [rate_share(step, steps, warmup) for step in range(steps)]

    assert all(0 < share <= 1 for share in cosine)
    rising = math.ceil(warmup * steps)
    assert cosine[:rising] == line[:rising]
    for curved, straight in zip(cosine[rising:], line[rising:], strict=True):
        above = curved - straight if straight >= 0.5 else straight - curved
        assert above >= -1e-12


def test_the_rate_falls_with_each_layer_down_and_the_head_has_its_own(tmp_path: Path) -> None:
    model = pretrained(make_base_model(tmp_path), LABELS)
    recipe = replace(RECIPE, layer_decay=0.5)
    layers = model.config.num_hidden_layers

    def rate(name: str) -> float:
        return learning_rate_of(model, name, recipe)

    assert rate("classifier.weight") == recipe.head_learning_rate
    assert rate(f"bert.encoder.layer.{layers - 1}.output.dense.weight") == recipe.learning_rate
    assert rate("bert.encoder.layer.0.output.dense.weight") == recipe.learning_rate * 0.5 ** (layers - 1)
    assert rate("bert.embeddings.word_embeddings.weight") == recipe.learning_rate * 0.5**layers
    assert learning_rate_of(model, "bert.embeddings.word_embeddings.weight", RECIPE) == RECIPE.learning_rate


@pytest.mark.parametrize(("rows", "epochs"), [(1, 20), (400, 20), (640, 13), (2600, 4), (4000, 3), (10**6, 3)])
def test_few_rows_are_gone_through_more_often(rows: int, epochs: int) -> None:
    assert default_epochs(rows, batch_size=16) == epochs


@pytest.mark.parametrize(("width", "layers", "rate"), [(384, 6, 1e-4), (768, 12, 5e-5), (1024, 24, 2e-5)])
def test_default_rates_are_by_the_size_of_the_body_not_its_vocabulary(width: int, layers: int, rate: float) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": 4 * width}
    with torch.device("meta"):
        model = BertForSequenceClassification(BertConfig(**sizes, vocab_size=250_000, num_attention_heads=4))

    assert default_rates(model, lora=False) == pytest.approx((rate, 10 * rate))
    assert default_rates(model, lora=True) == pytest.approx((10 * rate, 10 * rate))


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    targets = torch.tensor([0, 0, 0, 1, 3, 3])
    weights = class_weights(targets, 5, "balanced")

    assert weights is not None
    known = [0, 1, 3]
    expected = compute_class_weight("balanced", classes=np.array(known), y=targets.numpy())
    assert weights[known].tolist() == pytest.approx(expected.tolist())
    assert weights[[2, 4]].tolist() == [1, 1]
    assert class_weights(targets, 5, None) is None
    assert total_weight(targets, weights) == pytest.approx(6)


@pytest.mark.parametrize("how", [None, "balanced"])
def test_unequal_parts_of_a_batch_add_up_to_its_loss(how: None) -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(7, 3), torch.tensor([0, 0, 0, 0, 1, 2, 2])
    weights = class_weights(targets, 3, how)
    total = total_weight(targets, weights)

    parts = [
        loss(logits[part], targets[part], weights=weights, smoothing=0.1, total=total)
        for part in (slice(0, 2), slice(2, 7))
    ]

    whole = torch.nn.functional.cross_entropy(logits, targets, weight=weights, label_smoothing=0.1)
    torch.testing.assert_close(sum(parts), whole)


def test_patience() -> None:
    epochs = [{"loss": value} for value in (3.0, 1.0, 2.0, 2.0)]

    assert out_of_patience(epochs, best=1, patience=2)
    assert not out_of_patience(epochs, best=1, patience=3)
    assert not out_of_patience(epochs, best=1, patience=None)
    assert not out_of_patience([], best=0, patience=1)
