"""The store under faults: each operation fails once, and the process dies at each operation once.

Whatever happened, the store holds whole objects only, and the next run takes over what was complete, builds the rest,
and ends with the results of a run that nothing disturbed. See `faulty` for how faults are made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from typing import Any

import pytest

from tests.project import ROOT

FUNCTIONS = {"letters", "upper", "shared", "decide"}
LEAST = 20
"""Fewer operations than any scenario has: less would mean that faults are made where nothing happens."""


def attempts(*options: str, processes: int = 1, **settings: str) -> list[dict[str, Any]]:
    """What `faulty` reports, from processes that share the operations among them; the first attempt has no fault."""

    def share(first: int) -> list[dict[str, Any]]:
        shared = ("--every", str(processes), "--first", str(first))
        done = subprocess.run(
            [sys.executable, "-m", "tests.staleness.faulty", *options, *shared],
            cwd=ROOT,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    with ThreadPoolExecutor(processes) as pool:
        shares = list(pool.map(share, range(1, processes + 1)))
    struck = [attempt for _, *attempts in shares for attempt in attempts]
    return [shares[0][0], *sorted(struck, key=itemgetter("at"))]


def check(found: list[dict[str, Any]], *, repair: bool) -> None:
    undisturbed, *struck = found
    assert "failed" not in undisturbed, undisturbed
    operations = undisturbed["seen"]
    assert undisturbed["end"] == "succeeded"
    assert undisturbed["called"] == undisturbed["left"] == undisturbed["faults"] == []
    assert len(operations) > LEAST
    # Each operation was struck, and the last attempt came behind them all.
    assert [attempt["at"] for attempt in struck] == list(range(1, len(operations) + 2))
    assert [attempt["struck"] for attempt in struck] == [*operations, None]
    assert struck[-1]["end"] == "succeeded"
    for attempt in struck:
        said = str(attempt)
        assert "failed" not in attempt, said
        assert attempt["faults"] == attempt["faults_then"] == [], said
        missing = FUNCTIONS - set(attempt["complete"])
        # The part is asked for by `upper` only.
        assert sorted(attempt["called"]) == sorted(missing - ({"shared"} if "upper" not in missing else set())), said
        assert attempt["left"] == [], said
        assert attempt["contents"] == undisturbed["contents"], said
        assert attempt["log"] == undisturbed["log"] == ["promoted"] * (1 + repair), said


@pytest.mark.parametrize("repair", [False, True], ids=["from nothing", "repairing"])
@pytest.mark.parametrize("fault", ["kill", "raise"])
def test_a_folder_outlives_a_fault_at_every_operation(fault: str, *, repair: bool) -> None:
    found = attempts(fault, *(["--repair"] if repair else []))
    check(found, repair=repair)
    ends = {attempt["end"].partition(":")[0] for attempt in found[1:]}
    assert {"killed" if fault == "kill" else "failed"} < ends


@pytest.mark.parametrize("repair", [False, True], ids=["from nothing", "repairing"])
@pytest.mark.parametrize("fault", ["raise", "late"])
def test_object_storage_outlives_a_fault_at_every_operation(fault: str, *, repair: bool) -> None:
    """`late`: the operation was done, but its answer was lost."""
    check(attempts(fault, *(["--repair"] if repair else []), "--store", "memory://faulty"), repair=repair)
