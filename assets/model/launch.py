"""Starts the fine-tuning program once for each device, by the agent of `torchrun` on this machine's loopback.

All processes are children of this one. It stops all of them when one fails or this one is told to stop, and they stop
when it is gone. What went wrong in any of them is said once.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from assets.errors import ConfigurationError, TransientError
from assets.model.devices import LOST
from assets.store.program import PARENT, THREADS, cores, result_file, revived, threads_each

LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
STOPPING = (signal.SIGTERM, signal.SIGINT)
PIPES = ("DAGSTER_PIPES_CONTEXT", "DAGSTER_PIPES_MESSAGES")
"""How Dagster's side of the conversation is found: this process has it, its children do not."""


def together(spec: Mapping[str, Any], command: Sequence[str]) -> bool:
    """Run the program as one process for each device, if there are to be several; see `assets.store.program.Together`.

    Raises:
        ConfigurationError: the machine has fewer devices.
        FreshtuneError: what one of the processes raised.
        TransientError: one of them was killed, or they lost each other.
    """
    count = number_of(spec["arguments"].get("devices"))
    if count == 1:
        return False
    work = Path(spec["work"])
    results = [result_file(work, rank) for rank in range(count)]
    for result in results:
        result.unlink(missing_ok=True)
    failed = _run(command, count)
    found = [json.loads(result.read_text(encoding="utf-8")) for result in results if result.exists()]
    errors = [revived(each["error"]) for each in found if "error" in each]
    if errors:
        # One says why; others may only have been told to stop meanwhile.
        raise min(errors, key=lambda error: error.transient)
    if failed:
        results[0].unlink(missing_ok=True)
        raise_for(failed, count)
    return True


def number_of(devices: int | Literal["all"] | None) -> int:
    """How many processes `training.devices` asks for on this machine.

    Raises:
        ConfigurationError: there are fewer GPUs, or fewer cores on a machine without one.
    """
    if devices is None or devices == 1:
        return 1
    import torch

    gpus = torch.cuda.device_count()
    if devices == "all":
        return max(1, gpus)
    there, what = (gpus, "GPUs") if gpus else (cores(), "cores and no GPU")
    if devices > there:
        raise ConfigurationError(
            f"{devices} devices, but this machine has {there} {what} (accepted: 1 to {there}, or all)",
            where="training.devices",
            fix=f"set it to {there} or less, or to all",
        )
    return devices


def raise_for(failed: Mapping[int, int], count: int) -> None:
    """Raise what the exit codes of processes that failed without a word mean to a person.

    Args:
        failed: rank → exit code, negative for a signal; as `subprocess` has it.
        count: of processes.

    Raises:
        TransientError: one was killed, or all of them lost the others. One that crashed has said why on standard error.
    """
    # The others were told to stop by SIGTERM, and may have had to be killed.
    killed = {rank: -code for rank, code in failed.items() if code < 0 and -code != signal.SIGTERM}
    crashed = [rank for rank, code in failed.items() if code >= 0 and code != LOST]
    if crashed:
        return
    if killed:
        rank, number = next(iter(killed.items()))
        raise TransientError(
            f"process {rank} of the {count} that train together was ended by {signal.Signals(number).name}, so all "
            "have stopped; the last checkpoint is kept",
            where="training",
            fix="run again: it goes on from there; if nobody ended it, memory ran out: lower training.devices or "
            "training.batch_size",
        )
    raise TransientError(
        f"the {count} processes that train together lost each other; the last checkpoint is kept",
        where="training",
        fix="run again: it goes on from there",
    )


def _run(command: Sequence[str], count: int) -> dict[int, int]:
    """Run a command so many times at once and wait; rank → exit code of those that failed."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # What it logs about a failure is said by the result in plain words.
    logger = logging.getLogger("torch.distributed.elastic")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    for name in PIPES:
        os.environ.pop(name, None)
    os.environ[PARENT] = str(os.getpid())
    os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK)
    os.environ[THREADS] = threads_each(count)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        # Of the two others a second one would break off its wait for processes that save: the keyboard tells this
        # process, and so does whoever started it.
        signals_to_handle="SIGHUP,SIGQUIT",
    )

    def stop(number: int, _: object) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)
        raise SignalException("told to stop", signal.Signals(number))

    for each in STOPPING:
        signal.signal(each, stop)
    try:
        elastic_launch(config, command[0])(*command[1:])
    except ChildFailedError as error:
        return {rank: failure.exitcode for rank, failure in error.failures.items()}
    except SignalException:
        # It has passed the signal on and waited: they have saved and said so.
        return {}
    return {}
