"""The baseline: learns an easy task, is the same every time."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from assets.errors import DataError
from assets.evaluation.baseline import baseline
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.tiny import LABELS, make_rows, make_splits


def test_it_learns_the_toy_task_and_repeats_itself(make_build: MakeBuild, store: Store) -> None:
    splits = make_splits(store, make_rows(500, seed=0))
    build, again = (make_build({"splits": splits}) for _ in range(2))

    found = baseline(build, labels=LABELS)

    assert found["f1_macro"] > 0.97
    assert found == json.loads((build.content / "metrics.json").read_text()) == baseline(again, labels=LABELS)
    rows = pq.read_table(build.content / "predictions.parquet")
    assert rows.column_names == ["row_id", "label", "predicted"]
    assert rows["row_id"].to_pylist() == [f"{at:032x}" for at in range(400, 500)]
    assert rows.equals(pq.read_table(again.content / "predictions.parquet"))


def test_rare_labels_are_predicted_too(make_build: MakeBuild, store: Store) -> None:
    rows = make_rows(2000, seed=0)
    rare = [row for row in rows if row[1] == "ham"][:570] + [row for row in rows if row[1] == "spam"][:30]
    splits = make_splits(store, sorted(rare))

    assert baseline(make_build({"splits": splits}), labels=LABELS)["per_class"]["spam"]["recall"] > 0.8


def test_texts_without_words(make_build: MakeBuild, store: Store) -> None:
    splits = make_splits(store, [("!" * (at + 1), LABELS[at % 2]) for at in range(20)])

    with pytest.raises(DataError, match=r"baseline: the baseline cannot learn from the train side: empty vocabulary"):
        baseline(make_build({"splits": splits}), labels=LABELS)
