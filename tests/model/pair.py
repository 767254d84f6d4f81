"""Trainings that a test runs alone and as two processes: `python -m tests.model.pair FOLDER`, as torchrun would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from assets.errors import TransientError
from assets.model.checkpoints import Checkpoints
from assets.model.devices import Devices, devices_together
from assets.model.examples import Examples
from assets.model.loop import fit
from assets.model.recipe import Recipe
from assets.progress import Progress
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
        # 129 rows: the last batch has one row, which one of the two processes lacks.
        "a row that is left over": {"order": "random"},
        "weights and smoothing": {"class_weights": "balanced", "label_smoothing": 0.1, "layer_decay": 0.8},
        "batches of three": {"batch_size": 3, "epochs": 1},
    }
)
STOPPED = 7
"""Step after which a training is stopped that goes on with another number of processes."""


def examples(tokenizer: Any, count: int, seed: int) -> Examples:
    from assets.tasks.classification import encode_targets
    from assets.tasks.inputs import tokenize

    texts, labels = zip(*make_rows(count, seed), strict=True)
    return Examples(
        [str(at) for at in range(count)], labels, tokenize(tokenizer, texts, 32), encode_targets(labels, LABELS)
    )


def trained(
    folder: Path, devices: Devices, *, dropout: float = 0.0, stop_at: int | None = None, **changed: Any
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
    progress = Progress("model")
    steps = 0

    def stopping() -> bool:
        nonlocal steps
        steps += 1
        # Only one of them is told, as when somebody ends one process.
        return steps == stop_at and devices.rank == devices.count - 1

    try:
        fitted = fit(
            model,
            examples(tokenizer, 129, seed=1),
            examples(tokenizer, 60, seed=2),
            replace(RECIPE, **changed),
            labels=LABELS,
            pad_token_id=tokenizer.pad_token_id,
            device=torch.device("cpu"),
            precision="float32",
            progress=progress,
            checkpoints=Checkpoints(folder / "checkpoints", progress, writes=devices.first),
            stopping=stopping,
            devices=devices,
        )
    except TransientError:
        return {}
    return {
        "weights": {name: tensor.tolist() for name, tensor in model.state_dict().items()},
        "steps": fitted.steps,
        "epochs": fitted.epochs,
        "examples": fitted.pace.examples,
        "tokens": fitted.pace.tokens,
    }


def run_pair(folder: Path) -> None:
    """Run this module as two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.model.pair", str(folder)]
    both = [subprocess.Popen(command, env={**os.environ, **together, "RANK": str(rank)}) for rank in range(2)]
    assert [each.wait(240) for each in both] == [0, 0]


def main(folder: Path) -> None:
    """What each of the two processes does: all trainings, one after the other."""
    with devices_together() as devices:
        found = {name: trained(folder / name, devices, **changed) for name, changed in TRAININGS.items()}
        found["with dropout"] = trained(folder / "with dropout", devices, dropout=0.1)
        trained(folder / "two then two", devices, dropout=0.1, stop_at=STOPPED)
        found["two then two"] = trained(folder / "two then two", devices, dropout=0.1)
        trained(folder / "two then one", devices, stop_at=STOPPED)
        found["one then two"] = trained(folder / "one then two", devices)
        (folder / f"found-{devices.rank}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
