"""Likely label errors: rows whose label the other rows contradict, for people to look at.

What a classifier expects of a row that it was not trained on is held against the row's label. Nothing is left out
unless the configuration asks for it; `assets.review.rows` reads the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assets.store.step import Check, Measurements, Outcome, Step

if TYPE_CHECKING:
    from assets.config.pipeline import Pipeline

PAIRS_SAID = 3
"""How many pairs of labels the check names."""


def _labels_agree(measurements: Measurements, pipeline: Pipeline) -> Outcome:
    suspects, judged, unjudged = (measurements[name] for name in ("suspects", "judged", "unjudged"))
    pairs = [
        f"{pair['label']} that may be {pair['suggested']}: {pair['count']:,}"
        for pair in measurements["pairs"][:PAIRS_SAID]
    ]
    return Outcome(
        passed=suspects == 0,
        message=f"{suspects:,} of {judged:,} labels ({measurements['share']:.2%}) look wrong"
        + (f" – {', '.join(pairs)}" if pairs else "")
        + (f"; {unjudged:,} rows have a label that is too rare to judge" if unjudged else ""),
        values={name: measurements[name] for name in ("suspects", "judged", "unjudged", "share")},
        warning=True,
    )


def _quarantined_within_limit(measurements: Measurements, pipeline: Pipeline) -> Outcome:
    assert pipeline.review is not None
    quarantined, rows, limit = measurements["quarantined"], measurements["rows"], pipeline.review.max_quarantined
    share = quarantined / rows
    return Outcome(
        passed=share <= limit,
        message=f"{quarantined:,} of {rows:,} rows ({share:.2%}) are in quarantine for a doubtful label, at most "
        f"{limit:.2%} may be",
        values={"quarantined": quarantined, "share": share, "limit": limit},
    )


STEP = Step(
    name="review",
    description=(
        "Lists rows whose label the other rows contradict, most doubtful first: a classifier says what it expects of "
        "each row that it was not trained on. They are left out only if `review.quarantine` says so."
    ),
    function="assets.review.review:review",
    inputs=("validated", "cleaned"),
    wanted=lambda config: config.review is not None,
    configuration=("review.quarantine", "review.min_confidence", "review.max_rows"),
    environment=("scikit-learn:minor", "pyarrow:major"),
    checks=(
        Check(
            name="labels_agree",
            description="No row has a label that the other rows contradict.",
            judge=_labels_agree,
        ),
        Check(
            name="doubtful_labels_within_limit",
            description="The share of rows in quarantine for a doubtful label is at most `review.max_quarantined`.",
            judge=_quarantined_within_limit,
            blocking=True,
        ),
    ),
    kinds=("scikitlearn", "parquet"),
)
