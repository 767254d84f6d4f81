"""Trainings that a test runs alone and as two processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from assets.errors import ConfigurationError, TransientError
from assets.model.checkpoints import Checkpoints
from assets.model.devices import Devices, devices_together
from assets.model.examples import Examples
from assets.model.loop import fit
from assets.model.lora import adapt
from assets.model.recipe import Recipe
from assets.model.stepping import Training
from assets.progress import Progress, Sink, discard
from assets.tasks.device import Precision
from tests.tiny import LABELS, make_base_model, make_rows

RECIPE = Recipe(
    epochs=2,
    batch_size=16,
    learning_rate=5e-3,
    head_learning_rate=5e-3,
    warmup=0.1,
    weight_decay=0.01,
    max_gradient_norm=1.0,
    seed=0,
    select_by="loss",
)
TRAININGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "plain": {},
        # 65 rows: the last batch has one row, which one of the two processes lacks.
        "a row that is left over": {"order": "random"},
        "weights and smoothing": {"class_weights": "balanced", "label_smoothing": 0.1, "layer_decay": 0.8},
        "batches of three": {"batch_size": 3, "epochs": 1},
    }
)
STOPPED = 3
"""Step after which a training is stopped that goes on with another number of processes."""


class RunsOut:
    """Lets training run out of memory where a part has more than so many tokens, after its forward pass.

    Attributes:
        times: how often it did.
    """

    def __init__(self, patch: Callable[[type, str, Any], None], most: int = 60) -> None:
        import torch

        self.times, computed = 0, Training._gradients_of

        def gradients_of(training: Training, parts: Sequence[tuple[list[int], float]]) -> Any:
            for part, _ in parts:
                if sum(training.train.tokens.lengths[at] for at in part) > most:
                    self.times += 1
                    training.forward([training.train.tokens[at] for at in part]).sum().backward()  # type: ignore[no-untyped-call]
                    raise torch.OutOfMemoryError("tried to allocate 2 GiB")
            return computed(training, parts)

        patch(Training, "_gradients_of", gradients_of)


def alike(found: dict[str, Any], alone: dict[str, Any]) -> None:
    """Whether two trainings came to the same within rounding."""
    import torch

    for name, weights in alone["weights"].items():
        if name.endswith("key.bias"):
            # Softmax does not see it: its gradient is rounding alone, of which Adam makes whole steps.
            continue
        torch.testing.assert_close(torch.tensor(found["weights"][name]), torch.tensor(weights), rtol=1e-4, atol=1e-5)
    for what in ("steps", "epochs"):
        assert len(found[what]) == len(alone[what])
        for one, other in zip(found[what], alone[what], strict=True):
            assert one == pytest.approx(other, rel=1e-4)
    assert (found["examples"], found["tokens"]) == (alone["examples"], alone["tokens"])


def examples(tokenizer: Any, count: int, seed: int) -> Examples:
    from assets.tasks.classification import encode_targets
    from assets.tasks.tokens import tokenize

    texts, labels = zip(*make_rows(count, seed), strict=True)
    return Examples(
        [str(at) for at in range(count)], labels, tokenize(tokenizer, texts, 32), encode_targets(labels, LABELS)
    )


def trained(
    folder: Path,
    devices: Devices,
    *,
    dropout: float = 0.0,
    stop_at: int | None = None,
    recompute: bool | None = None,
    sharding: bool | None = None,
    compiling: bool = False,
    precision: Precision = "float32",
    lora_rank: int | None = None,
    sink: Sink = discard,
    **changed: Any,
) -> dict[str, Any]:
    """Weights and history of a training whose checkpoints are in a folder; of one that was stopped nothing."""
    import torch

    from assets.tasks.classification import pretrained
    from assets.tasks.loading import load_tokenizer

    base = folder.parent / "base"
    if not base.exists():
        make_base_model(base)
    torch.manual_seed(0)
    model, tokenizer = pretrained(base, LABELS), load_tokenizer(base)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    if lora_rank is not None:
        adapt(model, lora_rank)
    progress = Progress("model", sink)
    steps = 0

    def stopping() -> bool:
        nonlocal steps
        steps += 1
        # Only one of them is told, as when somebody ends one process.
        return steps == stop_at and devices.rank == devices.count - 1

    try:
        fitted = fit(
            model,
            examples(tokenizer, 65, seed=1),
            examples(tokenizer, 60, seed=2),
            replace(RECIPE, **changed),
            labels=LABELS,
            pad_token_id=tokenizer.pad_token_id,
            device=torch.device("cpu"),
            precision=precision,
            progress=progress,
            checkpoints=Checkpoints(folder / "checkpoints", progress, device="cpu", writes=devices.first),
            stopping=stopping,
            devices=devices,
            recompute=recompute,
            sharding=sharding,
            compiling=compiling,
        )
    except TransientError:
        return {}
    return {
        # Of a model that was shared out, the first process alone has them.
        "weights": {name: each.tolist() for name, each in model.state_dict().items() if not each.is_meta},
        "steps": fitted.steps,
        "epochs": fitted.epochs,
        "seed": torch.initial_seed(),
        "examples": fitted.pace.examples,
        "tokens": fitted.pace.tokens,
        "places": fitted.pace.places,
    }


def main(folder: Path) -> None:
    """What each of the two processes does: all trainings, one after the other."""
    with devices_together() as devices:
        found = {name: trained(folder / name, devices, **changed) for name, changed in TRAININGS.items()}
        found["with dropout"] = trained(folder / "with dropout", devices, dropout=0.1)
        trained(folder / "two then two", devices, dropout=0.1, stop_at=STOPPED)
        found["two then two"] = trained(folder / "two then two", devices, dropout=0.1)
        trained(folder / "two then one", devices, stop_at=STOPPED)
        found["one then two"] = trained(folder / "one then two", devices)
        with pytest.raises(ConfigurationError) as refused:
            trained(folder / ("nothing" if devices.first else "two then two"), devices)
        found["apart"] = {"weights": str(refused.value), "epochs": []}
        runs_out = None if devices.first else RunsOut(setattr)
        found["one runs out of memory"] = trained(folder / "one runs out of memory", devices)
        assert runs_out is None or runs_out.times
        (folder / f"found-{devices.rank}.json").write_text(json.dumps(found), encoding="utf-8")
