"""The search for near-duplicates among texts, without shards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from assets.cleaned import near_duplicates
from assets.cleaned.near_duplicates import Sets
from assets.cleaned.ngrams import ngrams, prefixes, ragged, sketches
from assets.cleaned.normalise import normalised


def group(texts: Sequence[str], *, similarity: float, ngram: int) -> list[int]:
    """For each text the lowest index in its group."""
    words = normalised(pa.array(texts, pa.string()), unicode=None, whitespace=True)
    hashes, sizes = ngrams(words, ngram)
    starts, prefix = np.cumsum(sizes) - sizes, prefixes(sizes, similarity)
    (first,), (second,) = sketches(hashes, sizes), sketches(hashes, sizes, skip=6)
    entries = hashes[ragged(starts, prefix)].astype(np.uint64) << np.uint64(32)
    entries |= np.repeat(np.arange(len(texts), dtype=np.uint64), prefix)
    sets = Sets(hashes, starts, sizes, prefix, (first, second))
    groups: list[int] = near_duplicates.group(sets, entries, similarity, np.arange(len(texts))).tolist()
    return groups
