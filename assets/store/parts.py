"""Parts of a step's result that have keys of their own: built once in a store, by whatever process wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from assets.progress import Progress
from assets.store.build import get_or_build
from assets.store.ingredients import Making, made_part
from assets.store.step import Build, Measurements, ObservedFile, Part, load
from assets.store.store import Store


@dataclass(frozen=True)
class Parts:
    """Builds or finds parts of a step's result that have keys of their own.

    Attributes:
        store: where they are.
        work: folder of the work folders, by key.
        progress: of the step.
        pipeline: its name.
        making: what parts are made by.
    """

    store: Store
    work: Path
    progress: Progress
    pipeline: str = ""
    making: Making = field(default_factory=Making)

    def __call__(
        self,
        function: str,
        arguments: Mapping[str, Any],
        *,
        inputs: Mapping[str, str] = MappingProxyType({}),
        files: Sequence[ObservedFile] = (),
        environment: Sequence[str] = (),
    ) -> Part:
        """Build or find a part.

        Args:
            function: `module:function`, called as a step's function is.
            arguments: its further arguments, JSON-able; part of the key.
            inputs: name → content digest of objects that it reads.
            files: files outside the store that it reads, given as the external input `files`; of them the key has the
                digests, in this order.
            environment: as a step declares it.
        """
        made = made_part(function, arguments, inputs, files, environment, self.making)
        work = self.work / made.key

        def call(folder: Path) -> Measurements:
            build = Build(
                inputs={name: self.store.open("objects", digest) for name, digest in inputs.items()},
                externals=made.externals,
                content=folder / "content",
                trace=folder / "trace",
                work=work,
                progress=self.progress,
                pipeline=self.pipeline,
                part=self,
                digests=inputs,
            )
            return load(function)(build, **arguments)  # type: ignore[no-any-return]

        record, _ = get_or_build(self.store, made, call, work=work, waiting=self.progress.message)
        content = self.store.open("objects", record.content, reading=False)
        return Part(content, record.content, self.store.measurements(record.trace))
