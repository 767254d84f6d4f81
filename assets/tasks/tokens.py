"""Texts as token numbers: made once for each shard of rows and tokenizer, kept in Arrow, read without copying them.

What a text's tokens are depends on the text and on what the tokenizer does, not on the model's weights. A tokenizer of
the library `tokenizers` says all that it does in one JSON text, also where it cuts off, so this is in the key of a
shard's tokens: trainings with other settings, the trials of a search and the evaluation of their models share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.splits.rows import read_places, read_side
from assets.store.digests import digest_file
from assets.store.links import read_links
from assets.store.step import Build, ObservedFile
from assets.store.tables import read_tables
from assets.tasks.shard import TABLE, TOKENS, encoded, loaded


class Tokens:
    """Token numbers of rows, 4 bytes each; in files mapped into memory where they are kept.

    Args:
        column: of type `assets.tasks.shard.TOKENS`.
        rows: which of its rows, in which order; None for all.

    Attributes:
        lengths: tokens of each row.
    """

    def __init__(self, column: pa.ChunkedArray, rows: npt.NDArray[np.integer[Any]] | None = None) -> None:
        chunks = [chunk for chunk in column.chunks if len(chunk)]
        ends = [chunk.offsets.to_numpy() for chunk in chunks]
        begins = np.concatenate([np.empty(0, np.int64), *(each[:-1] for each in ends)])
        lengths = np.concatenate([np.empty(0, np.int64), *(np.diff(each) for each in ends)])
        piece = np.repeat(np.arange(len(chunks), dtype=np.int32), [len(chunk) for chunk in chunks])
        if rows is not None:
            begins, lengths, piece = begins[rows], lengths[rows], piece[rows]
        self._pieces = [chunk.values.to_numpy() for chunk in chunks]
        self._begins, self._piece = begins, piece
        self.lengths: list[int] = lengths.tolist()

    @classmethod
    def of(cls, rows: Sequence[list[int]]) -> Tokens:
        """Of rows that are in memory."""
        return cls(pa.chunked_array([pa.array(rows, TOKENS)]))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, at: int) -> list[int]:
        begin = self._begins[at]
        found: list[int] = self._pieces[self._piece[at]][begin : begin + self.lengths[at]].tolist()
        return found

    def __iter__(self) -> Iterator[list[int]]:
        return map(self.__getitem__, range(len(self)))


def tokenize(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> Tokens:
    """Token numbers of each text, special tokens included, cut off after `max_tokens`."""

    def encode(some: Sequence[str]) -> list[list[int]]:
        found = tokenizer(
            list(some),
            truncation=True,
            max_length=max_tokens,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        ids: list[list[int]] = found["input_ids"]
        return ids

    return Tokens(encoded(texts, encode))


def tokens_of(build: Build, sides: Sequence[str], tokenizer: Any, max_tokens: int) -> list[Tokens]:
    """Token numbers of the rows of some sides, in the order of row_id; a shard that has them is not tokenised again.

    Leaves the tokenizer set as `tokenize` does.

    Args:
        build: input `splits`. Without parts, as by hand, texts are tokenised for this time.
        sides: `train`, `validation` or `test`.
        tokenizer: of transformers; one that does more than `tokenizers` tokenises for this time, too.
        max_tokens: where texts are cut off.
    """
    splits = build.inputs["splits"]
    if build.part is None or not _tells_all(tokenizer):
        return [tokenize(tokenizer, read_side(splits, side)["text"].to_pylist(), max_tokens) for side in sides]
    # From now on it tells where it cuts off.
    tokenize(tokenizer, [""], max_tokens)
    shards = read_links(splits)["prepared"]
    folders = []
    with TemporaryDirectory() as folder, build.progress.bar("shards tokenised", total=len(shards)) as advance:
        path = Path(folder) / "tokenizer.json"
        path.write_text(tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
        told = ObservedFile(path.name, str(path), digest_file(path), path.stat().st_size)
        try:
            for shard in shards:
                part = build.part(
                    "assets.tasks.shard:tokenize",
                    {"split_special_tokens": tokenizer.split_special_tokens},
                    inputs={"prepared": shard},
                    files=[told],
                    environment=("tokenizers", "pyarrow:major"),
                )
                folders.append(part.content)
                advance()
        finally:
            loaded.cache_clear()
    column = read_tables(folders, TABLE)["tokens"]
    return [Tokens(column, read_places(splits, side)["at"].to_numpy()) for side in sides]


def _tells_all(tokenizer: Any) -> bool:
    """Whether it is one of the library `tokenizers`, and tokenises as that does and in no way of its own."""
    from transformers import PreTrainedTokenizerFast as Plain

    own = type(tokenizer)
    if not issubclass(own, Plain):
        return False
    return own.__call__ is Plain.__call__ and own._encode_plus is Plain._encode_plus
