"""What is different between two models."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.release.difference import made_differently, rows_differ, scores_differ
from assets.store.store import Store
from assets.tasks.classification import metrics
from tests.release.test_lineage import records
from tests.tiny import make_rows, make_splits

WORDS = st.lists(st.sampled_from([f"text {at}" for at in range(8)]), min_size=3, max_size=8, unique=True)


def test_equal_models_differ_in_nothing() -> None:
    assert made_differently(records(), records()) == {"settings": [], "environment": [], "code": []}


def test_settings_libraries_and_code() -> None:
    other = records(
        model={"configuration": {"model.further": 2}, "code": {"assets.model:work": "2", "assets.model:new": "1"}},
        raw={"environment": {"torch": "2.13.0", "pyarrow": "21"}},
    )
    found = made_differently(records(), other)
    assert found["settings"] == [
        {"what": "model.further", "old": None, "new": 2},
        {"what": "model.setting", "old": 1, "new": None},
    ]
    assert found["environment"] == [{"what": "pyarrow", "old": None, "new": "21"}]
    assert found["code"] == [{"step": "model", "pieces": ["assets.model:new", "assets.model:work"]}]


def test_rows(store: Store) -> None:
    # An identifier here is a place, so that rows differ by their end alone.
    old = [("a", "ham"), ("b", "ham"), ("c", "spam"), ("d", "ham")]
    before = make_splits(store, old, ["train", "train", "validation", "test"])
    after = make_splits(store, [*old[:3], ("d", "ham"), ("e", "ham")], ["train", "test", "validation", "test", "train"])
    found = rows_differ(before, after)
    assert found == {
        "added": 1,
        "removed": 0,
        "relabelled": 0,
        "moved": 1,
        "same_test_rows": False,
        "rows": {"train": [2, 2], "validation": [1, 1], "test": [1, 2]},
    }
    back = rows_differ(after, before)
    assert (back["added"], back["removed"], back["moved"]) == (0, 1, 1)
    assert rows_differ(before, before)["same_test_rows"]


def test_a_row_with_another_label_is_found_by_its_text(store: Store) -> None:
    """It is another row, with another identifier; here identifiers go 0, 1, 2, 3 and 2, 3, 4, 5."""
    before = make_splits(store, [("a", "ham"), ("b", "ham"), ("c", "ham"), ("d", "ham")])
    after = make_splits(store, [("c", "ham"), ("d", "ham"), ("b", "spam"), ("e", "ham")], first=2)
    found = rows_differ(before, after)
    assert {name: found[name] for name in ("added", "removed", "relabelled")} == {
        "added": 1,
        "removed": 1,
        "relabelled": 1,
    }


@pytest.mark.parametrize("kept", [19, 5])
def test_only_texts_of_rows_that_differ_are_read(store: Store, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    from assets.splits import rows

    made = make_rows(20, seed=3)
    read: list[int] = []
    real = rows.read_some

    def counted(splits: Path, row_ids: pa.ChunkedArray) -> pa.Table:
        found = real(splits, row_ids)
        read.append(found.num_rows)
        return found

    monkeypatch.setattr(rows, "read_some", counted)
    rows_differ(make_splits(store, made), make_splits(store, made[-kept:] + made[: 20 - kept], first=20 - kept))
    assert read == [20 - kept, 20 - kept]


@settings(deadline=None, max_examples=10, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WORDS, WORDS)
def test_what_comes_goes_the_other_way(store: Store, one: list[str], two: list[str]) -> None:
    splits = [make_splits(store, [(text, "ham") for text in texts]) for texts in (one, two)]
    there, back = rows_differ(*splits), rows_differ(*reversed(splits))
    assert (there["added"], there["removed"]) == (back["removed"], back["added"])
    assert there["moved"] == back["moved"]


def test_scores() -> None:
    true = ["ham", "ham", "spam", "spam"]
    old = metrics(true, ["ham", "ham", "spam", "ham"], ["ham", "spam"]) | {"intervals": {"accuracy": [0.3, 0.95]}}
    new = metrics(true, ["ham", "spam", "spam", "spam"], ["ham", "spam", "eggs"])
    found = scores_differ(old, new)
    first = found["metrics"][0]
    assert first == {"metric": "accuracy", "old": 0.75, "new": 0.75, "difference": 0.0, "old_interval": [0.3, 0.95]}
    assert [each["label"] for each in found["labels"]] == ["ham", "spam", "eggs"], "the largest loss first"
    assert found["labels"][0]["difference"] == pytest.approx(2 / 3 - 0.8)
    assert found["labels"][2] == {"label": "eggs", "old": None, "new": 0.0, "difference": None}
    assert scores_differ({}, {}) == {"metrics": [], "labels": []}
