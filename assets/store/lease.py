"""Leases: of several processes that want the same key, one computes and the others wait.

A lease only saves work; publication alone makes results correct, so a lease that two hold for a moment harms nothing.
Epochs are created only if absent, so one process gets each. The holder counts up its beat; who waits takes the next
epoch when the beat stood still for long enough on the waiter's own monotonic clock – no two clocks are ever compared –
or at once when the holder is a process of the same machine that is gone.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from assets.store.digests import canonical_json
from assets.store.storage import Storage

BEAT_SECONDS = 5.0
PATIENCE_SECONDS = 30.0
"""How long a beat may stand still: several beats, so that a slow write is not taken for a death."""
POLL_SECONDS = 0.5

FOLDER = "leases"


@contextmanager
def lease(storage: Storage, key: str, waiting: Callable[[str], None], uses: list[str]) -> Iterator[None]:
    """Hold the lease of a key; waits while another process holds it.

    Args:
        storage: where the lease is kept.
        key: what is leased.
        waiting: told once, in plain words, who holds it.
        uses: digests that the holder reads meanwhile; garbage is not collected from under it.
    """
    folder = f"{FOLDER}/{key}"
    epoch = _acquire(storage, folder, waiting, uses)
    stopped = threading.Event()
    beat = threading.Thread(target=_beat, args=(storage, f"{folder}/{epoch}", stopped), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stopped.set()
        beat.join()
        if _top(storage, folder) == epoch:
            storage.remove(folder)


def live(storage: Storage) -> Iterator[list[str]]:
    """What each held lease uses, whether or not its holder still lives."""
    for key in storage.children(FOLDER):
        epoch = _top(storage, f"{FOLDER}/{key}")
        if epoch is not None:
            uses = _read(storage, f"{FOLDER}/{key}/{epoch}.json").get("uses", [])
            assert isinstance(uses, list)
            yield uses


def workers(storage: Storage) -> list[str]:
    """Who computes something now, as far as is known: `process PID on HOST`, each once."""
    found = []
    for key in storage.children(FOLDER):
        epoch = _top(storage, f"{FOLDER}/{key}")
        holder = {} if epoch is None else _read(storage, f"{FOLDER}/{key}/{epoch}.json")
        if holder and not _gone(holder):
            found.append(f"process {holder['pid']} on {holder['host']}")
    return sorted(set(found))


def _acquire(storage: Storage, folder: str, waiting: Callable[[str], None], uses: list[str]) -> str:
    # Bytes that two gave alike would count as created by both; threads of one process have all else in common.
    claim = canonical_json({**_me(), "uses": uses, "token": uuid.uuid4().hex})
    watched: tuple[str | None, str] = (None, "")
    since = time.monotonic()
    told = False
    while True:
        top = _top(storage, folder)
        holder = {} if top is None else _read(storage, f"{folder}/{top}.json")
        seen = (top, "" if top is None else str(_read(storage, f"{folder}/{top}.beat")))
        if seen != watched:
            watched, since = seen, time.monotonic()
        patient = time.monotonic() - since < PATIENCE_SECONDS
        if top is None or _gone(holder) or not patient:
            epoch = f"{0 if top is None else int(top) + 1:06d}"
            if storage.create(f"{folder}/{epoch}.json", claim):
                return epoch
            continue
        if not told:
            waiting(f"another run computes this already (process {holder.get('pid')} on {holder.get('host')}); waiting")
            told = True
        time.sleep(POLL_SECONDS)


def _beat(storage: Storage, name: str, stopped: threading.Event) -> None:
    count = 0
    while not stopped.wait(BEAT_SECONDS):
        count += 1
        # A beat that cannot be written (a full disk, a network that is down) is made up for by the next.
        with suppress(OSError):
            storage.replace(f"{name}.beat", canonical_json({"count": count}))


def _top(storage: Storage, folder: str) -> str | None:
    epochs = [name.removesuffix(".json") for name in storage.children(folder) if name.endswith(".json")]
    return max(epochs, default=None)


def _read(storage: Storage, name: str) -> dict[str, object]:
    try:
        found: dict[str, object] = json.loads(storage.read(name))
    except FileNotFoundError:
        # Released meanwhile, or not beaten yet.
        return {}
    return found


def _me() -> dict[str, object]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def _gone(holder: dict[str, object]) -> bool:
    """Whether the holder is known to be dead: only a process of this machine can be."""
    if holder.get("host") != socket.gethostname():
        return False
    try:
        return psutil.Process(int(str(holder["pid"]))).create_time() != holder["started"]
    except psutil.NoSuchProcess:
        return True
