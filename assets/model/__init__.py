"""The fine-tuning program: the pretrained model, batches, the training loop, the best checkpoint.

`python -m assets.model SPEC.json` runs it by hand from the file that the chain writes for it.
"""

from __future__ import annotations

from typing import Any

from assets.model.base import observe
from assets.store.step import Check, Measurements, Outcome, Step


def libraries(config: Any) -> tuple[str, ...]:
    """Further libraries of the training that is configured."""
    return () if config.training.lora_rank is None else ("peft",)


def _learned(measurements: Measurements, config: Any) -> Outcome:
    metric = "f1_macro" if config.training.select_by == "loss" else config.training.select_by
    found, constant = measurements["validation"][metric], measurements["constant"][metric]
    return Outcome(
        found > constant,
        f"validation {metric} is {found:.4f}; always answering the commonest label gives {constant:.4f}",
        {metric: found, f"constant_{metric}": constant},
    )


STEP = Step(
    name="model",
    description="Fine-tunes the pretrained model on the train side; keeps the epoch that is best on validation.",
    function="assets.model.train:train",
    inputs=("splits", "search"),
    configuration=("task.labels", "training"),
    externals=observe,
    # Further libraries only read data or draw pictures.
    environment=("torch", "transformers", "tokenizers"),
    libraries=libraries,
    recorded="assets.model.parent:choose",
    program="assets.model",
    accelerator=True,
    checks=(
        Check(
            "learned_something",
            "The best epoch beats always answering the commonest label, on the validation side.",
            _learned,
        ),
    ),
    kinds=("pytorch", "huggingface"),
)
