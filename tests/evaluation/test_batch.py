"""What a model answers on a batch of rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from assets.errors import DataError
from assets.evaluation.batch import answer
from assets.evaluation.predict import load, predict
from assets.store.step import Build
from assets.store.store import Store
from assets.store.tables import read_tables
from tests.conftest import MakeBuild
from tests.evaluation.test_score import write_model
from tests.tiny import LABELS, make_base_model, make_object, make_rows


@pytest.fixture
def build(make_build: MakeBuild, store: Store, tmp_path: Path) -> Build:
    texts, labels = zip(*make_rows(30, seed=3), strict=True)
    table = pa.table({"row_id": [f"{at:032x}" for at in range(30)], "text": texts, "label": labels})
    rows = store.open("objects", make_object(store, {"rows.feather": table}))
    model = write_model(tmp_path / "model", make_base_model(tmp_path / "base"), LABELS)
    return make_build({"model": model, "rows": rows})


def test_every_row_is_answered_as_the_model_predicts(build: Build, store: Store) -> None:
    assert answer(build, labels=LABELS) == {"rows": 30}
    given = read_tables([build.inputs["rows"]], "rows.feather")
    predicted, _ = predict(load(build.inputs["model"] / "model"), given["text"].to_pylist(), build.progress)
    found = read_tables([store.open("objects", store.publish("objects", build.content))], "answers.feather")
    assert found.to_pydict() == {**given.drop_columns("text").to_pydict(), "predicted": predicted}


def test_only_labels_of_the_task_are_answered(build: Build) -> None:
    with pytest.raises(DataError, match="the model knows none of the task's labels: it knows ham, spam"):
        answer(build, labels=("a", "b"))
