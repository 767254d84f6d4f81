"""What a classifier expects of each row without having been trained on it or on its near-duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assets.review.folds import FOLDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets.progress import Progress
    from assets.review.confident import Indices, Probabilities

Mask = npt.NDArray[np.bool_]

FEATURES = 1 << 18
"""Word and character n-grams are hashed to as many columns each: what a row costs does not depend on the others."""
LEAST_ROWS = 3
"""An n-gram of fewer rows than these only helps to learn single rows by heart."""
ROWS_AT_ONCE = 1 << 14


def expect(
    texts: Sequence[str],
    labels: Indices,
    *,
    folds: Indices,
    sample: Indices,
    count: int,
    progress: Progress,
) -> tuple[Probabilities, Mask]:
    """Train once for each fold, on those rows of the sample that are not in it, and predict the fold.

    The classifier is logistic regression, each label against the rest, on TF-IDF of words, word pairs and character 3-
    and 4-grams.

    Args:
        texts: of the rows.
        labels: of the rows.
        folds: of the rows.
        sample: rows to learn from.
        count: number of labels.
        progress: where to say how far it is.

    Returns:
        Probability of each label; and which rows could be judged: those whose label other folds have too, and none
        where texts have nothing in common. The others have no probabilities.
    """
    from sklearn.feature_extraction.text import TfidfTransformer

    counted = _counts([texts[row] for row in sample.tolist()])
    columns = np.flatnonzero(np.bincount(counted.indices, minlength=counted.shape[1]) >= LEAST_ROWS)
    probabilities = np.zeros((len(texts), count), np.float32)
    judged = np.zeros(len(texts), bool)
    if not len(columns):
        return probabilities, judged
    weighting = TfidfTransformer(sublinear_tf=True)
    known = weighting.fit_transform(counted[:, columns])
    with progress.bar("folds judged", total=FOLDS) as advance:
        for fold in range(FOLDS):
            others = folds[sample] != fold
            classes = np.unique(labels[sample[others]])
            judged |= (folds == fold) & np.isin(labels, classes)
            there = np.flatnonzero((folds == fold) & judged)
            if len(classes) < 2 or not len(there):
                judged[there] = False
            else:
                classifier = _classifier().fit(known[others], labels[sample[others]])
                for start in range(0, len(there), ROWS_AT_ONCE):
                    rows = there[start : start + ROWS_AT_ONCE]
                    found = weighting.transform(_counts([texts[row] for row in rows.tolist()])[:, columns])
                    probabilities[np.ix_(rows, classes)] = classifier.predict_proba(found)
            advance(1)
    return probabilities, judged


def _counts(texts: list[str]) -> Any:
    """How often each n-gram occurs: a sparse matrix of shape [texts, 2 × FEATURES]."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import HashingVectorizer

    plain = {"n_features": FEATURES, "alternate_sign": False, "norm": None}
    words = HashingVectorizer(ngram_range=(1, 2), token_pattern=r"\b\w+\b", **plain)  # noqa: S106
    characters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 4), **plain)
    return hstack([words.transform(texts), characters.transform(texts)], format="csr")


def _classifier() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    # Newton's method: no random order, and it ends. A tenth of the usual precision changes no list.
    return OneVsRestClassifier(LogisticRegression(solver="liblinear", C=3.0, tol=1e-2))
