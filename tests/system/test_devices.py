"""The fine-tuning program as two processes: whichever of them is killed, the next run goes on to the same bytes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from assets.errors import TransientError
from assets.progress import Event
from assets.store.digests import files_under
from assets.store.program import run_program, start_program
from assets.store.step import Build, Step
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.model.test_train import ARGUMENTS, see
from tests.tiny import make_base_model, make_rows, make_splits

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

SETTINGS: Mapping[str, Any] = {**ARGUMENTS, "epochs": 1, "devices": 2}
STOPPED = r"stopped from outside after step \d+ of 19; a checkpoint is kept"
PROGRAM = """
# Saves as often as it can, and is slow enough to be killed amid its steps.
import time
from assets.model import checkpoints, curves, loop
from assets.model.launch import together
from assets.store.program import main
checkpoints.Checkpoints.due = lambda self: not self._busy()
report = curves.Curve.report
def slowly(self, rate):
    time.sleep(0.2)
    return report(self, rate)
curves.Curve.report = slowly
stopped = loop._stopped
def slowly_stopped(*given):
    time.sleep(2)
    return stopped(*given)
loop._stopped = slowly_stopped
raise SystemExit(main(together))
"""


@pytest.fixture
def build(make_build: MakeBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), str(tmp_path)]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "slow_program.py").write_text(PROGRAM)
    splits = make_splits(Store(str(tmp_path / "tiny"), tmp_path / "cache"), make_rows(500, seed=0))
    return make_build({"splits": splits}, see(make_base_model(tmp_path / "base")))


def train(
    build: Build,
    *,
    sharding: bool | None = None,
    signalled: int | None = None,
    by: Sequence[signal.Signals] = (signal.SIGKILL,),
    after: int = 0,
) -> None:
    """Run the program; what is killed is a process by its rank, or what started them (-1), after a checkpoint."""
    step = Step("model", "trains", "assets.model.train:train", program="slow_program")
    held = build.work / "checkpoints"

    def launch(command: Sequence[str], environment: Mapping[str, str]) -> None:
        if signalled is None:
            start_program(command, environment)
            return
        program = psutil.Popen(command, env={**os.environ, **environment})
        deadline = time.monotonic() + 240
        while not any(int(found.stem[5:]) >= after for found in held.glob("step-*.json")):
            assert program.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        processes = {int(each.environ().get("RANK", "-1")): each for each in [program, *program.children()]}
        assert processes.keys() == {-1, 0, 1}
        for each in by:
            processes[signalled].send_signal(each)
            time.sleep(0.5)
        assert program.wait(120) == 1
        assert not any(each.is_running() for each in processes.values())

    run_program(step, build, {**SETTINGS, "sharding": sharding}, [step.function], launch)


def content(build: Build) -> dict[str, bytes]:
    return {path.relative_to(build.content).as_posix(): path.read_bytes() for path in files_under(build.content)}


@pytest.mark.parametrize("sharding", [None, True])
def test_whichever_process_is_stopped_or_killed_it_goes_on_to_the_same_bytes(
    build: Build, tmp_path: Path, events: list[Event], capfd: pytest.CaptureFixture[str], sharding: bool | None
) -> None:
    whole = replace(build, work=tmp_path / "whole", content=tmp_path / "content")
    for folder in (whole.work, whole.content):
        folder.mkdir()
    train(whole, sharding=sharding)

    for at, rank in ((2, 1), (5, 0)):
        killed = f"process {rank} of the 2 that train together was ended by SIGKILL, so all have stopped"
        with pytest.raises(TransientError, match=killed):
            train(build, sharding=sharding, signalled=rank, after=at)
    with pytest.raises(TransientError, match=STOPPED):
        train(build, sharding=sharding, signalled=-1, by=(signal.SIGTERM,), after=8)
    events.clear()
    train(build, sharding=sharding)

    texts = [event["text"] for event in events if event["kind"] == "message"]
    assert any(text.startswith("going on from the checkpoint at step ") for text in texts), texts
    assert content(build) == content(whole)
    assert capfd.readouterr().err == ""


def test_told_twice_to_stop_it_saves_all_the_same(build: Build) -> None:
    # As the keyboard does it: every process of the terminal is told, and whoever started the program tells it too.
    with pytest.raises(TransientError, match=STOPPED):
        train(build, signalled=-1, by=(signal.SIGINT, signal.SIGTERM, signal.SIGTERM))
