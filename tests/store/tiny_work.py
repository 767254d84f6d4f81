"""What tests of programs run in other processes: they import nothing else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from assets.errors import DataError, TransientError
from assets.store.program import STOP
from assets.store.step import Build, Measurements

PART = ("assets.splits.shard:positions", {"salt": "a"})


def work(build: Build, *, mode: str) -> Measurements:
    """What the tests run in another process."""
    if mode == "fails":
        raise DataError("row 3 is bad", where="a.csv", fix="mend it")
    if mode == "reads":
        assert build.stored is not None
        (build.content / "a.txt").write_text((build.stored("d").joinpath("o.txt")).read_text())
        return {"objects": list(build.externals["seen"].objects)}
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "stops":
        assert not (build.work / STOP).exists()
        build.progress.message("ready")
        deadline = time.monotonic() + 60
        while not (build.work / STOP).exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        raise TransientError("stopped")
    if mode == "asks":
        assert build.part is not None
        part = build.part(*PART, inputs={"prepared": build.inputs["words"].name})
        (build.content / "part.txt").write_text(str(part.content))
        return part.measurements
    if mode == "by hand":
        assert build.part is None
    if mode == "waits":
        (build.work / "started").touch()
        time.sleep(60)
    with build.progress.bar("working", 2) as advance:
        advance()
        advance(loss=0.5)
    words = Path(build.externals["source"].files[0].path).read_text()
    (build.content / "a.txt").write_text((build.inputs["before"] / "b.txt").read_text() + words)
    return {"mode": mode}
