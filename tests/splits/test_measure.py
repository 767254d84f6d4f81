from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from assets.splits import STEP
from assets.splits.measure import measure
from assets.splits.rows import OVERLAY
from assets.store.tables import write_table

# Rows of no side are between the others; two keys may begin alike.
SIDES = [0, -1, 0, 1, 2, -1]
GROUPS = [0, 1, 0, 3, 4, -1]


@pytest.mark.parametrize(
    ("changed", "leaks"),
    [
        ({}, (0, 0, 0)),
        ({"near": [0, 1, 0, 3, 0, 5]}, (1, 0, 0)),
        ({"near": [0, 1, 3, 3, 0, 5]}, (2, 0, 0)),
        ({"keys": [1, 1, 2, 3, 1, 3]}, (0, 1, 0)),
        ({"keys": [1, 1, 3, 3, 1, 3], "near": [0, 1, 0, 3, 0, 5]}, (1, 2, 0)),
        ({"values": [7, 8, 7, -1, 7, 8]}, (0, 0, 1)),
    ],
)
def test_a_leak_is_seen_in_what_was_written_and_blocks(
    tmp_path: Path, changed: dict[str, list[int]], leaks: tuple[int, int, int]
) -> None:
    write_table(tmp_path / OVERLAY, pa.table({"side": pa.array(SIDES, pa.int8()), "group": GROUPS}))
    given = {"near": [0, 1, 0, 3, 4, 5], "keys": [1, 1, 2, 3, 4, 4], "values": [7, 8, 7, -1, -1, 7], **changed}
    low = np.array(given["keys"], np.uint64)
    measured = measure(
        tmp_path,
        ["a", "b"],
        label=np.array([0, -1, 1, 0, 0, 1]),
        near=np.array(given["near"]),
        keys=np.stack([low // 3, low], axis=1),
        values=np.array(given["values"]),
    )
    found = tuple(measured[f"{name}_across_sides"] for name in ("groups", "texts", "values"))
    assert found == leaks
    assert measured["rows"] == {"train": 2, "validation": 1, "test": 1}
    assert measured["effective_rows"] == 4**2 / (2**2 + 1 + 1)
    assert measured["labels"] == {
        "train": {"a": 1, "b": 1},
        "validation": {"a": 1, "b": 0},
        "test": {"a": 1, "b": 0},
    }

    check = STEP.checks[0]
    outcome = check.judge(measured, SimpleNamespace(splits=SimpleNamespace(group_by="user")))
    assert (check.name, check.blocking) == ("no_leak_between_sides", True)
    assert outcome.passed is (leaks == (0, 0, 0))
    groups, texts, values = leaks
    assert outcome.message == f"{groups} groups, {texts} texts and {values} values of user are on more than one side"
    del measured["values_across_sides"]
    assert check.judge(measured, None).message == f"{groups} groups and {texts} texts are on more than one side"
