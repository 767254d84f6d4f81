"""The tests for drift. Each gives the chance of a difference as large as the one seen if new rows are like old ones.

All are about independent rows: see `assets.drift.rows.sampled`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

DRAWS = 4999
"""Random permutations where no formula is exact enough: the lowest chance that they can show is 1 in 5,000."""
LEAST_EXPECTED = 5
"""Rows expected in a cell of a table from which on the chi-square distribution is exact enough (Cochran's rule)."""
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+"
)
"""A word; of Han and kana, which are written without spaces, each character."""
HASHED = 1 << 18
"""Columns that the classifier's n-grams are hashed into."""

Flags = npt.NDArray[np.bool_]


class Shift(NamedTuple):
    """What a test found.

    Attributes:
        p: chance of this difference or a larger one without drift.
        effect: size of the difference; each test says of what.
    """

    p: float
    effect: float


NONE = Shift(1.0, 0.0)
"""Where there is nothing to compare."""


def label_shift(old: Sequence[str], new: Sequence[str]) -> Shift:
    """Compare the shares of labels by Pearson's chi-square; where cells are too sparse for it, by random tables.

    The effect is the total variation distance: the share of new rows that would have to have another label.
    """
    from scipy.stats import chi2_contingency, random_table
    from scipy.stats.contingency import expected_freq

    names = sorted({*old, *new})
    if len(names) < 2:
        return NONE
    table = np.array([[side.count(name) for name in names] for side in map(list, (old, new))])
    shares = table / table.sum(axis=1, keepdims=True)
    effect = float(np.abs(shares[0] - shares[1]).sum() / 2)
    expected = expected_freq(table)
    if expected.min() >= LEAST_EXPECTED:
        return Shift(float(chi2_contingency(table, correction=False).pvalue), effect)
    drawn = random_table(table.sum(axis=1), table.sum(axis=0)).rvs(DRAWS, random_state=np.random.default_rng(0))
    statistic = ((drawn - expected) ** 2 / expected).sum(axis=(1, 2))
    # Of tables that are equally far some may differ in the last bit.
    found = ((table - expected) ** 2 / expected).sum() * (1 - 1e-9)
    return Shift(_chance(statistic >= found), effect)


def length_shift(old: Sequence[str], new: Sequence[str]) -> Shift:
    """Compare the lengths of texts, in characters, by Kolmogorov and Smirnov.

    The effect is their statistic: the largest difference between the shares of texts up to some length.
    """
    from scipy.stats import ks_2samp

    found = ks_2samp([len(text) for text in old], [len(text) for text in new], method="asymp")
    return Shift(float(found.pvalue), float(found.statistic))


def vocabulary_shift(trained: Sequence[str], held_out: Sequence[str], new: Sequence[str]) -> Shift:
    """Compare how many words are not in the training rows: of new rows, and of rows held out when it was trained.

    Words of one text depend on each other, so texts are permuted and not words; only more unknown words are drift. The
    effect is the difference of the shares of unknown words.

    Args:
        trained: texts that the champion was trained on.
        held_out: texts that it was made from and not trained on.
        new: texts that came in.
    """
    known = {word for text in trained for word in words(text)}
    counts = np.array([_unknown(text, known) for text in (*held_out, *new)], dtype=float).reshape(-1, 2)
    is_new = np.arange(len(counts)) >= len(held_out)
    totals = [counts[where].sum(axis=0) for where in (~is_new, is_new)]
    if not all(words for _, words in totals):
        return NONE
    old_share, new_share = (unknown / words for unknown, words in totals)
    # By how much a text has more unknown words than texts of its length have on average: what is summed is linear in
    # texts, and so is its mean under permutation, 0.
    overall = counts[:, 0].sum() / counts[:, 1].sum()
    excess = counts[:, 0] - overall * counts[:, 1]
    rng, n = np.random.default_rng(0), len(new)
    drawn = np.array([rng.permutation(excess)[:n].sum() for _ in range(DRAWS)])
    return Shift(_chance(drawn >= excess[is_new].sum() - 1e-9), float(new_share - old_share))


def separation(old: Sequence[str], new: Sequence[str], old_folds: Flags, new_folds: Flags) -> Shift:
    """Learn to tell new texts from old ones on one half of them, try it on the other half; then the other way round.

    The scores of a half come from a classifier that never saw it, so Mann and Whitney's test of them is exact given
    that classifier. The two tests depend on each other through what was learned; twice the lower chance of the two
    holds whatever that dependence (Bonferroni). Scores of more folds in one test would not be independent.

    The effect is the area under the ROC curve, the mean of both halves, above chance (0.5).

    Args:
        old: texts that the champion was made from.
        new: texts that came in.
        old_folds: half of each old text; near-duplicates, old or new, are in one half.
        new_folds: half of each new text.
    """
    from scipy.stats import mannwhitneyu
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = HashingVectorizer(
        token_pattern=WORD.pattern, ngram_range=(1, 2), n_features=HASHED, alternate_sign=False, dtype=np.float64
    )
    texts, target = vectorizer.transform([*old, *new]), np.arange(len(old) + len(new)) >= len(old)
    # Columns that nothing was hashed into would cost as much as others in each step of the fit.
    texts = texts[:, np.unique(texts.indices)]
    fold = np.concatenate([old_folds, new_folds])
    if any(not (target[fold == half].any() and (~target[fold == half]).any()) for half in (False, True)):
        return NONE
    chances, areas = [], []
    for half in (False, True):
        learned = LogisticRegression(C=10, class_weight="balanced", max_iter=200, tol=1e-3)
        learned.fit(texts[fold != half], target[fold != half])
        scores, is_new = learned.decision_function(texts[fold == half]), target[fold == half]
        found = mannwhitneyu(scores[is_new], scores[~is_new], alternative="greater", method="asymptotic")
        chances.append(float(found.pvalue))
        areas.append(float(found.statistic) / (is_new.sum() * (~is_new).sum()))
    return Shift(min(1.0, 2 * min(chances)), float(np.mean(areas) - 0.5))


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return WORD.findall(text.lower())


def unknown_share(text: str, known: set[str]) -> float:
    """Share of the words of a text that are not known; 0 if it has none."""
    unknown, every = _unknown(text, known)
    return unknown / max(every, 1)


def _unknown(text: str, known: set[str]) -> tuple[int, int]:
    found = words(text)
    return sum(word not in known for word in found), len(found)


def _chance(as_far: Flags) -> float:
    """Chance by draws; what was seen is one of them, so that it is never 0."""
    return (1 + int(as_far.sum())) / (1 + len(as_far))
