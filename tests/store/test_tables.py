"""Identifiers as numbers: order, equality and digests are those of their hexadecimal forms."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.errors import DamagedError
from assets.store.build import publish
from assets.store.ingredients import Made
from assets.store.links import checked, linked, write_links
from assets.store.store import Record, Store
from assets.store.tables import (
    Ids,
    among,
    as_ids,
    digest_of_rows,
    distinct,
    firsts_in_order,
    hexadecimal,
    id_column,
    maybe_repeated,
    order_of,
    read_tables,
    write_table,
)

# Few high halves, so that many identifiers differ in the low half alone.
IDS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1) | st.integers(0, 2)).map(list),
    max_size=30,
)


def made(pairs: list[list[int]]) -> Ids:
    return np.array(pairs, dtype=np.uint64).reshape(-1, 2)


@given(pairs=IDS)
def test_numbers_sort_as_hexadecimal_digits_do(pairs: list[list[int]]) -> None:
    ids = made(pairs)
    names = hexadecimal(ids).to_pylist()
    assert names == [f"{high:016x}{low:016x}" for high, low in pairs]
    order = order_of(ids).tolist()
    assert order == sorted(range(len(names)), key=lambda at: (names[at], at))


@given(pairs=IDS, cut=st.integers(0, 30))
def test_a_column_gives_back_what_it_was_made_of(pairs: list[list[int]], cut: int) -> None:
    ids = made(pairs)
    column = id_column(ids)
    chunks = pa.chunked_array([column.slice(0, cut), column.slice(cut)], type=column.type)
    assert as_ids(chunks).tolist() == pairs


@given(pairs=IDS)
def test_equal_identifiers_share_a_place(pairs: list[list[int]]) -> None:
    ids = made(pairs)
    firsts, which = distinct(ids)
    assert firsts.tolist() == [at for at, pair in enumerate(pairs) if pair not in pairs[:at]]
    assert (ids[firsts][which] == ids).all()


def test_a_digest_tells_columns_apart() -> None:
    one, two = np.array([1, 2], np.int64), np.array([3, 4], np.int64)
    digests = {digest_of_rows(*columns) for columns in [(one, two), (two, one), (np.concatenate([one, two]),), (one,)]}
    assert len(digests) == 4
    assert digest_of_rows(one) == digest_of_rows(one.astype(">i8")) != digest_of_rows(one.astype(np.int32))


def test_a_table_has_the_same_bytes_however_it_was_chunked(tmp_path: Path) -> None:
    whole = pa.table({"text": ["a", "b", None]})
    write_table(tmp_path / "one" / "t.feather", whole, compressed=True)
    write_table(tmp_path / "two" / "t.feather", pa.concat_tables([whole.slice(0, 1), whole.slice(1)]), compressed=True)
    assert (tmp_path / "one" / "t.feather").read_bytes() == (tmp_path / "two" / "t.feather").read_bytes()


@pytest.fixture
def new(tmp_path: Path) -> Callable[[], Path]:
    """Makes an empty folder, another one each time."""
    numbers = count()

    def make() -> Path:
        folder = tmp_path / f"new-{next(numbers)}"
        folder.mkdir()
        return folder

    return make


def published(store: Store, content: Path, table: pa.Table) -> str:
    write_table(content / "t.feather", table)
    return store.publish("objects", content)


def referring(store: Store, content: Path, *shards: str) -> str:
    (content / "rows.json").write_text("{}")
    write_links(content, {"shards": shards})
    return store.publish("objects", content)


def test_whoever_opens_an_object_has_what_it_refers_to(store: Store, new: Callable[[], Path]) -> None:
    shard = published(store, new(), pa.table({"n": [1, 2]}))
    digest = referring(store, new(), shard)
    assert store.manifest("objects", digest)["links"] == [shard]
    assert read_tables(linked(store.open("objects", digest), "shards"), "t.feather")["n"].to_pylist() == [1, 2]


def test_a_damaged_object_damages_what_refers_to_it(tmp_path: Path, new: Callable[[], Path]) -> None:
    store = Store(str(tmp_path / "local"), tmp_path / "cache")
    shard = published(store, new(), pa.table({"n": [1, 2]}))
    digest = referring(store, new(), shard)
    folder, file = store.open("objects", digest), store.open("objects", shard) / "t.feather"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedError, match=r"t\.feather, bytes altered"):
        checked(linked(folder, "shards")[0], "t.feather")
    file.unlink()
    assert store.fault("objects", digest) == f"{shard[:12]}: t.feather is missing"
    with pytest.raises(DamagedError, match="is missing"):
        store.open("objects", digest)


def test_how_rows_lie_is_not_digested(store: Store, new: Callable[[], Path]) -> None:
    one = referring(store, new())
    content = new()
    write_table(content / "layout" / "rows.feather", pa.table({"kept": [True]}))
    assert referring(store, content) == one


@given(pairs=IDS, some=IDS)
def test_which_identifiers_are_among_others(pairs: list[list[int]], some: list[list[int]]) -> None:
    assert among(made(pairs), made(some)).tolist() == [pair in some for pair in pairs]


@given(IDS)
def test_what_is_repeated_is_among_what_may_be(pairs: list[list[int]]) -> None:
    ids = np.array(pairs, np.uint64).reshape(-1, 2)
    some = maybe_repeated(ids).tolist()
    assert some == sorted(set(some))
    assert {at for at, pair in enumerate(pairs) if pairs.count(pair) > 1} <= set(some)


def test_few_others_may_be_repeated() -> None:
    ids = np.random.default_rng(0).integers(0, 2**64, (1000, 2), np.uint64)
    ids[-1] = ids[0]
    some = maybe_repeated(ids).tolist()
    assert {0, 999} <= set(some)
    assert len(some) < 10


@given(pairs=IDS)
def test_first_places_in_the_order_of_identifiers(pairs: list[list[int]]) -> None:
    expected = [pairs.index(list(pair)) for pair in sorted({tuple(pair) for pair in pairs})]
    assert firsts_in_order(made(pairs)).tolist() == expected


def test_a_record_also_refers_to_the_shards_that_its_trace_is_about(store: Store, new: Callable[[], Path]) -> None:
    one, other = (published(store, new(), pa.table({"n": [each]})) for each in (1, 2))

    def made_of(key: str, shard: str) -> Record:
        def build(folder: Path) -> dict[str, Any]:
            (folder / "content" / "rows.json").write_text("{}")
            write_links(folder / "content", {"shards": [shard]})
            return {}

        made = Made({"step": key, "code": {}, "inputs": {}}, {}, {})
        return publish(store, made, build, work=new(), after=None)

    assert made_of("first", one).links == [one]
    later = made_of("later", other)
    assert store.manifest("objects", later.content)["links"] == [one]
    assert later.links == sorted([one, other])
