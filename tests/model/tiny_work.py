"""What tests of launching run in other processes: these import nothing else."""

from __future__ import annotations

import os
import signal
import time

from assets.errors import DataError
from assets.store.program import RANK
from assets.store.step import Build, Measurements


def work(build: Build, *, mode: str, devices: int) -> Measurements:
    """What the tests run in other processes."""
    rank = int(os.environ[RANK])
    build.progress.message(f"{rank} of {devices}, {os.environ['OMP_NUM_THREADS']} threads")
    (build.work / f"started-{rank}").write_text(str(os.getpid()))
    while len(list(build.work.glob("started-*"))) < devices:
        time.sleep(0.01)
    if rank == 1 and mode == "fails":
        raise DataError("row 3 is bad", where="a.csv", fix="mend it")
    if rank == 1 and mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode != "works":
        time.sleep(60)
    if rank == 0:
        (build.content / "a.txt").touch()
    return {"mode": mode}
