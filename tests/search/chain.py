"""Splits that are given, the search, and the model: the real steps with a tiny model, trained in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assets.chain import chain_of
from assets.config.home import Home
from assets.config.pipeline import Pipeline
from assets.progress import Event, file_sink
from assets.store import program
from assets.store.runner import Runner
from assets.store.step import Build, Measurements, Observation, Step
from assets.store.storage import MANIFEST
from assets.store.store import Store
from tests.tiny import LABELS

SPACE = {
    "training.head_learning_rate": {"low": 1e-5, "high": 1e-1, "log": True},
    "training.batch_size": {"choices": [16, 32]},
}
TRAINING = {
    "epochs": 2,
    "learning_rate": 1e-4,
    "head_learning_rate": 1e-5,
    "max_tokens": 32,
    "precision": "float32",
}
launched: list[Mapping[str, Any]] = []
"""Arguments of the trainings that were run, in order."""


def give(build: Build) -> Measurements:
    """Stands for the step `splits`: gives what was made beforehand."""
    given = Path(build.externals["given"].location)
    shutil.copytree(given, build.content, ignore=shutil.ignore_patterns(MANIFEST), dirs_exist_ok=True)
    return {}


def run_here(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Launcher that runs the program's function in this process: importing torch takes longer than training here."""
    spec = json.loads(Path(command[-1]).read_text())
    launched.append(spec["arguments"])
    work = Path(spec["work"])
    result, _ = program._run(spec, file_sink(work / "progress.jsonl"))
    (work / "result.json").write_text(json.dumps(result))


def open_runner(
    folder: Path, splits: Path, base: Path, training: Mapping[str, Any], search: Mapping[str, Any] | None
) -> tuple[Runner, list[Event]]:
    """A runner over the store in `folder`, and the events of its progress."""
    declared = {
        "task": {"labels": list(LABELS)},
        "source": {"files": ["none.csv"]},
        "base_model": {"name": str(base)},
        "training": {**TRAINING, **training},
        "search": None if search is None else {"space": SPACE, **search},
    }
    config = Pipeline.model_validate(declared)
    given = Observation("source", str(splits), splits.name)
    first = Step("splits", "", "tests.search.chain:give", externals=lambda *_: {"given": given})
    steps = [first, *(step for step in chain_of(config) if step.name in {"search", "model"})]
    home = Home(folder / "home", str(folder / "store"), "default", "", None, folder / "dagster")
    events: list[Event] = []
    store = Store(home.store, folder / "cache")
    return Runner(store, steps, "tiny", config, home, sink=events.append, launcher=run_here), events
