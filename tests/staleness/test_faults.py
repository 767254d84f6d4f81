"""The store under faults: an operation fails, or the process dies there; here at every fifth, in tests/system at each.

Whatever happened, the store holds whole objects only, and the next run takes over what was complete, builds the rest,
and ends with the results of a run that nothing disturbed. See `faulty` for how faults are made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from typing import Any

import pytest

from tests.project import ROOT

FUNCTIONS = {"letters", "upper", "shared", "decide"}
EVERY = 5
"""Of so many operations one is struck here."""
LEAST = 20
"""Fewer operations than any scenario has: less would mean that faults are made where nothing happens."""


def attempts(
    *options: str, processes: int = 1, every: int = 1, at: int = 1, environment: Mapping[str, str] = os.environ
) -> list[dict[str, Any]]:
    """What `faulty` reports, from processes that share the operations among them; the first attempt has no fault.

    Struck are every so many operations, from the one that has the number `at`, counted from 1.
    """

    def share(first: int) -> list[dict[str, Any]]:
        shared = ("--every", str(every * processes), "--first", str(first))
        done = subprocess.run(
            [sys.executable, "-m", "tests.staleness.faulty", *options, *shared],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    with ThreadPoolExecutor(processes) as pool:
        shares = list(pool.map(share, range(at, at + every * processes, every)))
    struck = [attempt for _, *attempts in shares for attempt in attempts]
    return [shares[0][0], *sorted(struck, key=itemgetter("at"))]


def check(found: list[dict[str, Any]], *, repair: bool, every: int = 1, at: int = 1) -> None:
    undisturbed, *struck = found
    assert "failed" not in undisturbed, undisturbed
    operations = undisturbed["seen"]
    assert undisturbed["end"] == "succeeded"
    assert undisturbed["called"] == undisturbed["left"] == undisturbed["faults"] == []
    assert len(operations) > LEAST
    # Where each operation is struck, the last attempt comes behind them all.
    assert [attempt["at"] for attempt in struck] == list(range(at, len(operations) + 2, every))
    assert [attempt["struck"] for attempt in struck] == [*operations, None][at - 1 :: every]
    for attempt in struck:
        said = str(attempt)
        assert attempt["struck"] or attempt["end"] == "succeeded", said
        assert "failed" not in attempt, said
        assert attempt["faults"] == attempt["faults_then"] == [], said
        missing = FUNCTIONS - set(attempt["complete"])
        # The part is asked for by `upper` only.
        assert sorted(attempt["called"]) == sorted(missing - ({"shared"} if "upper" not in missing else set())), said
        assert attempt["left"] == [], said
        assert attempt["contents"] == undisturbed["contents"], said
        assert attempt["log"] == undisturbed["log"] == ["promoted"] * (1 + repair), said


def outlives(fault: str, *options: str, repair: bool, every: int = 1, at: int = 1) -> list[dict[str, Any]]:
    """Strike every so many operations of a run that builds all or repairs; what came of each that was struck."""
    found = attempts(fault, *(["--repair"] if repair else []), *options, every=every, at=at)
    check(found, repair=repair, every=every, at=at)
    return found[1:]


def folder_outlives(fault: str, *, repair: bool, every: int = 1, at: int = 1) -> None:
    ends = {attempt["end"].partition(":")[0] for attempt in outlives(fault, repair=repair, every=every, at=at)}
    assert ("killed" if fault == "kill" else "failed") in ends


def object_storage_outlives(fault: str, *, repair: bool, every: int = 1, at: int = 1) -> None:
    """`late`: the operation was done, but its answer was lost."""
    outlives(fault, "--store", "memory://faulty", repair=repair, every=every, at=at)


@pytest.mark.parametrize(
    ("fault", "repair", "at"), [("kill", False, 1), ("kill", True, 2), ("raise", False, 3), ("raise", True, 4)]
)
def test_a_folder_outlives_a_fault_at_any_operation(fault: str, *, repair: bool, at: int) -> None:
    folder_outlives(fault, repair=repair, every=EVERY, at=at)


@pytest.mark.parametrize(
    ("fault", "repair", "at"), [("raise", False, 1), ("raise", True, 2), ("late", False, 3), ("late", True, 4)]
)
def test_object_storage_outlives_a_fault_at_any_operation(fault: str, *, repair: bool, at: int) -> None:
    object_storage_outlives(fault, repair=repair, every=EVERY, at=at)
