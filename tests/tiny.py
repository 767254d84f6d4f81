"""A tiny random BERT and a toy task that it learns in seconds, for tests that need a real model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def make_splits(folder: Path, rows: Sequence[tuple[str, str]], labels: Sequence[str] = LABELS) -> Path:
    """Write what the step `splits` writes, in `folder/dataset`: 60 % train, 20 % validation, 20 % test."""
    import datasets

    features = datasets.Features(
        {
            "row_id": datasets.Value("string"),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=list(labels)),
            "group": datasets.Value("string"),
        }
    )
    identified = [(f"{at:032x}", text, label) for at, (text, label) in enumerate(rows)]
    cuts = {"train": slice(0, len(rows) * 3 // 5), "validation": slice(len(rows) * 3 // 5, len(rows) * 4 // 5)}
    cuts["test"] = slice(cuts["validation"].stop, None)

    def side(cut: slice) -> Any:
        row_ids, texts, names = zip(*identified[cut], strict=True)
        columns = {"row_id": row_ids, "text": texts, "label": [labels.index(name) for name in names], "group": row_ids}
        return datasets.Dataset.from_dict(columns, features=features)

    datasets.disable_progress_bars()
    datasets.DatasetDict({name: side(cut) for name, cut in cuts.items()}).save_to_disk(folder / "dataset")
    return folder


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
