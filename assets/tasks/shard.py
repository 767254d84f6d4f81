"""The tokens of one shard of rows: a part with a key of its own, of the texts and of what the tokenizer does."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from assets.store.tables import read_tables, write_table

if TYPE_CHECKING:
    from assets.store.step import Build, Measurements

TOKENS = pa.large_list(pa.int32())
"""Type of a column with the tokens of each row. A shard may have more of them than 32 bits count."""
TABLE = "tokens.feather"
AT_ONCE = 8192
"""Texts that are tokenised at once: of each token `tokenizers` tells much besides its number."""


def tokenize(build: Build, *, split_special_tokens: bool) -> Measurements:
    """Tokenise the texts of a shard, those of rows on no side too.

    Content:
        tokens.feather: `tokens` of each row of the shard, in its order; it can be mapped into memory.

    Args:
        build: input `prepared`, a shard of the step `cleaned`, and the JSON file of a tokenizer of `tokenizers`.
        split_special_tokens: whether a text may spell special tokens without getting them, which is not in that file.

    Returns:
        rows.
    """
    (file,) = build.externals["files"].files
    tokenizer = loaded(file.path)
    tokenizer.encode_special_tokens = split_special_tokens
    texts = read_tables([build.inputs["prepared"]], "texts.feather", ["text"])["text"]
    column = encoded(texts, lambda some: [each.ids for each in tokenizer.encode_batch_fast(some.to_pylist())])
    write_table(build.content / TABLE, pa.table({"tokens": column}))
    return {"rows": len(column)}


@lru_cache(maxsize=1)
def loaded(path: str) -> Any:
    """The tokenizer of a file, which all shards have in common."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(path)


def encoded(texts: Any, encode: Callable[[Any], list[list[int]]]) -> pa.ChunkedArray:
    """Tokens of texts, of type `TOKENS`; few texts are tokenised at once.

    Args:
        texts: a list or a column.
        encode: from some of them to the tokens of each.
    """
    some = (texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE))
    return pa.chunked_array([pa.array(encode(each), TOKENS) for each in some], TOKENS)
