"""Training that was stopped or killed anywhere comes to the same bytes as training that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from assets.errors import TransientError
from assets.model import STEP, stepping
from assets.model import train as train_module
from assets.model.checkpoints import Checkpoints
from assets.model.train import train
from assets.progress import Event, Progress
from assets.store.code import code_digest, code_pieces
from assets.store.digests import files_under
from assets.store.program import STOP, run_program, start_program
from assets.store.step import Build
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.model.test_train import ARGUMENTS, see
from tests.tiny import make_base_model, make_rows, make_splits

# With a copy of the weights in bfloat16 where the processor has it.
SETTINGS: dict[str, Any] = {**ARGUMENTS, "epochs": 2, "select_by": "loss", "precision": "auto"}
STEPS = 38


@pytest.fixture
def splits(store: Store) -> Path:
    return make_splits(store, make_rows(500, seed=0))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def start(make_build: MakeBuild, splits: Path, base: Path) -> Callable[[], Build]:
    return lambda: make_build({"splits": splits}, see(base))


def content(build: Build) -> dict[str, bytes]:
    return {path.relative_to(build.content).as_posix(): path.read_bytes() for path in files_under(build.content)}


@pytest.fixture
def uninterrupted(start: Callable[[], Build]) -> dict[str, bytes]:
    build = start()
    train(build, **SETTINGS)
    return content(build)


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SIGTERM come at a step."""
    before = stepping.Training.update

    def update(self: stepping.Training, batch: list[int]) -> None:
        before(self, batch)
        if self.curve.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(stepping.Training, "update", update)


@pytest.mark.parametrize("step", [1, 7, 19, 20, 37, STEPS])
def test_stopped_by_sigterm_at_any_step_it_goes_on_from_there(
    start: Callable[[], Build],
    uninterrupted: dict[str, bytes],
    events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    build = start()
    with monkeypatch.context() as patch:
        stop_after(step, patch)
        stopped = (
            rf"stopped from outside after step {step} of {STEPS}; a checkpoint is kept\n  fix: run again: it goes on"
        )
        with pytest.raises(TransientError, match=stopped):
            train(build, **SETTINGS)

    events.clear()
    train(build, **SETTINGS)

    assert f"going on from the checkpoint at step {step} of {STEPS}" in [event.get("text") for event in events]
    assert content(build) == uninterrupted
    told = [event["at"] for event in events if event["kind"] == "metrics" and "validation_loss" in event["values"]]
    assert told == [STEPS // 2, STEPS], "of the epochs before too"


def test_on_a_disk_that_is_full_it_goes_on_from_an_earlier_one(
    start: Callable[[], Build], uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"begun")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    build = start()
    for step, kept in (
        (5, "no checkpoint could be written\n  fix: free space .* it begins anew"),
        (6, "a check"),
        (21, "only the checkpoint of step 6 is kept\n  fix: free"),
    ):
        with monkeypatch.context() as patch:
            stop_after(step, patch)
            if step != 6:
                patch.setattr(safetensors.torch, "save_file", full)
            with pytest.raises(TransientError, match=rf"stopped from outside after step {step} of {STEPS}; {kept}"):
                train(build, **SETTINGS)

    train(build, **SETTINGS)

    assert content(build) == uninterrupted


def test_stopped_again_and_again(
    start: Callable[[], Build], uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    build = start()
    for step in (5, 6, 21):
        with monkeypatch.context() as patch:
            stop_after(step, patch)
            with pytest.raises(TransientError):
                train(build, **SETTINGS)

    train(build, **SETTINGS)

    assert content(build) == uninterrupted


def test_a_file_stops_it_too(start: Callable[[], Build]) -> None:
    build = start()
    told = replace(build, progress=Progress("model", lambda _: (build.work / STOP).touch()))

    with pytest.raises(TransientError, match=f"stopped from outside after step 1 of {STEPS}; a checkpoint is kept"):
        train(told, **SETTINGS)


@pytest.mark.parametrize("devices", [None, 2])
def test_told_to_stop_at_the_end_of_the_last_epoch_it_ends_with_its_result(
    start: Callable[[], Build], devices: int | None
) -> None:
    build = start()
    stop = build.work / STOP

    def sink(event: Event) -> None:
        if event["kind"] == "metrics" and event["at"] == STEPS and "validation_loss" in event["values"]:
            stop.touch()

    arguments = {**SETTINGS, "precision": "float32", "devices": devices}
    told = replace(build, progress=Progress("model", sink))
    found = run_program(STEP, told, arguments, [STEP.function], start_program)

    assert stop.exists()
    assert (found["steps"], found["devices"]) == (STEPS, devices or 1)
    assert (build.content / "model" / "model.safetensors").exists()
    assert (build.trace / "curve.png").exists()


def test_sigterm_after_the_last_step_lets_it_write_its_result(
    start: Callable[[], Build], uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = train_module._draw

    def told(*given: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        draw(*given)

    monkeypatch.setattr(train_module, "_draw", told)
    build, missed = start(), []
    before = signal.signal(signal.SIGTERM, lambda *_: missed.append("ended"))
    try:
        train(build, **SETTINGS)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert missed == []
    assert content(build) == uninterrupted
    assert (build.trace / "timing.json").exists()


def test_lora_goes_on_from_there_too(start: Callable[[], Build], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**SETTINGS, "lora_rank": 4}
    whole, build = start(), start()
    train(whole, **settings)
    with monkeypatch.context() as patch:
        stop_after(7, patch)
        with pytest.raises(TransientError):
            train(build, **settings)

    train(build, **settings)

    assert content(build) == content(whole)


def test_checkpoints_at_every_step_change_nothing(
    start: Callable[[], Build], uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "due", lambda _: True)
    build = start()
    train(build, **SETTINGS)

    assert content(build) == uninterrupted


def test_killed_without_warning_it_goes_on_from_the_last_checkpoint(
    start: Callable[[], Build], uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    build, base = start(), tmp_path / "killed"
    roots = ["assets.model.train:train"]
    spec = {
        "function": roots[0],
        "arguments": SETTINGS,
        "inputs": {name: str(path) for name, path in build.inputs.items()},
        "externals": {
            name: {**vars(seen), "files": [vars(file) for file in seen.files]} for name, seen in build.externals.items()
        },
        "content": str(base / "content"),
        "trace": str(base / "trace"),
        "work": str(base / "work"),
        "step": "model",
        "pipeline": "tiny",
        "roots": roots,
        "code": code_digest(code_pieces(roots)),
        "store": None,
    }
    for part in ("content", "trace", "work"):
        (base / part).mkdir(parents=True)
    path = base / "spec.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    # A program that saves as often as it can, and is slow enough to be killed amid its steps.
    slow = (
        "import time; from assets.model import checkpoints, curves; checkpoints.SHARE = 1e9\n"
        "checkpoints.Checkpoints.due = lambda self: not self._busy()\n"
        "report = curves.Curve.report\n"
        "def slowly(self, rate):\n    time.sleep(0.05)\n    return report(self, rate)\n"
        "curves.Curve.report = slowly\n"
        "import sys; sys.argv[0] = 'assets.model'\n"
        "from assets.store.program import main; raise SystemExit(main())"
    )
    held = base / "work" / "checkpoints"
    for wanted in (1, 12):
        program = subprocess.Popen([sys.executable, "-c", slow, str(path)])
        deadline = time.monotonic() + 60
        while not any(int(found.stem[5:]) >= wanted for found in held.glob("step-*.json")):
            assert program.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        program.kill()
        program.wait()

    subprocess.run([sys.executable, "-c", slow, str(path)], check=True)

    assert content(Build(**{**vars(build), "content": base / "content"})) == uninterrupted
