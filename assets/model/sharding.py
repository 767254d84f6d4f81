"""A model shared out among the devices that train it, where it does not fit one: weights, gradients and moments.

By `torch.distributed.fsdp.fully_shard` (FSDP2; Zhao et al. 2023): each process keeps a part of every tensor. What a
layer needs is gathered when it runs, forwards and backwards, and gone when it has run; its gradients are summed into
the parts. Gathering takes all processes, in the same order, so a batch is run in as many parts by all of them, and all
try again where one runs out of memory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assets.errors import ConfigurationError
from assets.model.activations import MARGIN, OF_TRAINED, layers_of
from assets.model.devices import Devices, none_gone
from assets.tasks.device import Precision

if TYPE_CHECKING:
    import torch

FIELD = "training.sharding"
TORCH = "2.13"
"""The first version of torch whose `fully_shard` can begin anew after memory ran out."""
OF_GATHERED = 16
"""Bytes for each weight of the largest layer, most: as it was gathered, as it runs, its gradient, and that to be
summed."""
ELSEWHERE = "it ran out on another device"


@dataclass(frozen=True)
class Shards(Devices):
    """Processes that share out a model.

    Attributes:
        model: the part of this process. It is run as if it were whole.
        largest: weights that are gathered at once, most.
    """

    model: Any = None
    largest: int = 0

    def reduce(self, gradients: Sequence[torch.Tensor], loss: torch.Tensor) -> torch.Tensor:
        """Sum the loss, in place: gradients were summed when they were computed; see `Devices.reduce`."""
        import torch
        from torch.distributed.tensor import DTensor

        self.add([loss])
        norm = torch.nn.utils.get_total_norm(gradients)
        assert isinstance(norm, DTensor)
        with none_gone():
            found: torch.Tensor = norm.full_tensor()
        return found

    def agreed(self, *numbers: int) -> tuple[int, ...]:
        """The most that any process needs."""
        return tuple(map(int, self.most(*numbers)))

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Where one runs out of memory, all do: at the next tensor that is to be gathered or summed."""
        import torch

        try:
            yield
            self.go_on()
        except torch.OutOfMemoryError as error:
            if ELSEWHERE not in error.args:
                self.any(True)
            # Gradients of what is gathered at the moment, which would be added to.
            self.model.zero_grad()
            self.model.reset_iter_state()
            raise

    def go_on(self) -> None:
        """Make sure that no process has run out of memory; those that are at work ask at the same points."""
        import torch

        if any(self.any(False)):
            raise torch.OutOfMemoryError(ELSEWHERE)

    def kept(self, weights: int) -> int:
        """Of so many weights those that a process keeps."""
        return -(-weights // self.count)

    def in_passing(self) -> int:
        """Bytes of what is gathered."""
        return OF_GATHERED * self.largest

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor brought together, on the CPU of the first process; all of them take part."""
        from torch.distributed.tensor import DTensor

        if not isinstance(tensor, DTensor):
            return tensor
        with none_gone():
            found: torch.Tensor = tensor.full_tensor().detach()
        return found.cpu() if self.first else found.new_empty(0)

    def fill(self, tensor: torch.Tensor, whole: torch.Tensor) -> None:
        """Set the part of this process."""
        from torch.distributed.tensor import DTensor

        if not isinstance(tensor, DTensor):
            super().fill(tensor, whole)
            return
        parts = whole.chunk(self.count)
        # Of a bias with fewer numbers than there are processes some have none.
        super().fill(tensor.to_local(), parts[self.rank] if self.rank < len(parts) else whole[:0])


def too_large(model: Any, device: torch.device, devices: Devices) -> bool:
    """Whether a model does not fit one of these GPUs with its gradients and moments.

    Args:
        model: not on the device yet.
        device: of this process. On a CPU it fits: what processes share out there lies in the same memory.
        devices: that train together.
    """
    import torch

    if device.type != "cuda":
        return False
    weights = sum(weight.numel() for weight in model.parameters())
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    free = devices.least_free(torch.cuda.mem_get_info(device)[0])
    return bool(4 * weights + OF_TRAINED["cuda"] * trained > MARGIN * free)


def shard(model: Any, device: torch.device, precision: Precision, devices: Devices) -> Shards:
    """Share out a model.

    Args:
        model: a `PreTrainedModel` on the CPU. Its weights are taken away: nobody holds them whole from here on, until
            `load_state_dict` with `assign=True` gives it others.
        device: of this process.
        precision: of matrix products. What is kept is float32, and so is what is summed.
        devices: at least two.

    Raises:
        ConfigurationError: it cannot be shared out layer by layer.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    if torch.__version__ < TORCH:
        raise ConfigurationError(
            f"needs torch {TORCH} or later, and this is {torch.__version__}",
            where=FIELD,
            fix="install a later one, or leave it out if the model fits one device",
        )
    if not layers_of(model):
        raise ConfigurationError(
            f"{model.config.model_type} of this version of transformers has no layers that could be shared out",
            where=FIELD,
            fix="leave it out: each device keeps the whole model",
        )
    # The same weights, which are its own when the model has no more of them.
    part = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
    model._apply(lambda tensor: tensor.to("meta") if isinstance(tensor, torch.nn.Parameter) else tensor)
    # Word embeddings by themselves: they may be larger than all layers together.
    groups = [*layers_of(part), part.get_input_embeddings()]
    sizes = [sum(weight.numel() for weight in group.parameters()) for group in groups]
    rest = sum(weight.numel() for weight in part.parameters()) - sum(sizes)
    shards = Shards(devices.rank, devices.count, part, max(*sizes, rest))
    gather = _Collective(torch.distributed.all_gather_single, shards.go_on)
    scatter = _Collective(torch.distributed.reduce_scatter_single, shards.go_on)
    running = torch.bfloat16 if precision == "bf16" else None
    policy = MixedPrecisionPolicy(param_dtype=running, reduce_dtype=torch.float32, cast_forward_inputs=False)
    mesh = init_device_mesh(device.type, (devices.count,))
    for group in (*groups, part):
        sharded = fully_shard(group, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
        sharded.set_custom_all_gather(gather)
        sharded.set_custom_reduce_scatter(scatter)
        # Losses are divided by what the whole batch weighs: gradients are summed, and no mean is taken of them.
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)
    return shards


@dataclass(frozen=True)
class _Collective:
    """What brings tensors together, for `fully_shard`; nobody waits for one that has run out of memory."""

    run: Callable[..., Any]
    go_on: Callable[[], None]

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        import torch

        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, **settings: Any) -> Any:
        self.go_on()
        with none_gone():
            return self.run(output_tensor, input_tensor, **settings)
