"""What of a store is to go with a text."""

from __future__ import annotations

import pyarrow as pa

from assets.cli import held
from assets.store.forgotten import hash_of
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.tiny import make_object, make_shard

KEY = b"k" * 32
TEXT = "call Ann Example on 555 0199"


def test_a_part_of_what_holds_a_text_goes_though_no_word_is_in_it(store: Store, make_build: MakeBuild) -> None:
    part = make_build().part
    assert part is not None
    objects = {}
    for text in (TEXT, "dinner at home"):
        make_shard(store, pa.table({"row_id": ["0" * 32], "text": [text], "label": ["ham"]}))
        # Nothing says that these texts are the shard's, as with what stands for splits with forgotten rows.
        texts = make_object(store, {"texts.feather": pa.table({"text": [text]})})
        made = part("assets.splits.shard:positions", {"salt": "a"}, inputs={"prepared": texts})
        objects[text] = {texts, made.digest}

    shards = held.look_at_shards(store, KEY, frozenset({hash_of(TEXT, KEY)}))
    found = held.look(store, shards, held.words(shards, [], []))

    assert set(found.objects) == objects[TEXT]
