"""What training keeps of each token until the backward pass: measured, and computed again where memory is short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.tasks.inputs import TokenIds
from assets.tasks.unpadded import Forward

if TYPE_CHECKING:
    import torch

MARGIN = 0.8
"""Share of the free memory that is counted on: kernels need some too, and what is freed is not all of use."""
OF_TRAINED = {"cuda": 12, "cpu": 22}
"""Bytes for each weight that is trained, beside activations: its gradient and two moments; on a CPU the copy of the
moments that a checkpoint is written from as well, and the gradient of the weight's copy in bfloat16."""
OF_ALL = {"cuda": 0, "cpu": 12}
"""Bytes for each weight, trained or not: on a CPU the best weights so far, and the copies of both for a checkpoint."""
CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Where a container's limit and its use are told, by version of control groups; `memory.stat` lies beside them."""


@dataclass(frozen=True)
class Plan:
    """How activations fit into memory.

    Attributes:
        again: whether those within a layer are computed again in the backward pass.
        most: tokens in a part of a batch, or None for as many as a batch has.
        needed: bytes that the largest batch keeps if all activations are kept.
        free: bytes that there are for them.
    """

    again: bool
    most: int | None
    needed: int
    free: int


def plan(each: float, layer: float, tokens: int, free: float, wanted: bool | None, *, possible: bool) -> Plan:
    """Settle how a batch is run.

    Args:
        each: bytes that are kept of each token.
        layer: of these, what is kept if a layer's activations are computed again, one layer's own included.
        tokens: of the largest batch.
        free: bytes.
        wanted: whether to compute them again; None: if memory would not suffice otherwise.
        possible: whether the model can.
    """
    again = possible and (each * tokens > free if wanted is None else wanted)
    held = layer if again else each
    # Down to a power of two: other bits come of other parts, and what is free differs a little from run to run.
    most = None if held * tokens <= free else 1 << max(1, int(free / held)).bit_length() - 1
    return Plan(again, most, int(each * tokens), int(free))


def kept(model: Any, forward: Forward, tokens: TokenIds) -> tuple[float, float]:
    """Measure the bytes that are kept of each token of a text: all activations, and with `recomputed`.

    Args:
        model: in training mode.
        forward: runs it.
        tokens: of the longest text: attention on a CPU keeps more of each token the longer the text.
    """
    one, two = (_kept(forward, [tokens] * count) for count in (1, 2))
    # What does not depend on the batch, such as weights, is in both.
    each = (two - one) / len(tokens)
    layers: int = model.config.num_hidden_layers
    return each, 4 * model.config.hidden_size * layers + each / layers


def _kept(forward: Forward, rows: Sequence[TokenIds]) -> int:
    import torch

    held: dict[int, torch.UntypedStorage] = {}

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        # Named, so that all of it is there until it is counted. Weights that are shared out among devices are not:
        # they are gathered again.
        logits = forward(rows)
    found = sum(storage.nbytes() for storage in held.values())
    del logits
    return found


def free_memory(device: torch.device, trained: int, weights: int, processes: int) -> float:
    """Bytes that there are for activations.

    Args:
        device: that trains.
        trained: numbers that are trained.
        weights: all numbers of the model.
        processes: that share the memory of a CPU.
    """
    import torch

    reserved = OF_TRAINED[device.type] * trained + OF_ALL[device.type] * weights
    if device.type == "cuda":
        return MARGIN * (torch.cuda.mem_get_info(device)[0] - reserved)
    import psutil

    free = psutil.virtual_memory().available
    for limit, use in CONTAINER:
        if Path(limit).exists() and Path(limit).read_text(encoding="ascii").strip().isdecimal():
            used = int(Path(use).read_text(encoding="ascii")) - _cached(Path(use).with_name("memory.stat"))
            free = min(free, int(Path(limit).read_text(encoding="ascii")) - used)
    return MARGIN * (free / processes - reserved)


def _cached(path: Path) -> int:
    """Bytes of a container's use that are files kept in memory: they make room when something else needs it."""
    told = dict(line.split() for line in path.read_text(encoding="ascii").splitlines())
    # The first version tells those of the groups within apart.
    return sum(int(told.get(f"total_{name}", told[name])) for name in ("inactive_file", "active_file"))


def layers_of(model: Any) -> list[Any]:
    """The layers whose activations can be computed again."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


@contextmanager
def recomputed(model: Any) -> Iterator[None]:
    """Let a model keep only what goes into each layer for a while, and compute the rest again in the backward pass.

    It comes to the same bits: dropout draws the same numbers again.
    """
    from torch.utils.checkpoint import checkpoint

    layers = layers_of(model)
    again = partial(checkpoint, use_reentrant=False)
    for layer in layers:
        layer.gradient_checkpointing, layer._gradient_checkpointing_func = True, again
    try:
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = False
            del layer._gradient_checkpointing_func
