"""Opens a pipeline of this project: its configuration, the store and the chain together."""

from __future__ import annotations

import os
from collections.abc import Iterable

from assets.chain import chain_of
from assets.config.home import Home, home, project_root
from assets.config.load import load_pipeline
from assets.config.pipeline import Pipeline
from assets.progress import Sink, discard
from assets.store.program import Launcher, start_program
from assets.store.runner import Runner
from assets.store.store import Store


def open_runner(
    name: str,
    *,
    config: Pipeline | None = None,
    settings: Home | None = None,
    sample: int | None = None,
    forced: Iterable[str] = (),
    sink: Sink = discard,
    launcher: Launcher = start_program,
) -> Runner:
    """Open a pipeline.

    Args:
        name: folder under `pipelines/`.
        config: its configuration, where it was read already; else `defs.yaml` is read.
        settings: of this machine; else they are read from the environment.
        sample: see `Runner`.
        forced: see `Runner`.
        sink: see `Runner`.
        launcher: see `Runner`.

    Raises:
        ConfigurationError: with every error of the configuration at once.
        StoreError: if the store has another format.
    """
    # OpenMP's threads would spin while they wait, and two trainings on one machine would starve each other: on 2 cores
    # each ran at less than a tenth of its own speed. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    config = config or load_pipeline(name, project_root())
    settings = settings or home()
    return Runner(
        store=Store(settings.store, settings.path / "cache"),
        chain=chain_of(config),
        name=name,
        config=config,
        home=settings,
        sample=sample,
        forced=frozenset(forced),
        sink=sink,
        launcher=launcher,
    )
