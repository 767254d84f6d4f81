"""A part of the step `cleaned`: one shard of rows, their texts normalised and made ready to be compared with others."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.cleaned.ngrams import ngrams, prefixes, ragged, sketches
from assets.cleaned.normalise import Form, normalised
from assets.store.tables import ID, read_tables, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assets.store.step import Build, Measurements


def prepare(
    build: Build, *, unicode: Form | None, whitespace: bool, near_duplicates: Mapping[str, Any] | None
) -> Measurements:
    """Normalise the texts of a shard, and say of each what finds equal ones and near-duplicates.

    Content, each but the last two with a value for every row of the shard, in its order:
        texts.feather: text, normalised.
        keys.feather: key (16 bytes of the text's SHA-256) and label; with near-duplicates `size` of the text's set of
            n-grams, `sketch` and `sketch_2` (see `assets.cleaned.ngrams`).
        ngrams.feather: the sets of n-grams, one after another.
        prefixes.feather: the n-grams of each text that are looked at first, likewise.

    Args:
        build: input `shard` (see `assets.raw.shard`); a text or label that is null counts as an empty one.
        unicode: Unicode normal form, or None.
        whitespace: whether white space is normalised.
        near_duplicates: `similarity` and `ngram`, or None.

    Returns:
        rows.
    """
    rows = read_tables([build.inputs["shard"]], "rows.feather", ["text", "label"])
    texts, labels = (pc.fill_null(rows[name], "").combine_chunks() for name in ("text", "label"))
    texts = normalised(texts, unicode=unicode, whitespace=whitespace)
    write_table(build.content / "texts.feather", pa.table({"text": texts}), compressed=True)
    digests = b"".join([hashlib.sha256(text).digest()[:16] for text in texts.cast(pa.binary()).to_pylist()])
    keys: dict[str, Any] = {
        "key": pa.FixedSizeBinaryArray.from_buffers(ID, len(texts), [None, pa.py_buffer(digests)]),
        "label": labels.dictionary_encode(),
    }
    if near_duplicates is not None:
        words = texts if whitespace else normalised(texts, unicode=None, whitespace=True)
        hashes, sizes = ngrams(words, near_duplicates["ngram"])
        keys["size"] = sizes.astype(np.int32)
        (keys["sketch"],) = sketches(hashes, sizes)
        (keys["sketch_2"],) = sketches(hashes, sizes, skip=6)
        prefix = hashes[ragged(np.cumsum(sizes) - sizes, prefixes(sizes, near_duplicates["similarity"]))]
        for name, column in (("ngrams", hashes), ("prefixes", prefix)):
            write_table(build.content / f"{name}.feather", pa.table({"ngram": column}))
    write_table(build.content / "keys.feather", pa.table(keys))
    return {"rows": len(texts)}
