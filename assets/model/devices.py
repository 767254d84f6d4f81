"""The processes of one training: each has a device and takes its share of every batch; gradients are summed.

What a process computes is divided by what the whole batch weighs before it is summed, so unequal shares are exact. All
draw the same batches, reduce the same gradients and so hold the same weights; nothing is sent but gradients and a few
numbers. Not `DistributedDataParallel`: it sums while gradients are computed, so a process that runs out of memory and
tries again in smaller parts, or has no row of a batch, would leave the others waiting for it.

Where the weights do not fit one device, `assets.model.sharding` has processes of another kind.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    import torch

LOST = 75
"""Exit code of a process that lost the others: whoever failed first says why."""
BUCKET = 1 << 23
"""Numbers that are summed at once: 32 MB of float32, enough for the links to be busy."""


@dataclass(frozen=True)
class Devices:
    """The processes that train together, seen from one of them.

    Attributes:
        rank: which this one is, counted from 0.
        count: how many they are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes checkpoints and the result, and reports."""
        return self.rank == 0

    def share(self, batch: Sequence[int], lengths: Sequence[int]) -> list[int]:
        """The rows of a batch that are this process's: texts of like length, alike in tokens for all processes.

        Args:
            batch: positions of rows.
            lengths: tokens of each row of the batch.
        """
        if self.count == 1:
            return list(batch)
        mine, before, total = [], 0, sum(lengths)
        for row, length in sorted(zip(batch, lengths, strict=True), key=lambda each: each[1]):
            # Whose part of all tokens the middle of this text lies in.
            if (2 * before + length) * self.count // (2 * total) == self.rank:
                mine.append(row)
            before += length
        return mine

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Sum each tensor over all processes, in place; they have the same shapes everywhere."""
        import torch

        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in bucket])
            with none_gone():
                torch.distributed.all_reduce(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in bucket])
            for tensor, summed in zip(bucket, parts, strict=True):
                tensor.detach().copy_(summed.view_as(tensor))

    def reduce(self, gradients: Sequence[torch.Tensor], loss: torch.Tensor) -> torch.Tensor:
        """Sum what each has computed over all processes, in place.

        Returns:
            Norm of the summed gradients, all of them together.
        """
        import torch

        self.add([*gradients, loss])
        return torch.nn.utils.get_total_norm(gradients)

    def most(self, *numbers: float) -> tuple[float, ...]:
        """The most that any of the processes has of each; does not wait for a GPU."""
        import torch

        if self.count == 1:
            return numbers
        found = torch.tensor(numbers, dtype=torch.float64)
        with none_gone():
            torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        return tuple(found.tolist())

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Whether each holds for any of the processes; does not wait for a GPU."""
        return tuple(map(bool, self.most(*flags)))

    def joined(self, numbers: torch.Tensor, most: int) -> torch.Tensor:
        """All numbers that any process has, ascending.

        Args:
            numbers: distinct, ascending, on the CPU.
            most: they are less than that.
        """
        import torch

        if self.count == 1:
            return numbers
        there = torch.zeros(most, dtype=torch.uint8)
        there[numbers] = 1
        with none_gone():
            torch.distributed.all_reduce(there, torch.distributed.ReduceOp.MAX)
        return there.nonzero().view(-1)

    def gathered(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """A tensor on the CPU of the same shape everywhere, from each process."""
        import torch

        if self.count == 1:
            return [tensor]
        found = [torch.empty_like(tensor) for _ in range(self.count)]
        with none_gone():
            torch.distributed.all_gather(found, tensor)
        return found

    def require_same(self, step: int) -> None:
        """Make sure that all go on from the same step.

        Raises:
            ConfigurationError: they do not.
        """
        import torch

        steps = sorted({int(each) for each in self.gathered(torch.tensor(step))})
        if len(steps) > 1:
            raise ConfigurationError(
                f"the processes that train together find different checkpoints: of steps {', '.join(map(str, steps))}",
                where="training.devices",
                fix="on several machines give them a work folder that all of them see",
            )

    def kept(self, weights: int) -> int:
        """Of so many weights those that a process keeps."""
        return weights

    def in_passing(self) -> int:
        """Bytes of weights that a process has for a while beside those that it keeps, most."""
        return 0

    def least_free(self, free: float) -> float:
        """Bytes that are free on the device that has the least of them."""
        return -self.most(-free)[0]

    def agreed(self, *numbers: int) -> tuple[int, ...]:
        """What a batch is run by, from what would do for this process: nobody waits for it while it runs."""
        return numbers

    def attempt(self) -> AbstractContextManager[None]:
        """What a batch is run in: memory may run out, and it is tried again."""
        return nullcontext()

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of the model or its optimizer, as the first process writes it."""
        return tensor

    def fill(self, tensor: torch.Tensor, whole: torch.Tensor) -> None:
        """Set a tensor of the model or its optimizer to what `whole` gave."""
        tensor.detach().copy_(whole)

    def draw_apart(self, seed: int, step: int) -> None:
        """Let all processes but the first draw numbers of their own from here on: dropout differs between them."""
        import torch

        if not self.first:
            torch.manual_seed(random.Random(f"{seed} {step} {self.rank}").getrandbits(63))  # noqa: S311 - no secret


ALONE = Devices()
"""One process, which has every row."""


@contextmanager
def devices_together() -> Iterator[Devices]:
    """Join the processes that `torchrun` started with this one, each with a GPU of its own where there are any.

    Raises:
        TransientError: they do not reach each other.
    """
    import torch

    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
    except RuntimeError as error:
        raise TransientError(
            f"the {count} processes that train together do not reach each other: {error}",
            where="training.devices",
            fix="run again; if it stays so, set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME to the network between them",
        ) from error
    devices = Devices(torch.distributed.get_rank(), count)
    yield devices
    # Only after success: whoever fails ends, and does not wait for others.
    devices.any(False)
    torch.distributed.destroy_process_group()


@contextmanager
def none_gone() -> Iterator[None]:
    """End where the others are gone: what went wrong is theirs to say, and whoever started them says it."""
    try:
        yield
    except RuntimeError as error:
        raise SystemExit(LOST) from error


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Neighbours of one type and device, together at most `BUCKET` numbers, one tensor at least."""
    bucket: list[torch.Tensor] = []
    held = 0
    for tensor in tensors:
        alike = not bucket or (bucket[0].dtype, bucket[0].device) == (tensor.dtype, tensor.device)
        if bucket and (not alike or held + tensor.numel() > BUCKET):
            yield bucket
            bucket, held = [], 0
        bucket.append(tensor)
        held += tensor.numel()
    if bucket:
        yield bucket
