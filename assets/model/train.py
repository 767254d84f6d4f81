"""Fine-tuning as a step: reads the splits and the pretrained model, writes the fine-tuned one."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from assets.errors import ConfigurationError, FreshtuneError, StoreError
from assets.model.base import FIELD, fetch
from assets.model.checkpoints import Checkpoints
from assets.model.devices import devices_together
from assets.model.examples import Examples
from assets.model.loop import Fitted, fit
from assets.model.lora import adapt
from assets.model.recipe import Recipe, default_epochs, default_rates
from assets.model.rows import CHAMPION, HISTORY
from assets.model.starts import Start, Trained, best_of, starts_of
from assets.model.validation import SUMMARY
from assets.splits.rows import read_places
from assets.store.digests import write_json
from assets.store.program import STOP
from assets.store.step import Build, Measurements, Observation
from assets.tasks import classification as task
from assets.tasks.device import choose_device, choose_precision, describe, give_back, memory_in_use
from assets.tasks.loading import load_tokenizer, quiet
from assets.tasks.tokens import tokens_of


def train(
    build: Build,
    *,
    labels: Sequence[str],
    batch_size: int,
    epochs: int | None = None,
    learning_rate: float | None = None,
    head_learning_rate: float | None = None,
    warmup: float,
    weight_decay: float,
    max_tokens: int,
    max_gradient_norm: float,
    seed: int,
    select_by: str,
    schedule: Literal["linear", "cosine"] = "linear",
    layer_decay: float | None = None,
    label_smoothing: float | None = None,
    class_weights: Literal["balanced"] | None = None,
    patience: int | None = None,
    lora_rank: int | None = None,
    order: Literal["grouped", "random"] = "grouped",
    precision: Literal["auto", "bf16", "float32"],
    devices: int | Literal["all"] | None = None,
    activation_checkpointing: bool | None = None,
    sharding: bool | None = None,
    compile: bool = False,  # noqa: A002 - the name of the field
    start: Literal["champion", "either"] | None = None,
) -> Measurements:
    """Fine-tune the pretrained model; the arguments are the fields of `assets.config.pipeline.Training`.

    As many devices take part as `assets.model.launch`, which goes by `devices`, or `torchrun` started processes. The
    first process writes and returns the result, the others return nothing.

    Reads `splits`, the observation `base_model`, and where `start` asks for it those of `assets.model.parent`; writes
    `model/` and `history.json`. Keeps checkpoints in the work folder, and goes on from the latest one there.

    Raises:
        ConfigurationError: the pretrained model cannot be used for this task, or an argument does not suit it.
        DataError: a loss is not finite, or files of the pretrained model are damaged.
        StoreError: the result cannot be written.
        TransientError: the hub cannot be reached, or the process was told to stop.
    """
    import psutil
    import torch

    started = time.perf_counter()
    device = choose_device()
    settled = choose_precision(precision, device)
    starts, why = starts_of(build, start)

    def begun(each: Start) -> tuple[Any, Any]:
        # This program is a process of its own: nobody else draws from the global generator (the head's weights,
        # dropout).
        torch.manual_seed(seed)
        model, tokenizer = load_base(build.externals["base_model"], labels, max_tokens)
        each.give(model, labels)
        return model, tokenizer

    model, tokenizer = begun(starts[0])
    rows, validation = prepare(build, tokenizer, labels, max_tokens)
    body_rate, head_rate = default_rates(model, lora=lora_rank is not None)
    recipe = Recipe(
        epochs=epochs or default_epochs(len(rows.tokens), batch_size),
        batch_size=batch_size,
        learning_rate=learning_rate or body_rate,
        head_learning_rate=head_learning_rate or head_rate,
        warmup=warmup,
        weight_decay=weight_decay,
        max_gradient_norm=max_gradient_norm,
        seed=seed,
        select_by=select_by,
        schedule=schedule,
        layer_decay=layer_decay,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        patience=patience,
        order=order,
    )
    with _stopping(build.work / STOP) as stopping:
        with devices_together() as together:
            several = f", {together.count} processes together" if together.count > 1 else ""
            build.progress.message(f"training on {describe(device)} in {settled}{several}")
            trained: list[Trained] = []
            threads = torch.get_num_threads()
            for each in starts:
                torch.set_num_threads(threads)
                if model is None:
                    # It has the device for itself, as if it were trained alone.
                    give_back(device)
                    model, _ = begun(each)
                if start is not None:
                    build.progress.message(each.said(labels, why))
                lora = None if lora_rank is None else adapt(model, lora_rank)
                fitted = fit(
                    model,
                    rows,
                    validation,
                    recipe,
                    labels=labels,
                    pad_token_id=tokenizer.pad_token_id,
                    device=device,
                    precision=settled,
                    progress=build.progress,
                    checkpoints=Checkpoints(
                        build.work / each.checkpoints, build.progress, device=device.type, writes=together.first
                    ),
                    stopping=stopping,
                    devices=together,
                    recompute=activation_checkpointing,
                    sharding=sharding,
                    compiling=compile,
                    keep=each is not starts[-1],
                )
                if together.first:
                    trained.append(Trained(each, model if len(starts) == 1 else model.to("cpu"), lora, fitted))
                model = lora = None
        if not together.first:
            return {}
        chosen = best_of(trained, select_by, build.progress)
        model, fitted = chosen.model, chosen.fitted
        if chosen.lora is not None:
            chosen.lora.merge_and_unload()
        _save(build.content, model, tokenizer, chosen.history(trained))
        _draw(build.trace / "curve.png", fitted, "f1_macro" if select_by == "loss" else select_by)
        timing = {
            "device": fitted.device,
            "threads": fitted.threads,
            "devices": together.count,
            "sharding": fitted.sharding,
            "compiled": fitted.compiled,
            "precision": settled,
            "activation_checkpointing": fitted.memory.again,
            "part_tokens": fitted.memory.most,
            "seconds": time.perf_counter() - started,
            "training_seconds": fitted.pace.seconds,
            # From the start of the process, imports included; none if it was taken up behind the last step.
            "seconds_to_first_step": fitted.pace.first - psutil.Process().create_time() if fitted.pace.first else None,
            "resuming_seconds": fitted.pace.resuming,
            "memory_gb": memory_in_use(device) / 1e9,
            **fitted.pace.values(),
        }
        write_json(build.trace / "timing.json", timing)
        commonest = max(labels, key=list(validation.labels).count)
        constant = task.metrics(validation.labels, [commonest] * len(validation.labels), labels)
        best = fitted.epochs[fitted.best]
        told = {} if start is None else chosen.told(trained, build.externals[CHAMPION], why)
        return {
            "best_epoch": best["epoch"],
            "validation": {name: best[name] for name in ("loss", *SUMMARY)},
            "constant": {name: constant[name] for name in SUMMARY},
            "epochs": recipe.epochs,
            "steps": fitted.epochs[-1]["step"],
            "train_rows": len(rows.tokens),
            "parameters": model.num_parameters(),
            "learning_rate": recipe.learning_rate,
            "head_learning_rate": recipe.head_learning_rate,
            **{name: timing[name] for name in ("device", "devices", "precision", "seconds", "training_seconds")},
            "memory_gb": timing["memory_gb"],
            **fitted.pace.values(),
            **told,
        }


@contextmanager
def _stopping(told: Path) -> Iterator[Callable[[], bool]]:
    """Whether to save and end: a file is there, or SIGTERM or the keyboard said so since.

    To be left when the result is written: once training is done there is nothing to stop, and what is left is short.
    """
    asked = threading.Event()

    def stopping() -> bool:
        return asked.is_set() or told.exists()

    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def load_base(seen: Observation, labels: Sequence[str], max_tokens: int) -> tuple[Any, Any]:
    """Load the pretrained model with a new head, and its tokenizer set to cut off at `max_tokens`.

    Raises:
        ConfigurationError: transformers cannot classify texts with it, or it takes fewer tokens.
        DataError: files are damaged or do not fit each other.
        TransientError: the hub cannot be reached.
    """
    from safetensors import SafetensorError

    folder = fetch(seen)
    try:
        tokenizer = load_tokenizer(folder)
        model = task.pretrained(folder, labels)
    except FreshtuneError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigurationError(
            f"transformers cannot load {seen.location} as a text classifier: {error}",
            where=FIELD,
            fix="use an architecture that AutoModelForSequenceClassification knows without code of its own "
            "(BERT, RoBERTa, DistilBERT, DeBERTa, ModernBERT, …)",
        ) from error
    if tokenizer.pad_token_id is None:
        raise ConfigurationError(
            f"the tokenizer of {seen.location} has no padding token", where=FIELD, fix="use an encoder, such as BERT"
        )
    most = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", tokenizer.model_max_length))
    if max_tokens > most:
        raise ConfigurationError(
            f"{max_tokens} is more tokens than {seen.location} takes (accepted: 8 to {most})",
            where="training.max_tokens",
            fix=f"set it to {most} or less",
        )
    # Saved with the model, so that whoever predicts cuts off where training did.
    tokenizer.model_max_length = max_tokens
    return model, tokenizer


def prepare(build: Build, tokenizer: Any, labels: Sequence[str], max_tokens: int) -> tuple[Examples, Examples]:
    """Rows of train and validation with their tokens, which are found where any training has made them before."""
    sides = ("train", "validation")
    found = []
    for side, tokens in zip(sides, tokens_of(build, sides, tokenizer, max_tokens), strict=True):
        rows = read_places(build.inputs["splits"], side)
        row_ids, names = rows["row_id"].to_pylist(), rows["label"].to_pylist()
        found.append(Examples(row_ids, names, tokens, task.encode_targets(names, labels)))
    train, validation = found
    return train, validation


def _save(content: Path, model: Any, tokenizer: Any, history: Mapping[str, Any]) -> None:
    from safetensors import SafetensorError

    folder = content / "model"
    try:
        with quiet():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise StoreError(
            f"the model cannot be written: {error}", where=str(folder), fix="free space on that disk, then run again"
        ) from error
    write_json(content / HISTORY, history)


def _draw(path: Path, fitted: Fitted, shown: str) -> None:
    """Draw the training loss, and the validation loss and metric of each epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    losses = figure.subplots()
    losses.plot(
        [point["step"] for point in fitted.steps],
        [point["loss"] for point in fitted.steps],
        lw=1,
        label="training loss",
    )
    ends = [epoch["step"] for epoch in fitted.epochs]
    losses.plot(ends, [epoch["loss"] for epoch in fitted.epochs], "o-", label="validation loss")
    losses.set(xlabel="training step", ylabel="loss (nats)", ylim=(0, None))
    metric = losses.twinx()
    metric.plot(ends, [epoch[shown] for epoch in fitted.epochs], "s--", color="tab:green", label=f"validation {shown}")
    metric.axvline(ends[fitted.best], color="grey", lw=0.8, ls=":")
    metric.set(ylabel=shown)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=120)
