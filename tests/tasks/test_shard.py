"""The part with a shard's tokens."""

from __future__ import annotations

from assets.store.code import code_pieces


def test_tokens_do_not_depend_on_who_asks_for_them() -> None:
    found = code_pieces(["assets.tasks.shard:tokenize"])

    assert {piece for piece in found if not piece.startswith("assets.store.")} == {"assets.tasks.shard"}
    # Whoever trains depends on how they are made.
    assert "assets.tasks.shard" in code_pieces(["assets.model.train:train"])
