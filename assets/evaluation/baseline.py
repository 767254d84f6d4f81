"""What a model must beat: TF-IDF with logistic regression, trained on the same train side, in about a second."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from assets.errors import DataError
from assets.store.digests import write_json
from assets.store.step import Build, Measurements
from assets.tasks import classification as task
from assets.tasks.inputs import read_side


def baseline(build: Build, *, labels: Sequence[str]) -> Measurements:
    """Train on the train side, score the test side.

    Reads `splits`; writes `predictions.parquet` and `metrics.json`.

    Raises:
        DataError: no text of the train side has a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train, test = (read_side(build.inputs["splits"], side) for side in ("train", "test"))
    classifier = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        # With scikit-learn's own settings (C=1, no weights) rare labels are hardly ever predicted: too easy to beat.
        LogisticRegression(C=10, class_weight="balanced", max_iter=1000),
    )
    try:
        classifier.fit(train.texts, train.labels)
    except ValueError as error:
        raise DataError(
            f"the baseline cannot learn from the train side: {error}",
            where="baseline",
            fix="look at the texts: they need words of at least two characters",
        ) from error
    predicted = classifier.predict(test.texts).tolist()
    metrics = task.metrics(test.labels, predicted, labels)
    columns = {"row_id": test.row_ids, "label": test.labels, "predicted": predicted}
    pq.write_table(pa.table(columns), build.content / "predictions.parquet", compression="zstd")
    write_json(build.content / "metrics.json", metrics)
    return metrics
