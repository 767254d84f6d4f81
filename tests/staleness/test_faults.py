"""The store under faults: each operation fails once, and the process dies at each operation once.

Whatever happened, the store holds whole objects only, and the next run takes over what was complete, builds the rest,
and ends with the results of a run that nothing disturbed. See `faulty` for how faults are made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.project import ROOT

FUNCTIONS = {"letters", "upper", "shared", "decide"}
LEAST = 40
"""Fewer operations than any scenario has: less would mean that faults are made where nothing happens."""


def attempts(*options: str, **settings: str) -> list[dict[str, Any]]:
    """What `faulty` reports; the first attempt has no fault."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.staleness.faulty", *options],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(found: list[dict[str, Any]], *, repair: bool) -> None:
    undisturbed, *struck = found
    assert undisturbed["end"] == "succeeded"
    assert undisturbed["called"] == undisturbed["left"] == undisturbed["faults"] == []
    assert len(struck) == len(undisturbed["seen"]) + 1 > LEAST
    for attempt, operation in zip(struck, [*undisturbed["seen"], "none"], strict=True):
        said = f"{operation}: {attempt}"
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
