"""Training that was stopped or killed anywhere comes to the same bytes as training that was not."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from assets.errors import TransientError
from assets.model import STEP, checkpoints, curves, stepping
from assets.model import train as train_module
from assets.model.checkpoints import Checkpoints
from assets.model.train import train
from assets.progress import Event, Progress
from assets.store.code import code_digest, code_pieces
from assets.store.digests import files_under
from assets.store.program import STOP, Launcher, run_program
from assets.store.step import Build, Observation
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.model import forked
from tests.model.test_train import ARGUMENTS, see
from tests.tiny import make_rows, make_splits

# With a copy of the weights in bfloat16 where the processor has it.
SETTINGS: dict[str, Any] = {**ARGUMENTS, "epochs": 2, "select_by": "loss", "precision": "auto"}
STEPS = 38
EITHER: dict[str, Any] = {**SETTINGS, "start": "either"}
DIGEST = "c" * 64
"""Of the champion that `either` starts from."""


Start = Callable[[], Build]


@pytest.fixture(scope="module")
def store(shared_store: Store) -> Store:
    return shared_store


@pytest.fixture(scope="module")
def splits(store: Store) -> Path:
    return make_splits(store, make_rows(500, seed=0))


@pytest.fixture
def start(make_build: MakeBuild, splits: Path, base: Path) -> Start:
    return lambda: make_build({"splits": splits}, see(base))


@pytest.fixture(scope="module")
def champion(make_shared: MakeBuild, splits: Path, base: Path) -> Path:
    """Content of a model that has learned a little."""
    build = make_shared({"splits": splits}, see(base))
    train(build, **{**SETTINGS, "epochs": 1, "seed": 1})
    return build.content


def beside(build: Build, champion: Path) -> Build:
    """What a training is given that starts from the base model and from a champion."""
    seen = {
        "champion": Observation("input", "promotion log", DIGEST, objects=(DIGEST,)),
        "champion_ancestors": Observation("input", "promotion log", DIGEST),
    }
    return replace(build, externals={**build.externals, **seen}, stored={DIGEST: champion}.__getitem__)


@pytest.fixture
def either(start: Start, champion: Path) -> Start:
    return lambda: beside(start(), champion)


def content(build: Build) -> dict[str, bytes]:
    return {path.relative_to(build.content).as_posix(): path.read_bytes() for path in files_under(build.content)}


@pytest.fixture(scope="module")
def uninterrupted(make_shared: MakeBuild, splits: Path, base: Path) -> dict[str, bytes]:
    build = make_shared({"splits": splits}, see(base))
    train(build, **SETTINGS)
    return content(build)


@pytest.fixture(scope="module")
def uninterrupted_either(make_shared: MakeBuild, splits: Path, base: Path, champion: Path) -> dict[str, bytes]:
    build = beside(make_shared({"splits": splits}, see(base)), champion)
    train(build, **EITHER)
    return content(build)


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch, skipping: int = 0) -> None:
    """Let SIGTERM come at a step; that many times it does not."""
    before = stepping.Training.update
    passed = 0

    def update(self: stepping.Training, batch: list[int]) -> None:
        nonlocal passed
        before(self, batch)
        if self.curve.step == step:
            passed += 1
            if passed > skipping:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(stepping.Training, "update", update)


def steps_done(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the steps that are done from here on, as they are done."""
    done: list[int] = []
    update = stepping.Training.update

    def noted(self: stepping.Training, batch: list[int]) -> None:
        update(self, batch)
        done.append(self.curve.step)

    monkeypatch.setattr(stepping.Training, "update", noted)
    return done


@pytest.mark.parametrize("step", [1, 7, 19, 20, 37, STEPS])
def test_stopped_by_sigterm_at_any_step_it_goes_on_from_there(
    start: Start,
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
    start: Start, uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
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
    start: Start, uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    build = start()
    for step in (5, 6, 21):
        with monkeypatch.context() as patch:
            stop_after(step, patch)
            with pytest.raises(TransientError):
                train(build, **SETTINGS)

    train(build, **SETTINGS)

    assert content(build) == uninterrupted


def test_a_file_stops_it_too(start: Start) -> None:
    build = start()
    told = replace(build, progress=Progress("model", lambda _: (build.work / STOP).touch()))

    with pytest.raises(TransientError, match=f"stopped from outside after step 1 of {STEPS}; a checkpoint is kept"):
        train(told, **SETTINGS)


@pytest.mark.parametrize(("devices", "launcher"), [(None, forked.launch), (2, forked.launch_pair)])
def test_told_to_stop_at_the_end_of_the_last_epoch_it_ends_with_its_result(
    start: Start, devices: int | None, launcher: Launcher
) -> None:
    build = start()
    stop = build.work / STOP

    def sink(event: Event) -> None:
        if event["kind"] == "metrics" and event["at"] == STEPS and "validation_loss" in event["values"]:
            stop.touch()

    arguments = {**SETTINGS, "precision": "float32", "devices": devices}
    told = replace(build, progress=Progress("model", sink))
    found = run_program(STEP, told, arguments, [STEP.function], launcher)

    assert stop.exists()
    assert (found["steps"], found["devices"]) == (STEPS, devices or 1)
    assert (build.content / "model" / "model.safetensors").exists()
    assert (build.trace / "curve.png").exists()


def test_sigterm_after_the_last_step_lets_it_write_its_result(
    start: Start, uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
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


def test_lora_goes_on_from_there_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**SETTINGS, "lora_rank": 4}
    whole, build = start(), start()
    train(whole, **settings)
    with monkeypatch.context() as patch:
        stop_after(7, patch)
        with pytest.raises(TransientError):
            train(build, **settings)

    train(build, **settings)

    assert content(build) == content(whole)


@pytest.mark.parametrize(("second", "step"), [(False, 7), (True, 1), (True, 7), (True, STEPS)])
def test_from_either_it_goes_on_in_the_training_that_was_stopped_and_repeats_no_step(
    either: Start,
    uninterrupted_either: dict[str, bytes],
    events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    second: bool,
    step: int,
) -> None:
    build = either()
    with monkeypatch.context() as patch:
        stop_after(step, patch, skipping=int(second))
        with pytest.raises(TransientError, match=f"after step {step} of {STEPS}; a checkpoint is kept"):
            train(build, **EITHER)
    done = steps_done(monkeypatch)
    events.clear()
    train(build, **EITHER)

    rest = list(range(step + 1, STEPS + 1))
    assert done == (rest if second else [*rest, *range(1, STEPS + 1)])
    assert content(build) == uninterrupted_either
    told = [event["at"] for event in events if event["kind"] == "metrics" and "validation_loss" in event["values"]]
    assert told == [STEPS // 2, STEPS] * 2, "of the epochs before too, as if nothing had happened"


def test_checkpoints_at_every_step_change_nothing(
    start: Start, uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "due", lambda _: True)
    build = start()
    train(build, **SETTINGS)

    assert content(build) == uninterrupted


def killed_program(spec: Path) -> None:
    """Be the program of a spec; it saves as often as it can, and is slow enough to be killed amid its steps."""
    report = curves.Curve.report

    def slowly(curve: curves.Curve, rate: float) -> dict[str, float]:
        time.sleep(0.05)
        return report(curve, rate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves.Curve, "report", slowly)
        patch.setattr(checkpoints, "SHARE", 1e9)
        patch.setattr(Checkpoints, "due", lambda self: not self._busy())
        forked.program(spec)


@pytest.mark.parametrize("from_either", [False, True])
def test_killed_without_warning_it_goes_on_from_the_last_checkpoint(
    start: Start,
    either: Start,
    uninterrupted: dict[str, bytes],
    uninterrupted_either: dict[str, bytes],
    tmp_path: Path,
    from_either: bool,
) -> None:
    build = either() if from_either else start()
    settings = EITHER if from_either else SETTINGS
    base = tmp_path / "killed"
    roots = ["assets.model.train:train"]
    spec = {
        "function": roots[0],
        "arguments": settings,
        "inputs": {name: str(path) for name, path in build.inputs.items()},
        "externals": {
            name: {**vars(seen), "files": [vars(file) for file in seen.files]} for name, seen in build.externals.items()
        },
        "stored": {DIGEST: str(build.stored(DIGEST))} if build.stored is not None else {},
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
    held = base / "work" / (f"checkpoints-{DIGEST[:16]}" if from_either else "checkpoints")
    for wanted in (1, 12):
        program = forked.start(killed_program, path)
        deadline = time.monotonic() + 200
        while not any(int(found.stem[5:]) >= wanted for found in held.glob("step-*.json")):
            assert program.is_alive(), "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        program.kill()
        program.join()

    last = forked.start(killed_program, path)
    last.join()

    assert last.exitcode == 0
    whole = uninterrupted_either if from_either else uninterrupted
    assert content(replace(build, content=base / "content")) == whole
    if from_either:
        told = [json.loads(line) for line in (base / "work" / "progress.jsonl").read_text().splitlines()]
        assert f"going on from the checkpoint at step {STEPS} of {STEPS}" in [event.get("text") for event in told]
