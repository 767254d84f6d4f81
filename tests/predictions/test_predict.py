"""The step's function where nothing can be predicted."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.predictions.predict import predict
from assets.predictions.rows import read_predictions
from assets.progress import Event
from assets.store.step import Observation, ObservedFile
from tests.conftest import MakeBuild

GIVEN: dict[str, Any] = {
    "format": "auto",
    "names": None,
    "quoting": "auto",
    "encoding": "auto",
    "columns": {"text": "text", "keep": ["id"]},
    "unicode": "NFC",
    "whitespace": True,
    "mask_pii": None,
}


def seen(*objects: str, lost: bool = False) -> Observation:
    return Observation("input", "promotion log", "", objects=() if lost else objects, lost=objects if lost else ())


@pytest.mark.parametrize(
    ("changed", "reason", "model"),
    [
        ({"champion": seen()}, "there is no champion yet", None),
        ({"champion": seen("m", lost=True)}, "the store has lost the champion", "m"),
        (
            {"champion_evaluation": seen("e", lost=True)},
            "the store has lost the evaluation of the champion, which says how it decides",
            "m",
        ),
        ({"unlabelled": Observation("source", "inbox/*.csv", "")}, "there are no files", "m"),
        ({"sample": 10}, "a sample of the pipeline predicts nothing", "m"),
    ],
)
def test_it_says_why_and_the_result_is_empty(
    changed: dict[str, Any], reason: str, model: str | None, make_build: MakeBuild, events: list[Event]
) -> None:
    file = ObservedFile("inbox/a.csv", "inbox/a.csv", "0" * 64, 1)
    sample = changed.pop("sample", None)
    externals = {
        "unlabelled": Observation("source", "inbox/*.csv", "", (file,)),
        "champion": seen("m"),
        "champion_evaluation": seen("e"),
        **changed,
    }
    build = make_build(externals=externals)
    told = predict(build, sample=sample, **GIVEN)
    assert (told["reason"], told["model"]) == (reason, model)
    assert (told["read"], told["predicted"], told["rows"], told["labels"]) == (0, 0, 0, {})
    assert [event["text"] for event in events] == [f"nothing is predicted: {reason}"]
    table = read_predictions(build.content)
    assert (table.num_rows, table.column_names) == (0, ["row_id", "id", "predicted", "confidence", "scores"])
    assert pq.read_table(build.content / "rejected.parquet").num_rows == 0
    assert json.loads((build.content / "predictions.json").read_bytes())["columns"] == ["id"]
