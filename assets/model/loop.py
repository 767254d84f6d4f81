"""The training loop in plain PyTorch: batches of like length, two learning rates, the best epoch kept."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from assets.errors import DataError
from assets.progress import Progress
from assets.tasks import classification as task
from assets.tasks.device import Precision, autocast
from assets.tasks.inputs import TokenIds, collate, infer, shuffled_batches
from assets.tasks.loading import is_head

if TYPE_CHECKING:
    import torch

REPORTS = 200
"""Most points of the training curve; between two of them nothing waits for the device."""

SUMMARY = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
"""The metrics that are one number."""


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


@dataclass(frozen=True)
class Recipe:
    """How to train; the meaning of each is that of the field of the same name in `assets.config.pipeline.Training`."""

    epochs: int
    batch_size: int
    learning_rate: float
    head_learning_rate: float
    warmup: float
    weight_decay: float
    max_gradient_norm: float
    seed: int
    select_by: str


@dataclass
class Curve:
    """Training losses, kept on the device until a report.

    Attributes:
        step: training steps so far.
        points: what was reported: `step`, `loss` (mean since the point before, in nats), `learning_rate` (the body's).
    """

    step: int = 0
    points: list[dict[str, float]] = field(default_factory=list)
    _losses: list[torch.Tensor] = field(default_factory=list)
    _rows: list[list[str]] = field(default_factory=list)

    def add(self, loss: torch.Tensor, row_ids: list[str]) -> None:
        """Take in the loss of the next batch without waiting for it."""
        self.step += 1
        self._losses.append(loss.detach())
        self._rows.append(row_ids)

    def report(self, learning_rate: float) -> dict[str, float]:
        """Wait for the losses since the last report and make a point of them.

        Raises:
            DataError: one of them is not finite.
        """
        import torch

        losses = torch.stack(self._losses).double().cpu()
        for at, loss in enumerate(losses.tolist()):
            if not math.isfinite(loss):
                raise DataError(
                    f"the loss of step {self.step - len(losses) + at + 1} is {loss}, not a finite number; "
                    f"the rows of its batch: {', '.join(self._rows[at])}",
                    where="training",
                    fix="lower training.learning_rate and training.head_learning_rate, or look at these rows",
                )
        self.points.append({"step": self.step, "loss": float(losses.mean()), "learning_rate": learning_rate})
        self._losses, self._rows = [], []
        return self.points[-1]


@dataclass(frozen=True)
class Fitted:
    """How training went.

    Attributes:
        steps: the points of the training curve.
        epochs: for each epoch `epoch`, `step`, `loss` (nats) and the task's metrics, all on the validation side.
        best: which of `epochs` the model was left at, counted from 0.
        seconds: time spent on training steps.
    """

    steps: list[dict[str, float]]
    epochs: list[dict[str, float]]
    best: int
    seconds: float


def rate_share(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at a step: rises linearly over `warmup` of the steps, then falls linearly.

    Args:
        step: training step, counted from 0.
        steps: training steps in all.
        warmup: share of the steps in which it rises.

    Returns:
        More than 0 and at most 1; 0 only at `step == steps`, which no step uses.
    """
    rising = math.ceil(warmup * steps)
    return (step + 1) / rising if step < rising else (steps - step) / max(1, steps - rising)


def parameter_groups(model: Any, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters for the optimizer: the body's and the head's learning rates, no decay on norms and biases."""
    rates = {False: recipe.learning_rate, True: recipe.head_learning_rate}
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        # What has one dimension is a bias or a norm's scale.
        head, decays = is_head(model, name), parameter.ndim > 1
        group = groups.setdefault(
            (head, decays), {"params": [], "lr": rates[head], "weight_decay": recipe.weight_decay if decays else 0.0}
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def fit(
    model: Any,
    train: Examples,
    validation: Examples,
    recipe: Recipe,
    *,
    labels: Sequence[str],
    pad_token_id: int,
    device: torch.device,
    precision: Precision,
    progress: Progress,
) -> Fitted:
    """Train a model that is on the device, and leave it at its best epoch (the earliest of equals).

    Raises:
        DataError: a loss is not finite.
    """
    import torch

    steps = recipe.epochs * math.ceil(len(train.tokens) / recipe.batch_size)
    every = math.ceil(steps / REPORTS)
    # One pass over the weights instead of several: on a CPU a fifth of the time, most of it spent on embeddings.
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(step, steps, recipe.warmup))
    order = torch.Generator().manual_seed(recipe.seed)
    lengths = [len(tokens) for tokens in train.tokens]
    curve, epochs, best, reported, seconds = Curve(), [], 0, 0, 0.0
    weights: dict[str, torch.Tensor] = {}

    def update(batch: list[int]) -> torch.Tensor:
        inputs = collate([train.tokens[at] for at in batch], pad_token_id)
        with autocast(device, precision):
            logits = model(**{name: tensor.to(device) for name, tensor in inputs.items()}).logits
        loss = task.loss(logits, train.targets[batch].to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_gradient_norm)
        optimizer.step()
        schedule.step()
        return loss

    with progress.bar("training", total=steps) as advance:
        for epoch in range(recipe.epochs):
            model.train()
            started, examples = time.perf_counter(), 0
            for batch in shuffled_batches(lengths, recipe.batch_size, order):
                learning_rate = float(schedule.get_last_lr()[0])
                curve.add(update(batch), [train.row_ids[at] for at in batch])
                examples += len(batch)
                if curve.step % every == 0 or curve.step == steps:
                    loss = curve.report(learning_rate)["loss"]
                    speed = examples / (time.perf_counter() - started)
                    advance(curve.step - reported, loss=loss, examples_per_second=speed)
                    progress.metrics(curve.step, loss=loss, learning_rate=learning_rate)
                    reported = curve.step
            seconds += time.perf_counter() - started
            found = validate(model, validation, labels=labels, pad_token_id=pad_token_id)
            progress.metrics(curve.step, **{f"validation_{name}": value for name, value in found.items()})
            epochs.append({"epoch": epoch + 1, "step": curve.step, **found})
            if epoch == 0 or better(found, epochs[best], recipe.select_by):
                best = epoch
                weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(weights)
    return Fitted(curve.points, epochs, best, seconds)


def better(found: Mapping[str, float], best: Mapping[str, float], select_by: str) -> bool:
    """Whether an epoch beats the best one so far: by a lower loss, or by a higher value of any other metric."""
    sign = -1 if select_by == "loss" else 1
    return sign * found[select_by] > sign * best[select_by]


def validate(model: Any, examples: Examples, *, labels: Sequence[str], pad_token_id: int) -> dict[str, float]:
    """Loss (nats) and the task's metrics in float32, as evaluation computes them."""
    logits = infer(model, examples.tokens, pad_token_id=pad_token_id)
    predicted = [labels[at] for at in logits.argmax(dim=-1).tolist()]
    metrics = task.metrics(examples.labels, predicted, labels)
    return {"loss": float(task.loss(logits, examples.targets)), **{name: metrics[name] for name in SUMMARY}}
