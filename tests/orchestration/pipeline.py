"""The tiny pipeline over the chain of `tests/orchestration/chain.py`, and Dagster's definitions of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from assets.config.home import Home
from assets.orchestration.execution import OpenRunner, Watch
from assets.orchestration.wiring import pipeline_definitions
from assets.progress import Event
from assets.store.runner import Runner
from tests.orchestration import chain


class Tiny:
    """The tiny pipeline, its source, and Dagster's definitions of it."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        self.source.mkdir()
        self.home: Home = chain.settings(folder / "home")
        self.changed: dict[str, Any] = {}
        self.events: list[Event] = []
        self.watch = Watch(self.events.append)
        self.write("rows.txt", "a one", "a two", "b three")

    def write(self, name: str, *lines: str) -> None:
        (self.source / name).write_text("\n".join(lines))

    @property
    def opener(self) -> OpenRunner:
        return partial(chain.opened, self.home, chain.configuration(self.source, **self.changed))

    def runner(self, **more: Any) -> Runner:
        return self.opener(**more)

    def definitions(self) -> dg.Definitions:
        self.watch.results.clear()
        self.watch.errors.clear()
        return pipeline_definitions(self.opener, self.watch)

    def run(self, instance: dg.DagsterInstance, *steps: str, **more: Any) -> dg.ExecuteInProcessResult:
        """Run steps (all, if none is named) as assets."""
        selection = [dg.AssetKey(["tiny", step]) for step in steps] or None
        job = self.definitions().resolve_job_def("tiny_job")
        return job.execute_in_process(instance=instance, asset_selection=selection, raise_on_error=False, **more)

    def actions(self) -> dict[str, str]:
        return {result.step: result.action for result in self.watch.results}
