"""Checkpoints: all that training needs to go on exactly where it was, written while it goes on.

A checkpoint is a safetensors file and a manifest with the digest of all, written last; both are named by a rename.
So whatever kills the process leaves whole checkpoints only, and one that a disk damaged is known and passed over for
the one before. The last two of this training are kept, and newer ones of another device.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.progress import Progress
from assets.store.digests import digest_json, write_json

if TYPE_CHECKING:
    import torch

SECONDS = 30.0
"""Least time from one checkpoint to the next, in seconds."""
SHARE = 0.01
"""Most share of the time that is spent on them; the copy in memory is what training waits for."""
PIECE = 1 << 24
"""Bytes of a checkpoint that are digested at once."""


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds.

    Attributes:
        step: training steps that were done.
        state: JSON-able.
        tensors: on the CPU.
    """

    step: int
    state: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]


class Checkpoints:
    """The checkpoints of one training, in a folder that outlives the process.

    Args:
        folder: where they are; made when the first is written.
        progress: told of what goes wrong, and where training goes on.
        device: kind of device that trains; what it keeps beside the weights does not fit another.
        seconds: least time from one to the next.
        writes: whether this process writes them; of several that train together one does.

    Attributes:
        kept: step of the newest one that was read or written, or None.
    """

    def __init__(
        self, folder: Path, progress: Progress, *, device: str, seconds: float = SECONDS, writes: bool = True
    ) -> None:
        self._folder, self._progress, self._device = folder, progress, device
        self._seconds, self._writes = seconds, writes
        self.kept: int | None = None
        self._of_others: set[str] = set()
        self._last, self._cost = time.monotonic(), 0.0
        self._writing: threading.Thread | None = None
        self._failed: str | None = None

    def latest(self) -> Saved | None:
        """The newest whole checkpoint, or None; one that is damaged or of another device is passed over, and said."""
        import safetensors.torch

        for manifest in sorted(self._folder.glob("step-*.json"), reverse=True):
            path = manifest.with_suffix(".safetensors")
            try:
                described = json.loads(manifest.read_bytes())
                digest = described.pop("digest")
                whole = digest == _digest(described, path)
            except (OSError, ValueError, KeyError, AttributeError):
                whole = False
            if whole and described["device"] == self._device:
                self.kept = described["step"]
                return Saved(described["step"], described["state"], safetensors.torch.load_file(path))
            if whole:
                self._of_others.add(manifest.stem)
            why = f"of another device ({described['device']})" if whole else "damaged"
            self._progress.message(f"checkpoint {path.name} is {why}, and passed over")
        return None

    def due(self) -> bool:
        """Whether it is time for the next one."""
        waited = time.monotonic() - self._last
        return self._writes and waited >= max(self._seconds, self._cost / SHARE) and not self._busy()

    def save(self, step: int, state: Mapping[str, Any], tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Copy everything and write it in the background; a disk that is full is said, and training goes on.

        Args:
            step: training steps that were done.
            state: JSON-able.
            tensors: taken one by one: each may be brought together from several devices for it.
        """
        if not self._writes:
            deque(tensors, maxlen=0)
            self.kept = step
            return
        self.wait()
        started = time.monotonic()
        copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors}
        text = json.dumps(state)
        self._writing = threading.Thread(target=self._write, args=(step, text, copies))
        self._writing.start()
        self._last = time.monotonic()
        self._cost = self._last - started

    def wait(self) -> None:
        """Wait for the one that is being written."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        if self._failed is not None:
            self._progress.message(self._failed)
            self._failed = None

    def _busy(self) -> bool:
        return self._writing is not None and self._writing.is_alive()

    def _write(self, step: int, state: str, tensors: dict[str, torch.Tensor]) -> None:
        import safetensors.torch
        from safetensors import SafetensorError

        path = self._folder / f"{_name(step)}.safetensors"
        manifest = path.with_suffix(".json")
        part, manifest_part = (file.with_name(f"{file.name}.part") for file in (path, manifest))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            safetensors.torch.save_file(tensors, part)
            described = {"step": step, "device": self._device, "state": json.loads(state)}
            write_json(manifest_part, {**described, "digest": _digest(described, part)})
            # Nothing needs space any more.
            part.replace(path)
            manifest_part.replace(manifest)
            previous, self.kept = self.kept, step
            self._sweep({path.stem} if previous is None else {path.stem, _name(previous)})
        except (OSError, SafetensorError) as error:
            part.unlink(missing_ok=True)
            manifest_part.unlink(missing_ok=True)
            before = "none is kept yet" if self.kept is None else f"that of step {self.kept:,} is kept"
            self._failed = f"no checkpoint at step {step:,}: {error}; training goes on, and {before}"

    def _sweep(self, own: set[str]) -> None:
        """Remove all but these and what others are further with: older ones, damaged ones, half-written ones."""
        kept = own | {name for name in self._of_others if name > max(own)}
        for file in self._folder.iterdir():
            if file.name.partition(".")[0] not in kept:
                file.unlink()


def _name(step: int) -> str:
    return f"step-{step:09d}"


def _digest(described: Mapping[str, Any], file: Path) -> str:
    """Digest of a checkpoint, of pieces of its file at the same time: it is most of what resuming takes."""
    with file.open("rb") as read, ThreadPoolExecutor() as pool:

        def digest(start: int) -> str:
            return hashlib.sha256(os.pread(read.fileno(), PIECE, start)).hexdigest()

        pieces = list(pool.map(digest, range(0, file.stat().st_size, PIECE)))
    # As text: numbers of a training that went wrong need not be finite.
    return digest_json([json.dumps(described, sort_keys=True), *pieces])
