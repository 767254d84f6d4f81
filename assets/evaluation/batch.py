"""What a model answers on a batch of labelled rows; a part with a key of its own, whatever asks for it."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from assets.evaluation.decisions import Decisions, read
from assets.evaluation.predict import load, predict
from assets.evaluation.score import by_name
from assets.store.step import Build, Measurements
from assets.store.tables import read_tables, write_table


def answer(build: Build, *, labels: Sequence[str]) -> Measurements:
    """Predict the rows of a batch.

    Content:
        answers.feather: row_id, label, predicted.

    Args:
        build: inputs `model`, `rows`, an object with `rows.feather`: row_id, text, label, and, where the model was
            evaluated, `evaluation`, which says how its scores become answers.
        labels: names of the classes, of which one is predicted for each row.

    Raises:
        DataError: the model has no label in common with the task, or cannot be loaded.
    """
    predictor = load(build.inputs["model"] / "model")
    rows = read_tables([build.inputs["rows"]], "rows.feather")
    _, found = predict(predictor, rows["text"].to_pylist(), build.progress)
    decisions = read(build.inputs["evaluation"]) if "evaluation" in build.inputs else Decisions()
    scores = by_name(decisions.calibrated(found), predictor.labels, labels)
    predicted = pa.array([labels[at] for at in decisions.chosen(scores, labels)], pa.string())
    answers = pa.table({"row_id": rows["row_id"], "label": rows["label"], "predicted": predicted})
    write_table(build.content / "answers.feather", answers, compressed=True)
    return {"rows": len(answers)}
