"""Processes that have torch and transformers when they begin: importing them costs more than what tests let them do."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType
from typing import Any

from assets.store.program import RANK, main

# They are forked from a process that has imported and computed nothing: torch that has computed cannot be forked.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.model.imports"])


def start(
    work: Callable[..., object], *arguments: Any, environment: Mapping[str, str] = MappingProxyType({})
) -> BaseProcess:
    """Call a function of a module in a process of its own."""
    process = CONTEXT.Process(target=_call, args=(work, arguments, {**os.environ, **environment}))
    process.start()
    return process


def _call(work: Callable[..., object], arguments: Sequence[Any], environment: Mapping[str, str]) -> None:
    # Else what the server was given when it was started.
    os.environ.clear()
    os.environ.update(environment)
    work(*arguments)


def program(spec: Path) -> None:
    """Be the program of a spec; see `assets.store.program.main`."""
    sys.argv = ["assets.model", str(spec)]
    raise SystemExit(main())


def launch(command: Sequence[str], _: Mapping[str, str]) -> None:
    """Launcher of a program as one process."""
    process = start(program, Path(command[-1]))
    process.join()


def pair(work: Callable[..., object], *arguments: Any) -> None:
    """Call a function in two processes that find each other as those of `torchrun` do, and wait for both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    both = [start(work, *arguments, environment={**together, RANK: str(rank)}) for rank in range(2)]
    for each in both:
        each.join(240)
    assert [each.exitcode for each in both] == [0, 0]


def launch_pair(command: Sequence[str], _: Mapping[str, str]) -> None:
    """Launcher of a program as two processes."""
    pair(program, Path(command[-1]))
