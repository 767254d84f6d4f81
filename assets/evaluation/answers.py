"""What a model says about one side of the splits; a part with a key of its own, of model and splits alone.

Slices, thresholds and costs are looked at again and again; nothing is predicted again for them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from assets.evaluation.decisions import Scores
from assets.evaluation.predict import load, score
from assets.store.step import Build, Measurements
from assets.store.tables import read_tables, write_table
from assets.tasks.tokens import tokens_of


class Answers(NamedTuple):
    """Probabilities of one model.

    Attributes:
        scores: float64, shape [rows, names].
        names: labels of the model, in the order of its outputs.
    """

    scores: Scores
    names: tuple[str, ...]


def answer_side(build: Build, *, side: str) -> Measurements:
    """Predict the rows of one side.

    Content:
        scores.feather: a column for each label of the model, in the order of its outputs; rows in the order of row_id.

    Args:
        build: inputs `model` and `splits`.
        side: `validation` or `test`.

    Raises:
        DataError: the model cannot be loaded.
    """
    predictor = load(build.inputs["model"] / "model")
    tokenizer = predictor.tokenizer
    (tokens,) = tokens_of(build, [side], tokenizer, tokenizer.model_max_length)
    scores = score(predictor, tokens, build.progress)
    columns = dict(zip(predictor.labels, np.asarray(scores, np.float64).T, strict=True))
    write_table(build.content / "scores.feather", pa.table(columns), compressed=True)
    return {"rows": len(tokens)}


def answers(build: Build, side: str) -> Answers:
    """What the model that a step is given says about a side of the splits that it is given."""
    assert build.part is not None
    part = build.part(
        "assets.evaluation.answers:answer_side",
        {"side": side},
        inputs={name: build.digests[name] for name in ("model", "splits")},
        environment=("torch", "transformers", "tokenizers", "pyarrow:major"),
    )
    table = read_tables([part.content], "scores.feather")
    scores = np.stack([column.to_numpy() for column in table.columns], axis=1)
    return Answers(scores, tuple(table.column_names))
