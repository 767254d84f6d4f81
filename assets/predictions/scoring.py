"""A part of the step `predictions`: what one model says about the texts of one shard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.cleaned.normalise import Form, normalised
from assets.evaluation.predict import load, predict
from assets.predictions.rows import listed
from assets.store.digests import write_json
from assets.store.tables import read_tables, write_table

if TYPE_CHECKING:
    from assets.store.step import Build, Measurements

loaded = lru_cache(maxsize=1)(load)
"""The model of a folder, which is named by what is in it: many small files are many shards of one model."""


def score(build: Build, *, unicode: Form | None, whitespace: bool, mask_pii: Sequence[str] | None) -> Measurements:
    """Score the texts of a shard, each distinct one once.

    What the scores come to – temperature and threshold – is no part of this: they may be found anew for a model, and
    it need not be asked again.

    Content:
        scores.feather: scores (the model's own probabilities, in the order of the labels), with a value for every row
            of the shard, in its order; null where a row has no text.
        labels.json: names of the labels.

    Args:
        build: inputs `model` and `shard` (see `assets.raw.shard`).
        unicode: Unicode normal form of the texts that the model was trained on, or None.
        whitespace: whether their white space was normalised.
        mask_pii: kinds of personal data that were masked in them, or None.

    Returns:
        rows; texts (distinct ones that were scored).

    Raises:
        DataError: the model cannot be loaded.
    """
    predictor = loaded(build.inputs["model"] / "model")
    texts = _prepared(build.inputs["shard"], unicode=unicode, whitespace=whitespace, mask_pii=mask_pii)
    # Blank to Python is more than blank to Arrow, and what counts is what the command line takes for no text.
    there = pa.array([bool(text.strip()) for text in texts.to_pylist()], pa.bool_())
    encoded = texts.filter(there).dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    labels = list(predictor.labels)
    found = predict(predictor, distinct, build.progress)[1] if distinct else np.empty((0, len(labels)))
    scores = pa.table({"scores": listed(found)})
    # Place of each row among the texts; null where it has none.
    place = np.full(len(texts), -1, np.int64)
    place[np.flatnonzero(there.to_numpy(zero_copy_only=False))] = encoded.indices.to_numpy()
    write_table(build.content / "scores.feather", scores.take(pa.array(place, mask=place < 0)), compressed=True)
    write_json(build.content / "labels.json", labels)
    return {"rows": len(texts), "texts": len(distinct)}


def _prepared(shard: Path, *, unicode: Form | None, whitespace: bool, mask_pii: Sequence[str] | None) -> pa.Array:
    """Texts of a shard as those were that the model was trained on; an empty one where there is none."""
    rows = read_tables([shard], "rows.feather", ["text"])
    texts = normalised(pc.fill_null(rows["text"], "").combine_chunks(), unicode=unicode, whitespace=whitespace)
    if mask_pii is None:
        return texts
    masked = _masking(mask_pii)
    return pa.array([masked(text) for text in texts.to_pylist()], pa.string())


def _masking(kinds: Sequence[str]) -> Callable[[str], str]:
    from assets.cleaned.masking import finder, mask_text  # needs an extra

    find = finder(kinds)
    return lambda text: mask_text(text, find)[0]
