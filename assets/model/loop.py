"""The training loop in plain PyTorch: batches without padding, checkpoints on the way, the best epoch kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from assets.errors import DataError, TransientError
from assets.model.checkpoints import Checkpoints
from assets.model.dropout import fast_dropout
from assets.model.embeddings import Touched, touched_only
from assets.model.recipe import (
    Recipe,
    class_weights,
    learning_rate_of,
    out_of_patience,
    parameter_groups,
    rate_share,
    total_weight,
)
from assets.progress import Progress
from assets.tasks import classification as task
from assets.tasks.device import Precision, autocast
from assets.tasks.inputs import TokenIds, collate, shuffled_batches
from assets.tasks.unpadded import Forward, Layout, unpadded, why_padded

if TYPE_CHECKING:
    import torch

REPORTS = 200
"""Most points of the training curve; between two of them nothing waits for the device."""

SUMMARY = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
"""The metrics that are one number."""

VALIDATION_TOKENS = 8192
"""Most tokens that are validated at once."""


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


@dataclass
class Curve:
    """Training losses, kept on the device until a report.

    Attributes:
        step: training steps so far.
        points: what was reported: `step`, `loss` (mean since the point before, in nats), `learning_rate` (the body's).
        losses: of the batches since then.
        rows: identifiers of their rows.
    """

    step: int = 0
    points: list[dict[str, float]] = field(default_factory=list)
    losses: list[torch.Tensor] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def add(self, loss: torch.Tensor, row_ids: list[str]) -> None:
        """Take in the loss of the next batch without waiting for it."""
        self.step += 1
        self.losses.append(loss.detach())
        self.rows.append(row_ids)

    def report(self, learning_rate: float) -> dict[str, float]:
        """Wait for the losses since the last report and make a point of them.

        Raises:
            DataError: one of them is not finite.
        """
        import torch

        losses = torch.stack(self.losses).double().cpu()
        for at, loss in enumerate(losses.tolist()):
            if not math.isfinite(loss):
                raise DataError(
                    f"the loss of step {self.step - len(losses) + at + 1} is {loss}, not a finite number; "
                    f"the rows of its batch: {', '.join(self.rows[at])}",
                    where="training",
                    fix="lower training.learning_rate and training.head_learning_rate, or look at these rows",
                )
        self.points.append({"step": self.step, "loss": float(losses.mean()), "learning_rate": learning_rate})
        self.losses, self.rows = [], []
        return self.points[-1]


@dataclass(frozen=True)
class Fitted:
    """How training went.

    Attributes:
        steps: the points of the training curve.
        epochs: for each epoch `epoch`, `step`, `loss` (nats) and the task's metrics, all on the validation side.
        best: which of `epochs` the model was left at, counted from 0.
        pace: how fast it went, since it began or was taken up again.
    """

    steps: list[dict[str, float]]
    epochs: list[dict[str, float]]
    best: int
    pace: Pace


@dataclass
class Pace:
    """How fast training goes, since it began or was taken up again.

    Attributes:
        seconds: spent on training steps.
        examples: rows that were trained on.
        tokens: tokens of these rows.
        places: places in the row of tokens, padding included.
    """

    seconds: float = 0.0
    examples: int = 0
    tokens: int = 0
    places: int = 0

    def see(self, layout: Layout) -> None:
        """Count a batch."""
        self.examples += len(layout.firsts)
        self.tokens += layout.real
        self.places += layout.input_ids.numel()

    def values(self) -> dict[str, float]:
        """What people are shown."""
        seconds = max(self.seconds, 1e-9)
        return {
            "examples_per_second": self.examples / seconds,
            "tokens_per_second": self.tokens / seconds,
            "real_tokens": self.tokens / max(self.places, 1),
        }


@dataclass
class State:
    """How far training is: what a checkpoint keeps beside tensors.

    Attributes:
        epoch: epochs that are done.
        batch: batches of the epoch at hand that are done.
        epochs: for each epoch done `epoch`, `step` and what was measured on the validation side.
        best: which of them is the best so far, counted from 0.
        reported: step of the last report.
    """

    epoch: int = 0
    batch: int = 0
    epochs: list[dict[str, float]] = field(default_factory=list)
    best: int = 0
    reported: int = 0


class Training:
    """Trains a model that is on its device; see `fit`."""

    def __init__(
        self,
        model: Any,
        train: Examples,
        recipe: Recipe,
        *,
        forward: Forward,
        touched: Touched | None,
        device: torch.device,
        precision: Precision,
    ) -> None:
        import torch

        self.model, self.train, self.recipe = model, train, recipe
        self.forward, self.touched, self.device, self.precision = forward, touched, device, precision
        self.batches = math.ceil(len(train.tokens) / recipe.batch_size)
        self.steps = recipe.epochs * self.batches
        self.targets = train.targets.to(device)
        classes = model.config.num_labels
        weights = class_weights(train.targets, classes, recipe.class_weights)
        self.weights = None if weights is None else weights.to(device)
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # One pass over the weights instead of several: on a CPU a fifth of the time.
        self.optimizer = torch.optim.AdamW(parameter_groups(model, recipe), fused=True)
        self.peaks = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.order = torch.Generator().manual_seed(recipe.seed)
        self.epoch_order = self.order.get_state()
        self.state, self.curve, self.pace = State(), Curve(), Pace()
        self.best: dict[str, torch.Tensor] = {}
        self.most_tokens = math.inf

    def epoch(self) -> Iterator[list[int]]:
        """Batches of the epoch at hand that are not done yet, as positions of rows."""
        self.epoch_order = self.order.get_state()
        lengths = [len(tokens) for tokens in self.train.tokens]
        batches = shuffled_batches(lengths, self.recipe.batch_size, self.order, grouped=self.recipe.order == "grouped")
        yield from batches[self.state.batch :]

    def update(self, batch: list[int]) -> None:
        """One step of the optimizer."""
        import torch

        share = rate_share(self.curve.step, self.steps, self.recipe.warmup, self.recipe.schedule)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share
        loss = self._gradients(batch)
        gradients = [parameter.grad for parameter in self.trained if parameter.grad is not None]
        if self.touched is not None:
            gradients += self.touched.collect()
        norm = torch.nn.utils.get_total_norm(gradients)
        # Multiplied in any case: to look at the norm would be to wait for the device.
        scale = (self.recipe.max_gradient_norm / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, scale)
        self.optimizer.step()
        self.curve.add(loss, [self.train.row_ids[at] for at in batch])
        if self.touched is not None:
            self.touched.step(self.curve.step, share)
        self.state.batch += 1

    def _gradients(self, batch: list[int]) -> torch.Tensor:
        """Gradients of a batch, in as few parts as memory allows; the mean loss."""
        import torch

        generators = self._generators()
        while True:
            self.optimizer.zero_grad()
            parts = micro_batches(batch, self.train.tokens, self.most_tokens)
            try:
                return self._gradients_of(parts)
            except torch.OutOfMemoryError:
                if len(parts) == len(batch):
                    raise
                self.most_tokens = max(map(self._tokens, parts)) / 2
            # The same numbers are drawn again, and memory that the failed try holds is given back first.
            self._set_generators(generators)
            if self.touched is not None:
                self.touched.forget()
            torch.cuda.empty_cache()

    def _tokens(self, rows: list[int]) -> int:
        return sum(len(self.train.tokens[at]) for at in rows)

    def _gradients_of(self, parts: list[list[int]]) -> torch.Tensor:
        import torch

        # Divided by what the whole batch weighs, so that unequal parts count as what they are.
        weight = sum(total_weight(self.train.targets[part], self.weights) for part in parts)
        losses = []
        for part in parts:
            targets = self.targets[torch.tensor(part, device=self.device)]
            with autocast(self.device, self.precision):
                logits = self.forward([self.train.tokens[at] for at in part])
            loss = task.loss(
                logits, targets, weights=self.weights, smoothing=self.recipe.label_smoothing or 0.0, total=weight
            )
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _generators(self) -> dict[str, torch.Tensor]:
        import torch

        states = {"cpu": torch.get_rng_state()}
        return states | {"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else states

    def _set_generators(self, states: Mapping[str, torch.Tensor]) -> None:
        import torch

        torch.set_rng_state(states["cpu"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self.device)

    def saved(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """All that is needed to go on from here: what is JSON-able, and tensors."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for at, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{at}.{name}": tensor for name, tensor in moments.items()}
        if self.touched is not None:
            tensors |= {f"touched.{at}": moment for at, moment in enumerate(self.touched.moments)}
        tensors |= {f"generator.{name}": state for name, state in self._generators().items()}
        tensors["order"] = self.epoch_order
        if self.curve.losses:
            import torch

            tensors["losses"] = torch.stack(self.curve.losses)
        curve = {"step": self.curve.step, "points": self.curve.points, "rows": self.curve.rows}
        return {**asdict(self.state), "curve": curve}, tensors

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from where another training of the same was saved."""
        curve = state["curve"]
        self.state = State(**{name: value for name, value in state.items() if name != "curve"})
        losses = tensors["losses"].unbind() if "losses" in tensors else ()
        self.curve = Curve(curve["step"], curve["points"], [loss.to(self.device) for loss in losses], curve["rows"])

        def under(prefix: str) -> dict[str, torch.Tensor]:
            return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}

        self.model.load_state_dict(under("model."))
        self.best = under("best.")
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in under("optimizer.").items():
            at, _, moment = name.partition(".")
            moments.setdefault(int(at), {})[moment] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        if self.touched is not None:
            for number, each in enumerate(self.touched.moments):
                each.copy_(tensors[f"touched.{number}"])
        self._set_generators(under("generator."))
        self.order.set_state(tensors["order"])


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
    checkpoints: Checkpoints,
    stopping: Callable[[], bool] = lambda: False,
) -> Fitted:
    """Train a model that is on the device, and leave it at its best epoch (the earliest of equals).

    Goes on from the latest checkpoint, if there is one, with the same bits as if it had never stopped.

    Args:
        model: a `PreTrainedModel` with a head for the task.
        train: what is trained on.
        validation: what epochs are compared on.
        recipe: how to train.
        labels: names of the classes.
        pad_token_id: of the tokenizer.
        device: where the model is.
        precision: of matrix products.
        progress: where to say how far it is.
        checkpoints: of this very training: of another, they are not what it would come to.
        stopping: asked after each step whether to save and stop.

    Raises:
        DataError: a loss is not finite.
        TransientError: `stopping` said so; the next run goes on.
    """
    pace = Pace()
    with ExitStack() as stack:
        forward = stack.enter_context(_forward(model, pad_token_id, pace, progress))
        touched = stack.enter_context(_touched(model, recipe)) if device.type == "cpu" else None
        if device.type == "cpu":
            stack.enter_context(fast_dropout(model))
        training = Training(model, train, recipe, forward=forward, touched=touched, device=device, precision=precision)
        training.pace = pace
        saved = checkpoints.latest()
        if saved is not None:
            training.restore(saved.state, saved.tensors)
            progress.message(f"going on from the checkpoint at step {saved.step:,} of {training.steps:,}")
        _train(training, validation, labels, progress, checkpoints, stopping)
        model.load_state_dict(training.best)
    curve, state = training.curve, training.state
    return Fitted(curve.points, state.epochs, state.best, pace)


@contextmanager
def _forward(model: Any, pad_token_id: int, pace: Pace, progress: Progress) -> Iterator[Forward]:
    """Run the model without padding where it can, else padded."""
    reason = why_padded(model)
    if reason is None:
        with unpadded(model, pad_token_id, pace.see) as forward:
            yield forward
        return
    progress.message(f"batches are padded: {reason}")

    def padded(rows: Sequence[TokenIds]) -> torch.Tensor:
        inputs = {name: tensor.to(model.device) for name, tensor in collate(rows, pad_token_id).items()}
        pace.examples += len(rows)
        pace.tokens += sum(map(len, rows))
        pace.places += inputs["input_ids"].numel()
        logits: torch.Tensor = model(**inputs).logits
        return logits

    yield padded


@contextmanager
def _touched(model: Any, recipe: Recipe) -> Iterator[Touched | None]:
    embedding = model.get_input_embeddings()
    name = next(name for name, parameter in model.named_parameters() if parameter is embedding.weight)
    if not embedding.weight.requires_grad:
        yield None
        return
    rate = learning_rate_of(model, name, recipe)
    with touched_only(model, learning_rate=rate, weight_decay=recipe.weight_decay) as touched:
        yield touched


def _train(
    training: Training,
    validation: Examples,
    labels: Sequence[str],
    progress: Progress,
    checkpoints: Checkpoints,
    stopping: Callable[[], bool],
) -> None:
    recipe, state, curve, pace = training.recipe, training.state, training.curve, training.pace
    every = math.ceil(training.steps / REPORTS)

    def save() -> None:
        checkpoints.save(curve.step, *training.saved())

    with progress.bar("training", total=training.steps) as advance:
        if state.reported:
            advance(state.reported)
        while state.epoch < recipe.epochs and not out_of_patience(state.epochs, state.best, recipe.patience):
            training.model.train()
            started = time.perf_counter()
            for batch in training.epoch():
                training.update(batch)
                if curve.step % every == 0 or state.batch == training.batches:
                    point = curve.report(
                        recipe.learning_rate
                        * rate_share(curve.step - 1, training.steps, recipe.warmup, recipe.schedule)
                    )
                    pace.seconds += time.perf_counter() - started
                    started = time.perf_counter()
                    advance(curve.step - state.reported, loss=point["loss"], **pace.values())
                    progress.metrics(curve.step, loss=point["loss"], learning_rate=point["learning_rate"])
                    state.reported = curve.step
                if stopping():
                    save()
                    checkpoints.wait()
                    raise TransientError(
                        f"stopped from outside after step {curve.step:,} of {training.steps:,}; a checkpoint is kept",
                        where="training",
                        fix="run again: it goes on from there",
                    )
                if checkpoints.due() and state.batch < training.batches:
                    save()
            pace.seconds += time.perf_counter() - started
            found = validate(training.model, training.forward, validation, labels=labels)
            progress.metrics(curve.step, **{f"validation_{name}": value for name, value in found.items()})
            state.epochs.append({"epoch": state.epoch + 1, "step": curve.step, **found})
            if state.epoch == 0 or better(found, state.epochs[state.best], recipe.select_by):
                state.best = state.epoch
                training.best = {
                    name: tensor.detach().cpu().clone() for name, tensor in training.model.state_dict().items()
                }
            state.epoch, state.batch = state.epoch + 1, 0
            training.epoch_order = training.order.get_state()
            if checkpoints.due():
                save()
    checkpoints.wait()


def better(found: Mapping[str, float], best: Mapping[str, float], select_by: str) -> bool:
    """Whether an epoch beats the best one so far: by a lower loss, or by a higher value of any other metric."""
    sign = -1 if select_by == "loss" else 1
    return sign * found[select_by] > sign * best[select_by]


def validate(model: Any, forward: Forward, examples: Examples, *, labels: Sequence[str]) -> dict[str, float]:
    """Loss (nats) and the task's metrics, in float32; leaves the model in evaluation mode."""
    import torch

    model.eval()
    logits = torch.empty(len(examples.tokens), model.config.num_labels)
    with torch.inference_mode():
        for part in micro_batches(list(range(len(examples.tokens))), examples.tokens, VALIDATION_TOKENS):
            logits[part] = forward([examples.tokens[at] for at in part]).float().cpu()
    predicted = [labels[at] for at in logits.argmax(dim=-1).tolist()]
    metrics = task.metrics(examples.labels, predicted, labels)
    return {"loss": float(task.loss(logits, examples.targets)), **{name: metrics[name] for name in SUMMARY}}
