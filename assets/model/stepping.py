"""Steps of the optimizer, and all the state that they change: saved in checkpoints, restored from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from assets.errors import ConfigurationError
from assets.model.activations import Plan, free_memory, kept, layers_of, plan
from assets.model.curves import Curve, Pace
from assets.model.devices import Devices
from assets.model.embeddings import Touched
from assets.model.examples import Examples
from assets.model.memory import Parts
from assets.model.mirror import Mirror
from assets.model.recipe import Recipe, class_weights, parameter_groups, rate_share, total_weight
from assets.model.threads import take_up
from assets.progress import Progress
from assets.tasks import classification as task
from assets.tasks.device import onto
from assets.tasks.inputs import shuffled_batches
from assets.tasks.unpadded import Forward

if TYPE_CHECKING:
    import torch

MOMENTS = ("exp_avg", "exp_avg_sq")
"""First and second moment of a weight, as `torch.optim.AdamW` calls them."""

WINDOW = 2
"""Batches that rows of like length are sorted into together.

The larger the window, the more a batch is of one length, and of one label where labels differ in length: of short
trainings on SMS spam (20 steps) 4 of 13 failed at 20, 1 of 13 at 8, none of 13 at 2.
"""
PADDED_WINDOW = 8
"""The same where batches are padded: it saves them a quarter of their places."""


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
        mirror: Mirror,
        train: Examples,
        recipe: Recipe,
        *,
        forward: Forward,
        touched: Touched | None,
        padded: bool,
        device: torch.device,
        casting: Callable[[], AbstractContextManager[None]],
        devices: Devices,
        progress: Progress,
        pace: Pace,
    ) -> None:
        import torch

        self.mirror, self.train, self.recipe = mirror, train, recipe
        self.model = model = mirror.model
        self.forward, self.touched, self.device, self.casting = forward, touched, device, casting
        self.padded = padded
        self.devices, self.progress, self.pace = devices, progress, pace
        self.batches = math.ceil(len(train.tokens) / recipe.batch_size)
        self.steps = recipe.epochs * self.batches
        classes = model.config.num_labels
        # On the CPU what a batch weighs is added up, so that nothing waits for the device.
        self.of_classes = class_weights(train.targets, classes, recipe.class_weights)
        self.weights = None if self.of_classes is None else self.of_classes.to(device)
        # One pass over the weights instead of several: on a CPU a fifth of the time.
        self.optimizer = torch.optim.AdamW(parameter_groups(model, recipe), fused=True)
        self.peaks = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.order = torch.Generator().manual_seed(recipe.seed)
        self.epoch_order = self.order.get_state()
        self.state = State()
        self.curve = Curve(classes, recipe.batch_size)
        self.best: dict[str, torch.Tensor] = {}
        self.parts = Parts(train.tokens.lengths, progress, devices=devices)

    def settle(self, wanted: bool | None) -> Plan:
        """Settle how batches fit into memory, before the first step.

        Args:
            wanted: whether activations are computed again; None: where memory is short.

        Raises:
            ConfigurationError: they shall be, and this model cannot.
        """
        possible = bool(layers_of(self.model))
        if wanted and not possible:
            raise ConfigurationError(
                f"a {self.model.config.model_type} of this version of transformers has no layers that can be run again",
                where="training.activation_checkpointing",
                fix="leave it out: batches run in smaller parts where memory is short",
            )
        lengths, by_length = self.train.tokens.lengths, self._by_length()
        with self._tracelessly(), self.casting():
            each, layer = kept(self.mirror.stand_in, self.forward, self.train.tokens[by_length[-1]])
        trained = sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)
        if self.touched is not None:
            trained += self.touched.weight.numel()
        weights = sum(parameter.numel() for parameter in self.model.parameters())
        largest = [lengths[at] for at in by_length[-math.ceil(self.recipe.batch_size / self.devices.count) :]]
        free = free_memory(self.device, self.devices.kept(trained), self.devices.kept(weights), self.devices.count)
        found = plan(
            each,
            layer,
            len(largest) * largest[-1] if self.padded else sum(largest),
            self.devices.least_free(free - self.devices.in_passing()),
            wanted,
            possible=possible,
        )
        if found.most is not None:
            self.parts.most = found.most
        return found

    def attempt(self) -> None:
        """Compute the gradients of a batch of rows of all lengths, and leave everything as it was."""
        by_length = self._by_length()
        with self._tracelessly():
            self._gradients(by_length[:: math.ceil(len(by_length) / self.recipe.batch_size)])

    def _by_length(self) -> list[int]:
        return sorted(range(len(self.train.tokens)), key=self.train.tokens.lengths.__getitem__)

    @contextmanager
    def _tracelessly(self) -> Iterator[None]:
        """Run the model as training does, before the first step, and leave everything as it was."""
        generators, most = self._generators(), self.parts.most
        self.mirror.stand_in.train()
        yield
        self.mirror.clear()
        self._set_generators(generators)
        self.parts.most = most
        if self.touched is not None:
            self.touched.forget()
        self.pace.real = self.pace.places = 0

    def epoch(self) -> Iterator[list[int]]:
        """Batches of the epoch at hand that are not done yet, as positions of rows."""
        self.epoch_order = self.order.get_state()
        window = 1 if self.recipe.order == "random" else PADDED_WINDOW if self.padded else WINDOW
        batches = shuffled_batches(self.train.tokens.lengths, self.recipe.batch_size, self.order, window=window)
        yield from batches[self.state.batch :]

    def update(self, batch: list[int]) -> None:
        """One step of the optimizer."""
        import torch

        share = rate_share(self.curve.step, self.steps, self.recipe.warmup, self.recipe.schedule)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share
        loss = self._gradients(batch)
        gradients = self.mirror.gradients()
        if self.touched is not None:
            gradients += self.touched.collect(self._joined)
        norm = self.devices.reduce(gradients, loss)
        # Left to the optimizer, as gradient scaling leaves it: no pass of its own over the gradients, nothing waits for
        # the device, and a step whose gradient is not finite leaves the weights alone.
        divisor = (norm / self.recipe.max_gradient_norm).clamp(min=1.0)
        spoilt = torch.isfinite(norm).logical_not()
        self.optimizer.grad_scale, self.optimizer.found_inf = divisor, spoilt.float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.mirror.refresh()
        self.curve.add(loss, norm, [self.train.row_ids[at] for at in batch])
        if self.touched is not None and not spoilt:
            self.touched.step(self.curve.step, share, float(divisor))
        self.state.batch += 1
        self.pace.examples += len(batch)
        self.pace.tokens += sum(self.train.tokens.lengths[at] for at in batch)

    def left(self) -> dict[str, float]:
        """Seconds that the steps to come will take at the pace so far."""
        done = self.pace.examples / self.recipe.batch_size
        return {"seconds_left": (self.steps - self.curve.step) * self.pace.seconds / max(done, 1)}

    def _joined(self, words: torch.Tensor) -> torch.Tensor:
        return self.devices.joined(words, self.model.config.vocab_size)

    def _gradients(self, batch: list[int]) -> torch.Tensor:
        """Gradients of this device's share of a batch, in as few parts as memory allows; what it adds to the loss."""
        mine = self.devices.share(batch, [self.train.tokens.lengths[at] for at in batch])
        # Divided by what the whole batch weighs, so that unequal parts count as what they are.
        weight = total_weight(self.train.targets[batch], self.of_classes)
        generators = self._generators()

        def compute(parts: list[list[int]], idle: int) -> torch.Tensor:
            # A row that counts nothing, so that there are gradients of the same weights everywhere.
            return self._gradients_of([*((part, weight) for part in parts), *[(batch[:1], math.inf)] * idle])

        def again() -> None:
            self.mirror.clear()
            # The same numbers are drawn again.
            self._set_generators(generators)
            if self.touched is not None:
                self.touched.forget()

        self.mirror.clear()
        return self.parts.run(mine, compute, again)

    def _gradients_of(self, parts: Sequence[tuple[list[int], float]]) -> torch.Tensor:
        """Add up the gradients of parts, each a loss divided by a weight; the sum of these losses."""
        import torch

        losses: list[torch.Tensor] = []
        for part, weight in parts:
            targets = onto(self.device, self.train.targets[part])
            with self.casting():
                logits = self.forward([self.train.tokens[at] for at in part])
            loss = task.loss(
                logits, targets, weights=self.weights, smoothing=self.recipe.label_smoothing or 0.0, total=weight
            )
            loss.backward()  # type: ignore[no-untyped-call]
            self.mirror.gather(first=not losses)
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

    def saved(self) -> tuple[dict[str, Any], Iterator[tuple[str, torch.Tensor]]]:
        """All that is needed to go on from here: what is JSON-able, and tensors by name, to be taken one by one."""
        import torch

        curve = {"step": self.curve.step, "points": self.curve.points, "rows": self.curve.rows}
        most = None if self.parts.most == math.inf else self.parts.most
        state = {"state": asdict(self.state), "curve": curve, "most": most, "threads": torch.get_num_threads()}
        return state, self._tensors()

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        import torch

        for name, tensor in self.model.state_dict().items():
            yield f"model.{name}", self.devices.whole(tensor)
        for name, tensor in self.best.items():
            yield f"best.{name}", tensor
        for name, weight in self.model.named_parameters():
            for moment, tensor in zip(MOMENTS, self._moments(weight), strict=False):
                yield f"{moment}.{name}", self.devices.whole(tensor)
        for name, state in self._generators().items():
            for rank, each in enumerate(self.devices.gathered(state)):
                yield f"generator.{rank}.{name}", each
        yield "order", self.epoch_order
        if self.curve.noted:
            yield "noted", torch.stack(self.curve.noted)

    def _moments(self, weight: torch.Tensor) -> Sequence[torch.Tensor]:
        """First and second moment of a weight; nothing as long as it has none."""
        if self.touched is not None and weight is self.touched.weight:
            return self.touched.moments
        state = self.optimizer.state.get(weight, {})
        return [state[moment] for moment in MOMENTS if moment in state]

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from where another training of the same was saved, on however many devices."""
        import torch

        curve = state["curve"]
        self.state = State(**state["state"])
        # Other parts would come to other bits: what is free now may be more or less than it was then.
        self.parts.most = math.inf if state["most"] is None else state["most"]
        take_up(state["threads"])
        noted = tensors["noted"].to(self.device).unbind() if "noted" in tensors else ()
        self.curve = replace(self.curve, noted=list(noted), **curve)

        def under(prefix: str) -> dict[str, torch.Tensor]:
            return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}

        for name, tensor in self.model.state_dict().items():
            self.devices.fill(tensor, tensors[f"model.{name}"])
        self.mirror.refresh()
        self.best = under("best.")
        for name, weight in self.model.named_parameters():
            saved = [tensors[f"{moment}.{name}"] for moment in MOMENTS if f"{moment}.{name}" in tensors]
            if saved and weight.requires_grad:
                # As `torch.optim.AdamW` begins it.
                step = torch.tensor(float(self.curve.step), device=weight.device)
                self.optimizer.state[weight] = {"step": step, **{each: torch.empty_like(weight) for each in MOMENTS}}
            for moment, whole in zip(self._moments(weight), saved, strict=True):
                self.devices.fill(moment, whole)
        if generators := under(f"generator.{self.devices.rank}."):
            self._set_generators(generators)
        else:
            # There are more devices than when it was saved.
            self.devices.draw_apart(self.recipe.seed, self.curve.step)
        self.order.set_state(tensors["order"])
