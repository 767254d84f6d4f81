"""A made-up population of labelled texts, and the tests over two samples of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assets.drift import measures

VOCABULARY = [f"w{at}" for at in range(3000)]
# Few words are common and most are rare, as in a language (Zipf).
CHANCES: npt.NDArray[np.float64] = 1 / np.arange(2, len(VOCABULARY) + 2)
CHANCES /= CHANCES.sum()
TAIL = np.cumsum(CHANCES)


class Rows(NamedTuple):
    texts: list[str]
    labels: list[str]


def draw(
    rng: np.random.Generator, n: int, *, spam: float = 0.2, words: float = 12.0, slang: float = 0.0, rare: float = 0.01
) -> Rows:
    """Draw rows: `words` on average in a text, each a word of `slang` with that chance; a label may be rare."""
    labels = rng.choice(["ham", "spam", "odd"], size=n, p=[1 - spam - rare, spam, rare]).tolist()
    texts = []
    for label in labels:
        length = 1 + rng.poisson(words - 1)
        found = [VOCABULARY[at] for at in np.searchsorted(TAIL, rng.random(length) * TAIL[-1])]
        for at in np.flatnonzero(rng.random(length) < slang):
            found[at] = f"v{rng.integers(60, 100)}"
        # Labels have words of their own, so that all four tests depend on each other.
        texts.append(" ".join([*found, "prize"] if label == "spam" else found))
    return Rows(texts, labels)


def compared(rng: np.random.Generator, old: Rows, new: Rows) -> dict[str, measures.Shift]:
    """The four tests, with a third of the old rows held out and rows in halves by chance."""
    held_out = max(1, len(old.texts) // 3)
    halves = [rng.random(len(rows.texts)) < 0.5 for rows in (old, new)]
    return {
        "labels": measures.label_shift(old.labels, new.labels),
        "lengths": measures.length_shift(old.texts, new.texts),
        "vocabulary": measures.vocabulary_shift(old.texts[held_out:], old.texts[:held_out], new.texts),
        "separation": measures.separation(old.texts, new.texts, *halves),
    }
