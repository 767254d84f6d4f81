"""A tiny random BERT and a toy task that it learns in seconds, for tests that need a real model."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.splits.rows import OVERLAY
from assets.splits.sides import SIDES
from assets.store.digests import write_json
from assets.store.links import write_links
from assets.store.store import Store
from assets.store.tables import ID, write_table
from assets.tasks.loading import quiet

NEUTRAL = [
    first + second
    for first in ("ba", "de", "ki", "lo", "mu", "na", "po", "ri")
    for second in ("tan", "ver", "sol", "mek", "dur", "fi")
]
MARKERS = {"ham": ["home", "dinner", "sister", "sleep"], "spam": ["prize", "urgent", "claim", "cash"]}
LABELS = tuple(MARKERS)


def make_rows(n: int, seed: int) -> list[tuple[str, str]]:
    """Make `n` different texts with labels: a label's marker words among neutral ones; a quarter is spam."""
    generator = random.Random(seed)  # noqa: S311 - toy data
    rows: dict[str, str] = {}
    while len(rows) < n:
        label = "spam" if generator.random() < 0.25 else "ham"
        words = generator.choices(NEUTRAL, k=generator.randint(4, 9)) + generator.choices(MARKERS[label], k=3)
        generator.shuffle(words)
        rows[" ".join(words)] = label
    return list(rows.items())


def make_object(store: Store, files: Mapping[str, Any], links: Mapping[str, Sequence[str]] | None = None) -> str:
    """Publish tables (`.feather`, `.parquet`) and JSON values as an object; returns its digest."""
    write = {".feather": write_table, ".parquet": lambda path, table: pq.write_table(table, path), ".json": write_json}
    with store.staged() as folder:
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            write[Path(name).suffix](folder / name, content)
        if links is not None:
            write_links(folder, links)
        return store.publish("objects", folder)


def make_shard(store: Store, rows: pa.Table) -> str:
    """Publish rows as a shard of `raw`: row_id (hexadecimal), text, label, further columns, all strings."""
    ids = pa.array([bytes.fromhex(row_id) for row_id in rows["row_id"].to_pylist()], ID)
    files = {"rows.feather": rows.drop_columns("row_id"), "ids.feather": pa.table({"row_id": ids})}
    return make_object(store, files)


def make_splits(
    store: Store,
    rows: Sequence[tuple[str, str]],
    sides: Sequence[str] | None = None,
    like: Mapping[int, int] = MappingProxyType({}),
    first: int = 0,
) -> Path:
    """Publish what the step `splits` writes, and return its folder in the store.

    Args:
        store: where it goes.
        rows: text and label; their place is their `row_id`, 32 hexadecimal digits.
        sides: side of each row; None: 60 % train, 20 % validation, 20 % test, in this order.
        like: place of a row → that of the row that names its group; others are groups of their own.
        first: place of the first row.
    """
    if sides is None:
        sides = [SIDES[(at * 5 >= len(rows) * 3) + (at * 5 >= len(rows) * 4)] for at in range(len(rows))]
    texts, labels = zip(*rows, strict=True)
    ids = [f"{at:032x}" for at in range(first, first + len(rows))]
    table = pa.table({"row_id": ids, "text": texts, "label": labels})
    # Two shards, the later rows first: whoever reads them has to bring them into their order. As they came, texts are
    # not in their normal form.
    half = len(rows) // 2
    halves = [table.slice(half), table.slice(0, half)]
    links = {
        "shards": [make_shard(store, rows.set_column(1, "text", pc.utf8_upper(rows["text"]))) for rows in halves],
        "prepared": [make_object(store, {"texts.feather": rows.select(["text"])}) for rows in halves],
    }
    side = np.array([SIDES.index(side) for side in (*sides[half:], *sides[:half])], np.int8)
    names = [like.get(at, at) for at in (*range(half, len(rows)), *range(half))]
    group = np.array([(name - half) % len(rows) for name in names], np.int32)
    overlay = pa.table({"side": side, "group": group})
    digested = [links, sides, sorted(like.items())]
    return store.open("objects", make_object(store, {"rows.json": digested, OVERLAY: overlay}, links))


def make_base_model(folder: Path) -> Path:
    """Write a BERT of 2 layers, 32 wide, with random weights that are the same every time, and its tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, BertTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*NEUTRAL, *(word for words in MARKERS.values() for word in words)]
    vocabulary = {token: index for index, token in enumerate([*special, *words])}
    backend = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = BertTokenizerFast(tokenizer_object=backend, model_max_length=64)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder
