from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.store.digests import _update, canonical_json, digest_content, digest_json, digest_table

TEXTS = st.lists(st.none() | st.text(max_size=5), max_size=8)


def write(path: Path, table: pa.Table, **options: object) -> Path:
    pq.write_table(table, path, **options)
    return path


def test_json_is_digested_without_regard_to_the_order_of_keys() -> None:
    assert digest_json({"a": 1, "b": [1, 2]}) == digest_json({"b": [1, 2], "a": 1})
    assert digest_json([1, 2]) != digest_json([2, 1])
    assert canonical_json({"é": None}) == '{"é":null}'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        digest_json(float("nan"))


def test_a_tables_digest_is_that_of_its_values_not_of_its_bytes(tmp_path: Path) -> None:
    table = pa.table({"a": ["x", None, "y"], "n": [1, 2, None], "l": [[1.5], [], None]})
    one = write(tmp_path / "one.parquet", table, compression="zstd")
    many = write(tmp_path / "many.parquet", table, compression="none", row_group_size=1, use_dictionary=False)
    large = table.set_column(0, "a", table["a"].cast(pa.large_string()))
    with pa.ipc.new_stream(str(tmp_path / "t.arrow"), large.schema) as stream:
        stream.write_table(large, max_chunksize=2)
    assert one.read_bytes() != many.read_bytes()
    assert digest_table(one) == digest_table(many) == digest_table(tmp_path / "t.arrow")


@pytest.mark.parametrize(
    "other",
    [
        {"a": ["x", "y"], "n": [1, 3]},
        {"a": ["y", "x"], "n": [2, 1]},
        {"a": ["x", "y"], "m": [1, 2]},
        {"n": [1, 2], "a": ["x", "y"]},
        {"a": ["x", "y"], "n": [1.0, 2.0]},
        {"a": ["x", None], "n": [1, 2]},
        {"a": ["x", ""], "n": [1, 2]},
        {"a": ["xy", ""], "n": [1, 2]},
        {"a": ["x"], "n": [1]},
    ],
)
def test_every_difference_in_values_names_types_or_order_changes_the_digest(tmp_path: Path, other: object) -> None:
    base = write(tmp_path / "base.parquet", pa.table({"a": ["x", "y"], "n": [1, 2]}))
    assert digest_table(write(tmp_path / "other.parquet", pa.table(other))) != digest_table(base)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(values=st.lists(st.none() | st.binary(max_size=12), max_size=8), start=st.integers(0, 8))
def test_texts_and_bytes_are_digested_one_after_another_with_their_lengths(
    values: list[bytes | None], start: int
) -> None:
    array = pa.array(values, pa.binary()).slice(start)
    found, expected = hashlib.sha256(), hashlib.sha256()
    _update(found, array.cast(pa.large_binary()))
    for value in values[start:]:
        expected.update(b"-" if value is None else b"%d:" % len(value) + value)
    assert found.hexdigest() == expected.hexdigest()


@settings(deadline=None, derandomize=True, max_examples=60)
@given(TEXTS, TEXTS)
def test_text_columns_have_equal_digests_exactly_when_they_are_equal(
    tmp_path_factory: pytest.TempPathFactory, left: list[str | None], right: list[str | None]
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    digests = [
        digest_table(
            write(folder / f"{side}.parquet", pa.table({"a": pa.array(values, pa.string())}), row_group_size=3)
        )
        for side, values in (("left", left), ("right", right))
    ]
    assert (digests[0] == digests[1]) == (left == right)


def test_nan_nulls_booleans_and_times_have_digests(tmp_path: Path) -> None:
    columns = {
        "f": pa.array([float("nan"), None], pa.float64()),
        "b": pa.array([True, None]),
        "t": pa.array([0, 1], pa.timestamp("us")),
        "s": pa.array([{"k": float("inf")}, None]),
        "z": pa.nulls(2),
    }
    seen = set()
    for name, column in columns.items():
        seen.add(digest_table(write(tmp_path / f"{name}.parquet", pa.table({"c": column}))))
    assert len(seen) == len(columns)


def test_a_folders_digest_covers_names_bytes_and_tables(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.json").write_text("{}")
    write(tmp_path / "t.parquet", pa.table({"a": [1]}))
    first = digest_content(tmp_path)
    write(tmp_path / "t.parquet", pa.table({"a": [1]}), compression="gzip")
    assert digest_content(tmp_path) == first
    (tmp_path / "a" / "x.json").rename(tmp_path / "a" / "y.json")
    assert digest_content(tmp_path) != first
