from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from assets.splits import STEP
from assets.splits.dataset import measure, write_dataset

if TYPE_CHECKING:
    from pathlib import Path


def rows(*triples: tuple[str, str, str]) -> pa.Table:
    """Rows of one side, as (row_id, text, group), labelled `a`."""
    columns = {name: [triple[at] for triple in triples] for at, name in enumerate(("row_id", "text", "group"))}
    return pa.table({**columns, "label": ["a"] * len(triples)})


@pytest.mark.parametrize(
    ("test_row", "groups", "texts"),
    [
        (("r3", "three", "r3"), 0, 0),
        (("r3", "three", "r1"), 1, 0),
        (("r3", "one", "r3"), 0, 1),
        (("r3", "one", "r1"), 1, 1),
    ],
)
def test_leakage_is_seen_in_what_was_written_and_blocks(
    tmp_path: Path, test_row: tuple[str, str, str], groups: int, texts: int
) -> None:
    sides = {
        "train": rows(("r1", "one", "r1"), ("r2", "two", "r1")),
        "validation": rows(("r4", "four", "r4")),
        "test": rows(test_row),
    }
    write_dataset(tmp_path / "dataset", sides, ["a", "b"])
    measurements = measure(tmp_path / "dataset")
    assert (measurements["groups_across_sides"], measurements["texts_across_sides"]) == (groups, texts)
    assert measurements["labels"]["validation"] == {"a": 1, "b": 0}

    (check,) = STEP.checks
    outcome = check.judge(measurements, None)
    assert (check.name, check.blocking) == ("no_leakage", True)
    assert outcome.passed is (groups + texts == 0)
    assert outcome.message == f"{groups} groups and {texts} texts are on more than one side"
