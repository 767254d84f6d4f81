"""What scores come to, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assets.errors import DataError
from assets.evaluation.decisions import Decisions
from assets.predictions.rows import answered, read_predictions
from assets.store.links import write_links

LABELS = ("ham", "spam")


def scores(*rows: list[float] | None) -> pa.ChunkedArray:
    """In two chunks, as of two shards."""
    kind = pa.list_(pa.float64())
    return pa.chunked_array([pa.array(rows[:1], kind), pa.array(rows[1:], kind)], kind)


def test_the_likeliest_label_is_answered_and_none_where_there_is_no_text() -> None:
    found = answered(scores(None, [0.2, 0.8], None, [0.7, 0.3]), Decisions(), LABELS)
    assert found.to_pylist() == [
        {"predicted": None, "confidence": None, "scores": None},
        {"predicted": "spam", "confidence": 0.8, "scores": [0.2, 0.8]},
        {"predicted": None, "confidence": None, "scores": None},
        {"predicted": "ham", "confidence": 0.7, "scores": [0.7, 0.3]},
    ]
    assert answered(scores(None, None), Decisions(), LABELS)["predicted"].to_pylist() == [None, None]
    assert answered(scores(), Decisions(), LABELS).num_rows == 0


def test_temperature_and_threshold_are_those_of_the_evaluation() -> None:
    (row,) = answered(scores([0.7, 0.3]), Decisions(1.0, "spam", 0.25), LABELS).to_pylist()
    assert (row["predicted"], row["confidence"]) == ("spam", 0.3)
    (row,) = answered(scores([0.7, 0.3]), Decisions(2.0, "spam", 0.5), LABELS).to_pylist()
    even = np.sqrt(0.3) / (np.sqrt(0.3) + np.sqrt(0.7))
    assert (row["predicted"], row["scores"][1]) == ("ham", pytest.approx(even))


def test_predictions_of_an_earlier_version_are_refused(tmp_path: Path) -> None:
    write_links(tmp_path, {"shards": [], "answers": []})
    with pytest.raises(DataError, match="made by an earlier version of freshtune\n  fix: run the pipeline"):
        read_predictions(tmp_path)
