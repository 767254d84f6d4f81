from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.raw.order import least_of_large
from assets.raw.rows import LARGE, Ordered, in_order, kept, label_counts, shard_ids, sorted_rows
from assets.store.links import linked, read_links
from assets.store.step import Build
from assets.store.tables import id_column, write_table
from tests.raw.conftest import Read

PROPERTY = settings(
    deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Few numbers, so that many identifiers are equal or have their first halves in common.
ID = st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2**64 - 1]))
SHARDS = st.lists(st.lists(ID, max_size=6), min_size=1, max_size=5)


@pytest.fixture
def shards_of(make_build: Callable[..., Build], publish: Callable[[Path], Path]) -> Callable[..., list[Path]]:
    """Shards with these identifiers, and nothing else."""

    def make(identifiers: Sequence[Sequence[tuple[int, int]]]) -> list[Path]:
        found = []
        for pairs in identifiers:
            content = make_build().content
            ids = np.array(pairs, np.uint64).reshape(-1, 2)
            write_table(content / "ids.feather", pa.table({"row_id": id_column(ids)}))
            found.append(publish(content))
        return found

    return make


@PROPERTY
@given(identifiers=SHARDS, large=st.integers(0, 5))
def test_however_many_shards_are_large_the_order_is_that_of_all_identifiers(
    make_build: Callable[..., Build],
    shards_of: Callable[..., list[Path]],
    identifiers: list[list[tuple[int, int]]],
    large: int,
) -> None:
    shards = shards_of(identifiers)
    pairs = [pair for each in identifiers for pair in each]
    expected = sorted(range(len(pairs)), key=lambda at: (pairs[at], at))
    found = sorted_rows(make_build(), shards, min(large, len(shards)))
    assert found.at.tolist() == expected
    assert [*map(tuple, found.ids.tolist())] == [pairs[at] for at in expected]
    firsts = found.firsts()
    assert firsts.at.tolist() == [pairs.index(pair) for pair in sorted(set(pairs))]
    odd = np.arange(len(pairs)) % 2 == 1
    assert found.where(odd).at.tolist() == [at for at in expected if at % 2]
    assert [*map(tuple, found.where(odd).ids.tolist())] == [pairs[at] for at in expected if at % 2]


def test_large_shards_come_first_and_only_they_are_sorted_in_a_part(
    read_files: Read, make_build: Callable[..., Build]
) -> None:
    lines = "".join(f"{number},x\n" for number in range(200))
    content = read_files({"a.csv": f"text,label\n{lines}".encode(), "b.tsv": b"text\tlabel\nnew\ty\n"}).folder
    links = read_links(content)
    assert [len(shard_ids([shard])) for shard in linked(content, "shards")] == [200, 1]
    assert links[LARGE] == links["shards"][:1]
    asked = []
    build = make_build()
    part = build.part
    assert part is not None

    def asking(function: str, *given: object, **named: object) -> object:
        asked.append((function, named["inputs"]))
        return part(function, *given, **named)  # type: ignore[arg-type]

    found = in_order(Build(**{**vars(build), "part": asking}), content).where(kept(content))
    assert asked == [("assets.raw.order:sort", {"shard-000000": links["shards"][0]})]
    assert len(found.at) == 201


def test_a_shard_is_large_by_its_part_of_all_rows() -> None:
    assert least_of_large([]) == 1
    assert least_of_large([40]) == 1
    assert least_of_large([1000, 30]) == 32
    # While rows come in, what was large stays so until they are twice as many.
    assert least_of_large([1000, 30, 900]) == 32


@pytest.mark.parametrize("alone", [True, False])
def test_labels_are_counted_with_and_without_a_file_of_their_own(read_files: Read, alone: bool) -> None:
    content = read_files({"a.csv": b"text,label\na,x\nb,x\nc,y\n", "b.jsonl": b'{"text": "d", "label": null}\n'}).folder
    shards = linked(content, "shards")
    if not alone:
        for shard in shards:
            (shard / "labels.feather").unlink()
    which = np.array([text != "b" for shard in shards for text in _texts(shard)])
    assert label_counts(shards, which) == {"x": 1, "y": 1, None: 1}


def _texts(shard: Path) -> list[str]:
    return list(pa.feather.read_table(str(shard / "rows.feather"))["text"].to_pylist())


def test_where_some_rows_stand_in_the_order() -> None:
    ordered = Ordered(np.array([4, 0, 7, 2], np.int32), np.zeros((4, 2), np.uint64))
    assert ordered.places_of(np.array([2, 4, 2, 7])).tolist() == [3, 0, 3, 2]
    assert ordered.places_of(np.array([], np.int32)).tolist() == []
