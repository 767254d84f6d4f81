"""The one primitive: what a key stands for, or what building it gives. Steps, parts and variants all come from it."""

from __future__ import annotations

import getpass
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from assets.store.digests import canonical_json
from assets.store.ingredients import Made
from assets.store.links import read_links
from assets.store.step import Measurements
from assets.store.store import MEASUREMENTS, Record, Store

Action = Literal["built", "reused", "fresh"]


def get_or_build(
    store: Store,
    made: Made,
    build: Callable[[Path], Measurements],
    *,
    work: Path,
    waiting: Callable[[str], None],
    forced: bool = False,
) -> tuple[Record, Action]:
    """Find what a key stands for, or build it, once among all processes that want it now.

    Args:
        store: where it is looked for and published.
        made: what the key is made of.
        build: fills `content/` and `trace/` of the folder that it is given; returns the measurements.
        work: folder for what should outlive a killed process; gone after success.
        waiting: told who else is building it.
        forced: build it even if it is there, as a further record.
    """
    before = store.record(made.key)
    if not forced and store.whole(before):
        assert before is not None
        return before, "reused"
    with store.lease(made.key, waiting, sorted(made.ingredients["inputs"].values())):
        recorded = store.record(made.key)
        # Another process built it while this one waited for the lease.
        if recorded is not None and (recorded != before or not forced) and store.whole(recorded):
            return recorded, "reused"
        return publish(store, made, build, work=work, after=recorded), "built"


def publish(
    store: Store,
    made: Made,
    build: Callable[[Path], Measurements],
    *,
    work: Path,
    after: Record | None,
    started: float | None = None,
) -> Record:
    """Build in a new folder and publish: content and trace, and the record last.

    Args:
        store: where to.
        made: what the key is made of.
        build: see `get_or_build`.
        work: see `get_or_build`.
        after: the key's record so far.
        started: by the clock of `time.perf_counter`, where the work began earlier.
    """
    started = time.perf_counter() if started is None else started
    work.mkdir(parents=True, exist_ok=True)
    with store.staged() as folder:
        for part in ("content", "trace"):
            (folder / part).mkdir()
        measurements = build(folder)
        (folder / "trace" / MEASUREMENTS).write_bytes(canonical_json(measurements))
        built = {link for digests in read_links(folder / "content").values() for link in digests}
        content = store.publish("objects", folder / "content")
        record = Record(
            key=made.key,
            content=content,
            trace=store.publish("traces", folder / "trace"),
            ingredients=made.ingredients,
            files=made.files,
            seconds=time.perf_counter() - started,
            time=time.time(),
            by=by(),
            # The object that stands may have been published before, with its rows in other shards; the trace is about
            # those that were built.
            links=sorted({*store.manifest("objects", content).get("links", []), *built}),
        )
    record = store.add_record(record, after=after)
    with suppress(FileNotFoundError):
        shutil.rmtree(work)
    return record


def by() -> str:
    """Who does this, and where: `user@machine`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a user id that has no name.
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
