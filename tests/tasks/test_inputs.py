"""Tokens, padding and batches: every row once, in batches of like length, with results in the rows' order."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch  # noqa: TID253 - this module tests torch code
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.store.store import Store
from assets.tasks.classification import pretrained
from assets.tasks.inputs import budgeted_batches, collate, infer, read_side, shuffled_batches
from assets.tasks.tokens import Tokens
from tests.tiny import LABELS, make_base_model, make_rows, make_splits

LENGTHS = st.lists(st.integers(min_value=1, max_value=50), min_size=1, max_size=300)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(lengths=LENGTHS, batch_size=st.integers(min_value=1, max_value=8), seed=st.integers(0, 99))
def test_every_row_is_in_one_batch_and_the_seed_decides(lengths: list[int], batch_size: int, seed: int) -> None:
    batches = shuffled_batches(lengths, batch_size, torch.Generator().manual_seed(seed), window=3)

    assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))
    assert max(map(len, batches)) <= batch_size
    assert len(batches) == -(-len(lengths) // batch_size)
    assert batches == shuffled_batches(lengths, batch_size, torch.Generator().manual_seed(seed), window=3)


def test_batches_hold_rows_of_like_length_in_an_order_of_no_length() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 100, (1600,), generator=generator).tolist()

    batches = shuffled_batches(lengths, 16, generator, window=8)

    padded = sum(max(lengths[at] for at in batch) * len(batch) for batch in batches)
    assert padded < 1.15 * sum(lengths)
    longest = [max(lengths[at] for at in batch) for batch in batches]
    assert sum(left < right for left, right in pairwise(longest)) / len(longest) == pytest.approx(0.5, abs=0.1)
    assert batches != shuffled_batches(lengths, 16, generator, window=8)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(rows=st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=1, max_size=9))
def test_collate_pads_to_the_longest_row_and_masks_the_padding(rows: list[list[int]]) -> None:
    batch = collate(rows, pad_token_id=0)

    assert batch["input_ids"].shape == batch["attention_mask"].shape == (len(rows), max(map(len, rows)))
    for at, row in enumerate(rows):
        mask = batch["attention_mask"][at].bool()
        assert batch["input_ids"][at][mask].tolist() == row
        assert not batch["input_ids"][at][~mask].any()


@settings(deadline=None, derandomize=True, max_examples=100)
@given(lengths=LENGTHS, budget=st.integers(min_value=1, max_value=200))
def test_budgeted_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = budgeted_batches(lengths, budget)
    order = [at for batch in batches for at in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert order == sorted(order, key=lambda at: (-lengths[at], at))
    for batch, following in pairwise([*batches, []]):
        padded = max(lengths[at] for at in batch)
        assert len(batch) == 1 or len(batch) * padded <= budget
        assert not following or (len(batch) + 1) * padded > budget


def test_infer_gives_each_row_the_logits_that_it_has_alone(tmp_path: Path) -> None:
    model = pretrained(make_base_model(tmp_path), LABELS)
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(5, 60, (length,), generator=generator).tolist() for length in (3, 30, 7, 7, 1)]
    done: list[int] = []

    together = infer(model, Tokens.of(rows), pad_token_id=0, budget=14, advance=done.append)

    alone = torch.cat([infer(model, Tokens.of([row]), pad_token_id=0) for row in rows])
    torch.testing.assert_close(together, alone)
    assert done == [1, 2, 2]
    assert infer(model, Tokens.of([]), pad_token_id=0).shape == (0, 2)


def test_read_side_names_the_labels(store: Store) -> None:
    rows = make_rows(50, seed=1)

    side = read_side(make_splits(store, rows), "validation")

    assert list(zip(side.texts, side.labels, strict=True)) == rows[30:40]
    assert side.row_ids == sorted(side.row_ids)


def test_bf16_hardly_changes_logits_and_leaves_the_weights(tmp_path: Path) -> None:
    model = pretrained(make_base_model(tmp_path), LABELS)
    rows = [[2, 9, 8, 3], [2, 7, 3]]

    plain, fast = (
        infer(model, Tokens.of(rows), pad_token_id=0, precision=precision) for precision in ("float32", "bf16")
    )

    assert fast.dtype == plain.dtype == torch.float32
    assert not torch.equal(plain, fast)
    torch.testing.assert_close(plain, fast, atol=0.02, rtol=0.0)
    assert {weights.dtype for weights in model.parameters()} == {torch.float32}
