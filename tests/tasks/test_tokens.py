"""Tokens: those of the tokenizer itself, made once for each shard, light in memory."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.splits.rows import read_side
from assets.splits.sides import SIDES
from assets.store.links import linked
from assets.store.store import Store
from assets.tasks import shard
from assets.tasks.loading import load_tokenizer, quiet
from assets.tasks.shard import TOKENS
from assets.tasks.tokens import Tokens, tokenize, tokens_of
from tests.conftest import MakeBuild
from tests.tiny import make_rows, make_splits

ROWS = [(f"Unheard-of {text} " * (1 + at % 3), label) for at, (text, label) in enumerate(make_rows(60, seed=0))]
MOST = 24
"""Tokens; some texts have more."""


@pytest.fixture
def tokenizer(base: Path) -> Any:
    """One that tells capital letters from small ones, so that shards as they came have other tokens."""
    from tokenizers.normalizers import BertNormalizer

    found = load_tokenizer(base)
    found.backend_tokenizer.normalizer = BertNormalizer(lowercase=False)
    return found


@pytest.fixture
def tokenised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests of the shards that are tokenised, in order."""
    found: list[str] = []
    own = shard.tokenize

    def noted(build: Any, **arguments: Any) -> Any:
        found.append(build.digests["prepared"])
        return own(build, **arguments)

    monkeypatch.setattr(shard, "tokenize", noted)
    return found


def each_alone(tokenizer: Any, splits: Path, side: str, most: int = MOST) -> list[list[int]]:
    texts = read_side(splits, side)["text"].to_pylist()
    return [tokenizer(text, truncation=True, max_length=most)["input_ids"] for text in texts]


def listed(tokens: Sequence[Tokens]) -> list[list[list[int]]]:
    assert all(found.lengths == [len(row) for row in found] for found in tokens)
    return [list(found) for found in tokens]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    chunks=st.lists(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5), max_size=5), max_size=4),
    data=st.data(),
)
def test_rows_are_read_in_any_order_from_however_many_pieces(chunks: list[list[list[int]]], data: Any) -> None:
    rows = [row for chunk in chunks for row in chunk]
    # Arrow cuts columns without moving what lies in them.
    column = pa.chunked_array([pa.array([[7], *chunk], TOKENS).slice(1) for chunk in chunks], TOKENS)
    order = data.draw(st.permutations(range(len(rows))))

    assert listed([Tokens(column), Tokens.of(rows)]) == [rows, rows]
    assert listed([Tokens(column, np.array(order, np.int64))]) == [[rows[at] for at in order]]
    assert len(Tokens(column)) == len(rows)


def test_texts_are_cut_off_with_their_special_tokens(base: Path) -> None:
    tokenizer = load_tokenizer(base)

    rows = tokenize(tokenizer, ["home prize " * 20, "urgent", "unheard-of"], max_tokens=8)

    assert rows.lengths == [8, 3, 5]
    assert {row[0] for row in rows} == {tokenizer.cls_token_id}
    assert {row[-1] for row in rows} == {tokenizer.sep_token_id}
    assert list(tokenize(tokenizer, [], max_tokens=8)) == []


@pytest.mark.parametrize("at_once", [7, 10_000])
def test_they_are_those_of_each_text_after_cleaning_with_and_without_parts(
    make_build: MakeBuild, store: Store, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(shard, "AT_ONCE", at_once)
    splits = make_splits(store, ROWS)
    build = make_build({"splits": splits})
    expected = [each_alone(tokenizer, splits, side) for side in SIDES]
    assert {MOST} < {len(row) for side in expected for row in side}

    assert listed(tokens_of(build, SIDES, tokenizer, MOST)) == expected
    assert listed(tokens_of(replace(build, part=None), SIDES, tokenizer, MOST)) == expected


def test_a_shard_is_tokenised_once_whatever_else_changes(
    make_build: MakeBuild, store: Store, tokenizer: Any, tokenised: list[str]
) -> None:
    splits = make_splits(store, ROWS)
    halves = [folder.name for folder in linked(splits, "prepared")]
    first = listed(tokens_of(make_build({"splits": splits}), SIDES, tokenizer, MOST))
    assert tokenised == halves

    assert listed(tokens_of(make_build({"splits": splits}), SIDES, tokenizer, MOST)) == first
    # Other rows on each side, and the first half of all rows with others after them.
    moved = make_splits(store, ROWS, sides=["test", "train", "validation"] * 20)
    assert listed(tokens_of(make_build({"splits": moved}), SIDES, tokenizer, MOST)) != first
    assert tokenised == halves

    more = make_splits(store, [*ROWS[:30], *[(f"{text} again", label) for text, label in ROWS[30:]]])
    tokens_of(make_build({"splits": more}), ["test"], tokenizer, MOST)
    assert tokenised == [*halves, linked(more, "prepared")[0].name]


def test_what_the_tokenizer_does_counts(
    make_build: MakeBuild, store: Store, base: Path, tokenizer: Any, tokenised: list[str]
) -> None:
    splits = make_splits(store, ROWS)
    build = make_build({"splits": splits})
    tokens_of(build, SIDES, tokenizer, MOST)

    for changed, most in ((tokenizer, 8), (load_tokenizer(base), MOST)):
        before = len(tokenised)
        (found,) = tokens_of(build, ["test"], changed, most)
        assert list(found) == each_alone(changed, splits, "test", most)
        assert len(tokenised) == before + 2
    tokenizer.split_special_tokens = True
    (found,) = tokens_of(build, ["test"], tokenizer, MOST)
    assert len(tokenised) == 8


def test_what_is_special_in_a_text_is_split_as_the_tokenizer_has_it(
    make_build: MakeBuild, store: Store, tokenizer: Any
) -> None:
    splits = make_splits(store, [(f"[SEP] {text}", label) for text, label in ROWS])
    build = make_build({"splits": splits})
    plain = each_alone(tokenizer, splits, "test")
    assert listed(tokens_of(build, ["test"], tokenizer, MOST)) == [plain]

    tokenizer.split_special_tokens = True

    assert listed(tokens_of(build, ["test"], tokenizer, MOST)) == [each_alone(tokenizer, splits, "test")]
    assert each_alone(tokenizer, splits, "test") != plain


def test_the_tokenizer_that_a_model_was_saved_with_finds_the_tokens_of_its_training(
    make_build: MakeBuild, store: Store, base: Path, tokenised: list[str], tmp_path: Path
) -> None:
    build = make_build({"splits": make_splits(store, ROWS)})
    tokenizer = load_tokenizer(base)
    tokens_of(build, ["train"], tokenizer, MOST)
    tokenizer.model_max_length = MOST
    with quiet():
        tokenizer.save_pretrained(tmp_path / "model")

    tokens_of(build, ["test"], load_tokenizer(tmp_path / "model"), MOST)

    assert len(tokenised) == 2


def test_the_tokenizer_is_saved_alike_whether_tokens_were_made_found_or_kept_nowhere(
    make_build: MakeBuild, store: Store, base: Path, tmp_path: Path
) -> None:
    build = make_build({"splits": make_splits(store, ROWS)})
    saved = []
    for at, each in enumerate((build, build, replace(build, part=None))):
        tokenizer = load_tokenizer(base)
        tokens_of(each, ["train"], tokenizer, MOST)
        with quiet():
            tokenizer.save_pretrained(tmp_path / str(at))
        saved.append({path.name: path.read_bytes() for path in (tmp_path / str(at)).iterdir()})

    assert saved[0] == saved[1] == saved[2]


def test_a_tokenizer_with_a_way_of_its_own_is_asked_itself(
    make_build: MakeBuild, store: Store, base: Path, tokenised: list[str]
) -> None:
    from transformers import BertTokenizerFast

    class Shouting(BertTokenizerFast):  # type: ignore[misc]
        def __call__(self, text: Any, *arguments: Any, **named: Any) -> Any:
            return super().__call__([f"urgent {each}" for each in text], *arguments, **named)

    splits = make_splits(store, ROWS)
    tokenizer = Shouting.from_pretrained(base)

    (found,) = tokens_of(make_build({"splits": splits}), ["test"], tokenizer, MOST)

    plain = load_tokenizer(base)
    urgent = plain.convert_tokens_to_ids("urgent")
    expected = each_alone(plain, splits, "test")
    assert list(found) == [[*[row[0], urgent, *row[1:-1]][: MOST - 1], row[-1]] for row in expected]
    assert tokenised == []


@pytest.mark.parametrize("harm", ["altered", "gone"])
def test_damaged_tokens_are_made_again(
    make_build: MakeBuild, store: Store, tokenizer: Any, tokenised: list[str], harm: str
) -> None:
    build = make_build({"splits": make_splits(store, ROWS)})
    first = listed(tokens_of(build, SIDES, tokenizer, MOST))
    path = min(Path(store.url).glob("objects/*/*/tokens.feather"))
    if harm == "gone":
        path.parent.chmod(0o755)
        shutil.rmtree(path.parent)
    else:
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"ARROW1", b"ARROW2"))

    assert listed(tokens_of(build, SIDES, tokenizer, MOST)) == first

    assert len(tokenised) == 3
    assert tokenised[2] in tokenised[:2]
