"""The training loop in plain PyTorch: batches without padding, checkpoints on the way, the best epoch kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from assets.errors import TransientError
from assets.model.activations import Plan, recomputed
from assets.model.checkpoints import Checkpoints
from assets.model.compiled import compiled, why_not_compiled
from assets.model.curves import Pace
from assets.model.devices import ALONE, Devices
from assets.model.embeddings import Touched, touched_only
from assets.model.examples import Examples
from assets.model.memory import Parts, said_plainly
from assets.model.mirror import Mirror
from assets.model.recipe import Recipe, better, learning_rate_of, out_of_patience, rate_share
from assets.model.sharding import Shards, shard, too_large
from assets.model.stepping import Training
from assets.model.threads import settle_threads
from assets.model.validation import VALIDATION_TOKENS, validate
from assets.progress import Progress
from assets.tasks.device import Precision, autocast, describe, memory_in_use, onto, peak
from assets.tasks.dropout import fast_dropout
from assets.tasks.inputs import TokenIds, collate
from assets.tasks.unpadded import Forward, unpadded, why_padded

if TYPE_CHECKING:
    import torch

REPORTS = 200
"""Most points of the training curve; between two of them nothing waits for the device."""


@dataclass(frozen=True)
class Fitted:
    """How training went.

    Attributes:
        steps: the points of the training curve.
        epochs: for each epoch `epoch`, `step`, `loss` (nats) and the task's metrics, all on the validation side.
        best: which of `epochs` the model was left at, counted from 0.
        pace: how fast it went, since it began or was taken up again.
        memory: how batches fitted into it.
        sharding: whether the model was shared out among the devices.
        compiled: whether its body was compiled.
        device: that trained, for people.
        threads: that a CPU computed with.
    """

    steps: list[dict[str, float]]
    epochs: list[dict[str, float]]
    best: int
    pace: Pace
    memory: Plan
    sharding: bool
    compiled: bool
    device: str
    threads: int


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
    devices: Devices = ALONE,
    recompute: bool | None = None,
    sharding: bool | None = None,
    compiling: bool = False,
    keep: bool = False,
) -> Fitted:
    """Train a model, and leave it at its best epoch (the earliest of equals).

    Goes on from the latest checkpoint, if there is one, with the same bits as if it had never stopped.

    Args:
        model: a `PreTrainedModel` with a head for the task, on the CPU; it is moved. If it is shared out, the first
            process has it at the end, on the CPU, and the others are left without weights.
        train: what is trained on.
        validation: what epochs are compared on.
        recipe: how to train.
        labels: names of the classes.
        pad_token_id: of the tokenizer.
        device: that trains.
        precision: of matrix products.
        progress: where to say how far it is.
        checkpoints: of this very training: of another, they are not what it would come to.
        stopping: asked after each step whether to save and stop.
        devices: that train together; each calls this with the same arguments.
        recompute: whether activations are computed again in the backward pass; None: where memory is short.
        sharding: whether several devices share out the model; None: where it does not fit one GPU.
        compiling: whether the model's body is compiled where that can be.
        keep: save at the end too, since the result is not written yet.

    Raises:
        ConfigurationError: memory does not suffice, activations cannot be computed again, or the model cannot be
            shared out or compiled.
        DataError: a loss is not finite.
        TransientError: `stopping` said so; the next run goes on.
    """
    import torch
    from torch.nn import Linear

    pace = Pace()
    with said_plainly(), ExitStack() as stack:
        reason = _why_padded(model, device, precision)
        trained, devices = _placed(model, sharding, device, precision, devices)
        sharded = isinstance(devices, Shards)
        if sharded:
            progress.message(f"weights, gradients and moments are shared out among {devices.count} devices")
        mirror, casting = _mirror(trained, device, precision, padded=reason is not None, sharded=sharded)
        forward = stack.enter_context(_forward(mirror.stand_in, pad_token_id, pace, progress, reason))
        by_rows = device.type == "cpu" and not sharded
        touched = stack.enter_context(_touched(mirror, recipe)) if by_rows else None
        if device.type == "cpu":
            stack.enter_context(fast_dropout(mirror.stand_in))
        exactly = forward if mirror.stand_in is trained else stack.enter_context(unpadded(trained, pad_token_id))
        judging = _judging(exactly, device, casting, sharded=sharded)
        training = Training(
            mirror,
            train,
            recipe,
            forward=forward,
            touched=touched,
            padded=reason is not None,
            device=device,
            casting=casting,
            devices=devices,
            progress=progress,
            pace=pace,
        )
        pace.parameters = sum(module.weight.numel() for module in trained.modules() if isinstance(module, Linear))
        pace.peak = peak(device, precision)
        memory = training.settle(recompute)
        if memory.again:
            stack.enter_context(recomputed(mirror.stand_in))
        _tell_memory(progress, memory)
        compiling = compiling and _compiled(mirror, device, progress, stack, padded=reason is not None, sharded=sharded)
        if compiling:
            # On the same batch whenever the training is taken up: sums are cut up by the sizes of the first one.
            training.attempt()
        devices.draw_apart(recipe.seed, 0)
        _take_up(training, checkpoints)
        _train(training, judging, validation, labels, progress, checkpoints, stopping)
        if any(devices.any(keep and checkpoints.kept != training.curve.step)):
            checkpoints.save(training.curve.step, *training.saved())
            checkpoints.wait()
        if devices.first or not sharded:
            model.load_state_dict(training.best, assign=sharded)
    curve, state = training.curve, training.state
    return Fitted(
        curve.points,
        state.epochs,
        state.best,
        pace,
        memory,
        sharded,
        compiling,
        describe(device),
        torch.get_num_threads(),
    )


def _take_up(training: Training, checkpoints: Checkpoints) -> None:
    """Go on from the latest checkpoint; where there is none, find out how many threads are best."""
    import torch

    devices, progress, pace = training.devices, training.progress, training.pace
    threads, started = torch.get_num_threads(), time.perf_counter()
    saved = checkpoints.latest()
    devices.require_same(0 if saved is None else saved.step)
    if saved is not None:
        training.restore(saved.state, saved.tensors)
        progress.message(f"going on from the checkpoint at step {saved.step:,} of {training.steps:,}")
        # Whoever follows this process has seen nothing of the one before.
        for epoch in training.state.epochs:
            _tell(progress, epoch)
        pace.resuming = time.perf_counter() - started
    elif training.device.type == "cpu" and devices.count == 1:
        settle_threads(training.attempt, training.steps)
    if (settled := torch.get_num_threads()) != threads:
        progress.message(f"{settled} of {threads} threads are used")


def _why_padded(model: Any, device: torch.device, precision: Precision) -> str | None:
    """Why a training pads its batches, in words, or None if it does not."""
    if device.type == "cuda" and precision == "float32":
        return "attention without padding on a GPU takes no float32"
    return why_padded(model)


def _placed(
    model: Any, sharding: bool | None, device: torch.device, precision: Precision, devices: Devices
) -> tuple[Any, Devices]:
    """The model on the device, or this device's part of it; and those that train it, who know which."""
    if devices.count > 1 and (too_large(model, device, devices) if sharding is None else sharding):
        shards = shard(model, device, precision, devices)
        return shards.model, shards
    return model.to(device), devices


def _judging(
    forward: Forward, device: torch.device, casting: Callable[[], AbstractContextManager[None]], *, sharded: bool
) -> Forward:
    """What epochs are judged by: as it is, but as training runs where attention (on a GPU) or weights are bfloat16."""
    if device.type != "cuda" and not sharded:
        return forward

    def within(rows: Sequence[TokenIds]) -> torch.Tensor:
        with casting():
            return forward(rows)

    return within


@contextmanager
def _forward(model: Any, pad_token_id: int, pace: Pace, progress: Progress, reason: str | None) -> Iterator[Forward]:
    """Run the model without padding, or padded if there is a reason to."""
    if reason is None:
        with unpadded(model, pad_token_id, pace.see) as forward:
            yield forward
        return
    progress.message(f"batches are padded: {reason}")

    def padded(rows: Sequence[TokenIds]) -> torch.Tensor:
        inputs = {name: onto(model.device, tensor) for name, tensor in collate(rows, pad_token_id).items()}
        pace.real += sum(map(len, rows))
        pace.places += inputs["input_ids"].numel()
        logits: torch.Tensor = model(**inputs).logits
        return logits

    yield padded


def _mirror(
    model: Any, device: torch.device, precision: Precision, *, padded: bool, sharded: bool
) -> tuple[Mirror, Callable[[], AbstractContextManager[None]]]:
    """What runs in training, and the context that it runs in."""
    # Models that are padded may have parts that expect float32, which autocast knows about.
    if device.type == "cpu" and precision == "bf16" and not padded:
        # Of what is shared out, weights are gathered in bfloat16.
        return Mirror(model, model) if sharded else Mirror.in_bf16(model), nullcontext
    return Mirror(model, model), partial(autocast, device, precision)


def _compiled(
    mirror: Mirror, device: torch.device, progress: Progress, stack: ExitStack, *, padded: bool, sharded: bool
) -> bool:
    """Compile what runs in training if that can be; whether it can."""
    reason = why_not_compiled(device, padded=padded, sharded=sharded)
    if reason is None:
        stack.enter_context(compiled(mirror.stand_in))
        progress.message("the model's body is compiled, which takes a minute or more")
    else:
        progress.message(f"nothing is compiled: {reason}")
    return reason is None


@contextmanager
def _touched(mirror: Mirror, recipe: Recipe) -> Iterator[Touched | None]:
    model = mirror.model
    embedding = model.get_input_embeddings()
    name = next(name for name, parameter in model.named_parameters() if parameter is embedding.weight)
    if not embedding.weight.requires_grad:
        yield None
        return
    rate = learning_rate_of(model, name, recipe)
    with touched_only(model, mirror.stand_in, learning_rate=rate, weight_decay=recipe.weight_decay) as touched:
        yield touched


def _tell(progress: Progress, epoch: Mapping[str, float]) -> None:
    """Report what was measured on the validation side after an epoch."""
    measured = {f"validation_{name}": value for name, value in epoch.items() if name not in {"epoch", "step"}}
    progress.metrics(int(epoch["step"]), **measured)


def _train(
    training: Training,
    forward: Forward,
    validation: Examples,
    labels: Sequence[str],
    progress: Progress,
    checkpoints: Checkpoints,
    stopping: Callable[[], bool],
) -> None:
    recipe, state, curve, pace = training.recipe, training.state, training.curve, training.pace
    every, devices = math.ceil(training.steps / REPORTS), training.devices
    parts = Parts(validation.tokens.lengths, progress, VALIDATION_TOKENS, devices)

    def save() -> None:
        checkpoints.save(curve.step, *training.saved())

    judged: dict[str, float] = {}
    with progress.bar("training", total=training.steps) as advance:
        if state.reported:
            advance(state.reported)
        while state.epoch < recipe.epochs and not out_of_patience(state.epochs, state.best, recipe.patience):
            training.mirror.stand_in.train()
            started = time.perf_counter()
            for batch in training.epoch():
                training.update(batch)
                pace.first = pace.first or time.time()
                if curve.step % every == 0 or state.batch == training.batches:
                    point = curve.report(
                        recipe.learning_rate
                        * rate_share(curve.step - 1, training.steps, recipe.warmup, recipe.schedule)
                    )
                    pace.seconds += time.perf_counter() - started
                    started = time.perf_counter()
                    told = {**pace.values(), "memory_gb": memory_in_use(training.device) / 1e9}
                    advance(curve.step - state.reported, loss=point["loss"], **judged, **told, **training.left())
                    progress.metrics(curve.step, loss=point["loss"], learning_rate=point["learning_rate"], **told)
                    state.reported = curve.step
                stop, due = devices.any(stopping(), checkpoints.due())
                if stop:
                    save()
                    checkpoints.wait()
                    # Until it is written, none of them ends.
                    devices.any(False)
                    raise _stopped(curve.step, training.steps, checkpoints.kept)
                if due and state.batch < training.batches:
                    save()
            pace.seconds += time.perf_counter() - started
            found = validate(training.model, forward, validation, labels=labels, parts=parts, devices=devices)
            state.epochs.append({"epoch": state.epoch + 1, "step": curve.step, **found})
            _tell(progress, state.epochs[-1])
            judged = {f"validation_{recipe.select_by}": found[recipe.select_by]}
            if state.epoch == 0 or better(found, state.epochs[state.best], recipe.select_by):
                state.best = state.epoch
                training.best = {
                    name: devices.whole(tensor.detach()).cpu().clone()
                    for name, tensor in training.model.state_dict().items()
                }
            state.epoch, state.batch = state.epoch + 1, 0
            training.epoch_order = training.order.get_state()
            if any(devices.any(checkpoints.due())):
                save()
    checkpoints.wait()


def _tell_memory(progress: Progress, memory: Plan) -> None:
    if memory.again or memory.most is not None:
        again = "activations are computed again in the backward pass" if memory.again else ""
        parts = f"batches run in parts of {memory.most:,} tokens" if memory.most is not None else ""
        progress.message(
            f"{' and '.join(filter(None, (again, parts)))}: the largest would keep {memory.needed / 1e9:.2f} GB, and "
            f"{memory.free / 1e9:.2f} GB are free"
        )


def _stopped(step: int, steps: int, kept: int | None) -> TransientError:
    if kept == step:
        what, fix = "a checkpoint is kept", "run again: it goes on from there"
    elif kept is not None:
        what, fix = f"only the checkpoint of step {kept:,} is kept", "free space on that disk, then run again"
    else:
        what, fix = "no checkpoint could be written", "free space on that disk, then run again: it begins anew"
    return TransientError(f"stopped from outside after step {step:,} of {steps:,}; {what}", where="training", fix=fix)
