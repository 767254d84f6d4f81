"""Weights that a training starts from, and which of two trainings is kept: the one that is better on validation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

from assets.errors import FreshtuneError
from assets.model.loop import Fitted
from assets.model.recipe import better
from assets.model.rows import ANCESTORS, CHAMPION, Ancestor
from assets.model.validation import SUMMARY
from assets.progress import Progress
from assets.store.step import Build, Observation
from assets.tasks import classification as task

if TYPE_CHECKING:
    import torch
    from peft import LoraModel


@dataclass(frozen=True)
class Start:
    """Weights that a training starts from; without a champion those of the pretrained model, and a new head.

    Attributes:
        champion: its content digest, or None.
        weights: the champion's, by their names.
        known: the champion's labels, in the order of its outputs.
        ancestors: the champion, and the models that it was started from.
    """

    champion: str | None = None
    weights: Mapping[str, torch.Tensor] | None = None
    known: tuple[str, ...] = ()
    ancestors: tuple[Ancestor, ...] = ()

    @property
    def name(self) -> str:
        """`base` or `champion`."""
        return "base" if self.champion is None else "champion"

    @property
    def checkpoints(self) -> str:
        """Folder of its checkpoints in the work folder: those of a training from elsewhere are not its own."""
        return "checkpoints" if self.champion is None else f"checkpoints-{self.champion[:16]}"

    def give(self, model: Any, labels: Sequence[str]) -> None:
        """Give these weights to a pretrained model; outputs for labels that the champion never learned stay new."""
        if self.weights is not None:
            task.inherit(model, self.weights, self.known, labels)

    def said(self, labels: Sequence[str], why: str) -> str:
        """Where it starts, for people.

        Args:
            labels: of the task.
            why: why the champion is not started from, or "".
        """
        if self.champion is None:
            return f"starting from the base model{f': {why}' if why else ''}"
        new = ", ".join(label for label in labels if label not in self.known)
        return f"starting from the champion {self.champion[:12]}{f'; it never learned {new}' if new else ''}"


@dataclass(frozen=True)
class Trained:
    """A training that is done.

    Attributes:
        start: what it started from.
        model: at its best epoch.
        lora: what holds its updates of low rank, or None.
        fitted: how it went.
    """

    start: Start
    model: Any
    lora: LoraModel | None
    fitted: Fitted

    @property
    def best(self) -> dict[str, float]:
        """What was measured after its best epoch."""
        return self.fitted.epochs[self.fitted.best]

    @property
    def curve(self) -> dict[str, Any]:
        """Points of the training, epochs on the validation side, and which of them is kept."""
        return {"steps": self.fitted.steps, "epochs": self.fitted.epochs, "best_epoch": self.best["epoch"]}

    def history(self, trained: Sequence[Trained]) -> dict[str, Any]:
        """Content of `history.json`.

        Args:
            trained: all that was trained, this among them.

        Returns:
            `steps`, `epochs`, `best_epoch`; `ancestors` (see `assets.model.rows`) where it has any; `trainings` where
            there are several: the same of each with `start` and `champion`, in the order in which they were done.
        """
        ancestors = {"ancestors": list(self.start.ancestors)} if self.start.ancestors else {}
        each = [{"start": one.start.name, "champion": one.start.champion, **one.curve} for one in trained]
        return {**self.curve, **ancestors, **({"trainings": each} if len(each) > 1 else {})}

    def told(self, trained: Sequence[Trained], champion: Observation, why: str) -> dict[str, Any]:
        """What is measured of where it started.

        Args:
            trained: all that was trained, this among them.
            champion: what was observed of the champion.
            why: why it was not started from, or "".

        Returns:
            `start`: `from` (`base` or `champion`), `champion` (digest of the one that was considered, or None), `why`
            and `ancestors` (digests of the models that its weights come from, the nearest first). `starts`, where there
            are several: for each what was measured on the validation side after its best epoch.
        """
        start = {
            "from": self.start.name,
            "champion": champion.digest or None,
            "why": why,
            "ancestors": [each["model"] for each in self.start.ancestors],
        }
        starts = {
            each.start.name: {
                "best_epoch": each.best["epoch"],
                **{name: each.best[name] for name in ("loss", *SUMMARY)},
            }
            for each in trained
        }
        return {"start": start, **({"starts": starts} if len(starts) > 1 else {})}


def starts_of(build: Build, start: Literal["champion", "either"] | None) -> tuple[list[Start], str]:
    """What a training starts from, in the order in which it is trained, and why that is not the champion, or "".

    Args:
        build: external inputs `champion` and `champion_ancestors`; see `assets.model.parent`.
        start: `training.start`.
    """
    from safetensors import SafetensorError

    base = Start()
    if start is None:
        return [base], ""
    seen = build.externals[CHAMPION]
    if not seen.objects:
        return [base], seen.values[0]
    assert build.stored is not None
    try:
        model, known = task.finetuned(build.stored(seen.digest) / "model")
    except (FreshtuneError, OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        # As after an upgrade of transformers: it must not stop every later run.
        what = error.what if isinstance(error, FreshtuneError) else str(error)
        return [base], f"the champion cannot be loaded any more: {what.splitlines()[0]}"
    ancestors = tuple(json.loads(each) for each in build.externals[ANCESTORS].values)
    champion = Start(seen.digest, model.state_dict(), known, ancestors)
    return [champion] if start == "champion" else [base, champion], ""


def best_of(trained: Sequence[Trained], select_by: str, progress: Progress) -> Trained:
    """The training that is best on the validation side, the earliest of equals."""
    chosen = reduce(lambda best, each: each if better(each.best, best.best, select_by) else best, trained)
    if len(trained) > 1:
        found = ", ".join(f"{each.start.name} {each.best[select_by]:.4g}" for each in trained)
        progress.message(f"validation {select_by}: {found}; the start from the {chosen.start.name} is kept")
    return chosen
