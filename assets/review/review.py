"""The step's function: the list of likely label errors, and the quarantine if one is asked for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.cleaned.rows import read_rows
from assets.review.confident import calibrated, find_suspects
from assets.review.expected import expect
from assets.review.folds import folds_of, hashes_of, sample_of
from assets.review.rows import QUARANTINE, SUSPECTS
from assets.store.links import checked
from assets.validated.rows import read_upheld

if TYPE_CHECKING:
    from assets.store.step import Build, Measurements

DOUBTFUL_LABEL = "label_agrees_with_others"
"""Stands for an expectation."""
PAIRS = 20
"""Most frequent pairs of label and suggested label that are measured."""


def review(build: Build, *, quarantine: bool, min_confidence: float, max_rows: int) -> Measurements:
    """List the rows whose label is likely wrong.

    Content:
        suspects.parquet: see `assets.review.rows.read_suspects`; without rows whose label people confirmed or gave.
        quarantine.parquet: row_id, text, label, expectation, detail of those that are left out, in the order of row_id;
            none unless `quarantine`.

    Args:
        build: inputs `cleaned`, and `validated` for what people ruled.
        quarantine: whether suspects are left out.
        min_confidence: least probability of the suggested label for a suspect to be left out.
        max_rows: rows that a classifier learns from.

    Returns:
        rows, judged, unjudged (rows with a label too rare to judge), suspects, share (of the rows judged), pairs (the
        most frequent ones of label and suggested label, with their counts), quarantined.
    """
    assert build.part is not None
    # A part, so that what is left out can be changed without asking the classifier again.
    part = build.part(
        "assets.review.review:judge",
        {"max_rows": max_rows},
        inputs={"cleaned": build.digests["cleaned"]},
        environment=("scikit-learn:minor", "pyarrow:major"),
    )
    suspects = _without_upheld(pq.read_table(checked(part.content, SUSPECTS)), build)
    pq.write_table(suspects, build.content / SUSPECTS, compression="zstd")
    left_out = (
        suspects.filter(pc.field("suggested_confidence") >= min_confidence) if quarantine else suspects.slice(0, 0)
    )
    pq.write_table(_quarantine(left_out), build.content / QUARANTINE, compression="zstd")
    pairs = Counter(zip(suspects["label"].to_pylist(), suspects["suggested"].to_pylist(), strict=True))
    return {
        **part.measurements,
        "suspects": len(suspects),
        "share": len(suspects) / max(1, part.measurements["judged"]),
        "pairs": [
            {"label": label, "suggested": suggested, "count": count}
            for (label, suggested), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:PAIRS]
        ],
        "quarantined": len(left_out),
    }


def _without_upheld(suspects: pa.Table, build: Build) -> pa.Table:
    """Suspects without rows whose label a person confirmed or gave."""
    upheld = read_upheld(build.inputs["validated"])["row_id"]
    merged = pq.read_table(build.inputs["cleaned"] / "merged.parquet")
    into = merged.filter(pc.is_in(merged["row_id"], value_set=upheld))["kept"]
    return suspects.filter(
        pc.invert(pc.is_in(suspects["row_id"], value_set=pa.chunked_array([*upheld.chunks, *into.chunks], pa.string())))
    )


def judge(build: Build, *, max_rows: int) -> Measurements:
    """A part of the step: the list alone, whatever is left out for it.

    Probabilities are rounded to four digits, so that a last digit that differs between machines changes nothing.
    """
    cleaned = read_rows(build.inputs["cleaned"])
    coded = cleaned["label"].combine_chunks().dictionary_encode()
    names = sorted(coded.dictionary.to_pylist())
    labels = pc.index_in(cleaned["label"], value_set=pa.array(names)).to_numpy().astype(np.intp)
    groups = cleaned["group"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.intp)
    texts = cleaned["text"].to_pylist()
    hashes = hashes_of(texts)
    folds, sample = folds_of(hashes, labels, groups), sample_of(hashes, labels, at_most=max_rows)
    build.progress.message(f"learning from {len(sample):,} of {len(texts):,} rows")
    probabilities, judged = expect(texts, labels, folds=folds, sample=sample, count=len(names), progress=build.progress)
    where = np.flatnonzero(judged)
    probabilities, own = probabilities[where], labels[where]
    if len(where):
        # Identifiers are digests, so the first rows are any rows.
        probabilities = calibrated(probabilities, own, by=max_rows)
    found = find_suspects(probabilities, own)
    rows = where[found.rows]
    suspects = pa.table(
        {
            "row_id": cleaned["row_id"].take(rows),
            "text": cleaned["text"].take(rows),
            "label": pa.array([names[label] for label in labels[rows].tolist()], pa.string()),
            "suggested": pa.array([names[label] for label in found.suggested.tolist()], pa.string()),
            "confidence": np.round(found.confidence, 4),
            "suggested_confidence": np.round(found.suggested_confidence, 4),
        }
    )
    pq.write_table(suspects, build.content / SUSPECTS, compression="zstd")
    return {"rows": len(texts), "judged": len(where), "unjudged": len(texts) - len(where)}


def _quarantine(suspects: pa.Table) -> pa.Table:
    suspects = suspects.sort_by("row_id")
    details = [
        f"labelled {row['label']}; the other rows make {row['suggested']} likely, with a probability of "
        f"{row['suggested_confidence']:.2f} (that of {row['label']} is {row['confidence']:.2f})"
        for row in suspects.select(["label", "suggested", "confidence", "suggested_confidence"]).to_pylist()
    ]
    return (
        suspects.select(["row_id", "text", "label"])
        .append_column("expectation", pa.array([DOUBTFUL_LABEL] * len(suspects), pa.string()))
        .append_column("detail", pa.array(details, pa.string()))
    )
