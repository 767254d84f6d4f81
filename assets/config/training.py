"""How the model is fine-tuned."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from assets.config.section import OfTheMachine, Section

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Start = Literal["base", "champion", "either"]


def _unset_if_base(start: Start | None) -> Start | None:
    # What is unset is in no key.
    return None if start == "base" else start


class Training(Section):
    """How the model is fine-tuned."""

    epochs: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Passes over the training rows, or null for 3, and with few rows as many more as make 500 steps, at most 20."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Examples in an optimizer step."""
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Peak learning rate of the pretrained body, or null for one by its size: 1e-4 up to 40 million weights without
    embeddings (MiniLM), 5e-5 up to 200 million (BERT-base), 2e-5 above; with `lora_rank` ten times as much."""
    head_learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Peak learning rate of the new head, or null for ten times that of a body of its size: 1e-3, 5e-4, 2e-4."""
    warmup: Share = 0.06
    """Share of the steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    """Decoupled weight decay; norms and biases have none."""
    max_tokens: Annotated[int, Field(ge=8)] = 128
    """Longest text in tokens; the rest is cut off."""
    max_gradient_norm: Annotated[float, Field(gt=0.0)] = 1.0
    """Gradients are scaled down to this norm."""
    seed: int = 0
    """Seed of the head's weights, of dropout and of the order of batches."""
    select_by: Literal["loss", "accuracy", "f1_macro", "precision_macro", "recall_macro"] = "loss"
    """Validation metric by which the best checkpoint is chosen: `loss` (lowest) tells epochs apart that a count of
    right answers on few rows does not; the others are highest."""
    start: Annotated[Start | None, AfterValidator(_unset_if_base)] = None
    """Weights to start from: the pretrained model's (`base`, or null), the champion's, or `either`: it is trained from
    both, and what is better on validation by `select_by` is the challenger. Which champion it was is recorded, and in
    no key: see docs/training.md."""
    schedule: Literal["linear", "cosine"] = "linear"
    """How the learning rate falls after `warmup`: on a line, or as half a cosine."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Factor of the learning rate from each layer of the body to the one below it, or null for the same in all."""
    label_smoothing: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Share of the target that is spread over all labels, or null."""
    class_weights: Literal["balanced"] | None = None
    """`balanced`: rows of rare labels weigh more in the loss, each label as much as any other; or null."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a better one after which training stops, or null to train all of them. The best one is kept."""
    lora_rank: Annotated[int, Field(ge=1, le=512)] | None = None
    """Rank of the updates that are trained in place of the body's weights (LoRA, by peft), 8 to 32 say, or null to
    train all weights. They are merged into the weights at the end."""
    order: Literal["grouped", "random"] = "grouped"
    """Batches of texts of like length in random order, which is faster, or rows wholly at random."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """`auto`: bfloat16 autocast where the device computes it natively, else float32. Weights are float32 always."""
    devices: Annotated[Annotated[int, Field(ge=1)] | Literal["all"] | None, OfTheMachine()] = None
    """GPUs that train together, each a share of every batch: so many, `all` that the machine has, or null for one. On a
    machine without GPUs so many processes. How a machine is used makes nothing stale: see docs/devices.md."""
    activation_checkpointing: Annotated[bool | None, OfTheMachine()] = None
    """Whether activations are computed again in the backward pass, which keeps less in memory for about a third more
    work; null: where the memory that is free when training begins would not do. It comes to the same."""
    sharding: Annotated[bool | None, OfTheMachine()] = None
    """Whether `devices` share out weights, gradients and moments, each keeping a part of them, which takes more time;
    null: where they would not fit one GPU. See docs/devices.md."""
    compile: Annotated[bool, OfTheMachine()] = False
    """Whether `torch.compile` makes one function of the model's body, for GPUs: it takes a minute or more when training
    begins, and steps of small models less time. On a CPU, and where batches are padded, a message says that nothing is
    compiled. See docs/devices.md."""

    @model_validator(mode="after")
    def _shared_out_among_several(self) -> Self:
        if self.sharding and self.devices in (None, 1):
            raise ValueError(
                f"sharding true needs several devices, and devices is {self.devices or 'null, which is one'} "
                "(accepted: 2 or more, or all); fix: set devices, or leave sharding out"
            )
        return self

    @model_validator(mode="after")
    def _shared_out_or_compiled(self) -> Self:
        if self.sharding and self.compile:
            raise ValueError(
                "sharding true excludes compile true: a model that is shared out is gathered layer by layer, and "
                "compiled as a whole; fix: leave one of them out"
            )
        return self
