"""How to train: learning rates over the steps and the layers, what the optimizer decays, weights of classes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from assets.tasks.loading import is_head

if TYPE_CHECKING:
    import torch

_LAYER = re.compile(r"\.(?:layer|layers|h|block)\.(\d+)\.")


@dataclass(frozen=True)
class Recipe:
    """How to train; the meaning of each is that of the field of the same name in `assets.config.training.Training`."""

    epochs: int
    batch_size: int
    learning_rate: float
    head_learning_rate: float
    warmup: float
    weight_decay: float
    max_gradient_norm: float
    seed: int
    select_by: str
    schedule: Literal["linear", "cosine"] = "linear"
    layer_decay: float | None = None
    label_smoothing: float | None = None
    class_weights: Literal["balanced"] | None = None
    patience: int | None = None
    order: Literal["grouped", "random"] = "grouped"


SIZES = ((40e6, 1e-4), (200e6, 5e-5), (math.inf, 2e-5))
"""Weights of a body without its embeddings → its peak learning rate: the larger, the less. The first is measured on
MiniLM (3 epochs of SMS spam), the others are those of the models' own papers."""
BOLDER = 10.0
"""How much higher the rate of a head is that knows nothing yet, and that of updates of low rank."""


EPOCHS = (3, 20)
"""Fewest and most passes over the training rows."""
STEPS = 500
"""Steps that few rows are given: training that looks unstable on them is mostly too short. Mosbach et al. 2021 take 20
epochs, Zhang et al. 2021 count steps."""


def default_epochs(rows: int, batch_size: int) -> int:
    """Passes over so many training rows: the fewest, or as many as make `STEPS` steps."""
    least, most = EPOCHS
    return min(max(least, math.ceil(STEPS / math.ceil(rows / batch_size))), most)


def default_rates(model: Any, *, lora: bool) -> tuple[float, float]:
    """Peak learning rates of a model's body and of its head, by the size of the body.

    Args:
        model: a `PreTrainedModel`, before anything is put into it.
        lora: whether the body's weights rest and updates of low rank are trained.
    """
    words: int = model.get_input_embeddings().weight.numel()
    body = sum(each.numel() for name, each in model.named_parameters() if not is_head(model, name)) - words
    rate = next(rate for most, rate in SIZES if body <= most)
    return rate * BOLDER if lora else rate, rate * BOLDER


def rate_share(step: int, steps: int, warmup: float, schedule: Literal["linear", "cosine"] = "linear") -> float:
    """Share of the peak learning rate at a step: rises linearly over `warmup` of the steps, then falls.

    Args:
        step: training step, counted from 0.
        steps: training steps in all.
        warmup: share of the steps in which it rises.
        schedule: falls linearly, or as half a cosine (Loshchilov and Hutter 2017, without restarts).

    Returns:
        More than 0 and at most 1; 0 only at `step == steps`, which no step uses.
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    left = (steps - step) / max(1, steps - rising)
    return left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2


def layer_of(model: Any, name: str) -> int:
    """Depth of a parameter: 0 for embeddings, then the body's layers from 1, one more for what comes after them."""
    depth: int = model.config.num_hidden_layers + 1
    if is_head(model, name):
        return depth
    found = _LAYER.search(name)
    if found:
        return int(found[1]) + 1
    return 0 if "embed" in name else depth


def learning_rate_of(model: Any, name: str, recipe: Recipe) -> float:
    """Peak learning rate of a parameter: the head's own; the body's falls by `layer_decay` with each layer down.

    Layer-wise decay: Howard and Ruder 2018; Clark et al. 2020 (ELECTRA), 0.8 to 0.9 for base models.
    """
    if is_head(model, name):
        return recipe.head_learning_rate
    if recipe.layer_decay is None:
        return recipe.learning_rate
    down = model.config.num_hidden_layers - layer_of(model, name)
    factor: float = recipe.layer_decay ** max(0, down)
    return recipe.learning_rate * factor


def parameter_groups(model: Any, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters that are trained, for the optimizer: learning rates, no decay on norms and biases."""
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        # What has one dimension is a bias or a norm's scale.
        rate, decays = learning_rate_of(model, name, recipe), parameter.ndim > 1
        group = groups.setdefault(
            (rate, decays), {"params": [], "lr": rate, "weight_decay": recipe.weight_decay if decays else 0.0}
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def class_weights(targets: torch.Tensor, classes: int, how: Literal["balanced"] | None) -> torch.Tensor | None:
    """Weight of each class in the loss, shape [classes], or None for equal ones.

    `balanced`: rows / (classes with rows · rows of the class), as scikit-learn has it (King and Zeng 2001); a class
    without rows gets 1, which nothing uses.
    """
    if how is None:
        return None
    counts = targets.bincount(minlength=classes).double()
    there = counts > 0
    weights = counts.new_ones(classes)
    weights[there] = len(targets) / (there.sum() * counts[there])
    return weights.float()


def total_weight(targets: torch.Tensor, weights: torch.Tensor | None) -> float:
    """What the weighted losses of a batch are divided by: rows, or the sum of their classes' weights."""
    return float(len(targets)) if weights is None else float(weights[targets].sum())


def better(found: Mapping[str, float], best: Mapping[str, float], select_by: str) -> bool:
    """Whether an epoch beats the best one so far: by a lower loss, or by a higher value of any other metric."""
    sign = -1 if select_by == "loss" else 1
    return sign * found[select_by] > sign * best[select_by]


def out_of_patience(epochs: Sequence[Mapping[str, float]], best: int, patience: int | None) -> bool:
    """Whether training may stop: so many epochs since the best one were no better."""
    return patience is not None and len(epochs) - 1 - best >= patience
