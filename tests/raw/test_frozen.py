"""Which rows `raw` says are the frozen test set."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.errors import ConfigurationError, DataError
from assets.raw.rows import FROZEN, frozen_ids
from assets.store.tables import hexadecimal
from tests.raw.conftest import Raw, Read

FILES = {
    "data/train.csv": b"text,label\na,x\nb,y\nboth,x\n",
    "data/more.jsonl": b'{"text": "d", "label": "y"}\n{"text": "late", "label": "y"}\n',
    "data/test/one.csv": b"text,label\nboth,x\ne,y\n",
    "data/test/two.jsonl": b'{"text": "late", "label": "y"}\n{"text": "f", "label": "x"}\n',
    "data/test/three.csv": b"text,label\nboth,x\ne,y\n",
}


def by_files(*patterns: str) -> dict[str, Any]:
    return {"files": list(patterns), "column": None, "value": None}


def by_value(column: str, value: str) -> dict[str, Any]:
    return {"files": None, "column": column, "value": value}


def frozen(raw: Raw) -> set[str]:
    names = set(hexadecimal(frozen_ids(raw.folder)).to_pylist())
    assert raw.measurements["frozen"] == len(names)
    return {row["text"] for row in raw.rows if row["row_id"] in names}


@pytest.mark.parametrize(
    ("patterns", "texts"),
    [
        (["data/test/*"], {"both", "e", "late", "f"}),
        (["data/test/one.csv"], {"both", "e"}),
        (["data/test/two.jsonl", "data/more.jsonl"], {"d", "late", "f"}),
        (["*.jsonl"], {"d", "late", "f"}),
    ],
)
def test_rows_of_the_files_are_the_test_set_wherever_else_they_lie(
    read_files: Read, patterns: list[str], texts: set[str]
) -> None:
    assert frozen(read_files(FILES, frozen=by_files(*patterns))) == texts


def test_rows_with_the_value_are_the_test_set(read_files: Read) -> None:
    files = {
        "a.csv": b"text,label,part\na,x,train\nb,x,test\nb,x,train\nc,y,\nd,y,Test\n",
        "b.csv": b"text,label,part\na,x,test\n",
    }
    raw = read_files(files, keep=("part",), frozen=by_value("part", "test"))
    names = set(hexadecimal(frozen_ids(raw.folder)).to_pylist())
    assert [row["part"] for row in raw.rows if row["row_id"] in names] == ["test", "test"]
    with pytest.raises(DataError) as caught:
        read_files(files, keep=("part",), frozen=by_value("part", "dev"))
    assert str(caught.value) == (
        "splits.frozen: no row has 'dev' in column part; there are '', 'Test', 'test', 'train'\n"
        "  fix: write the value that the rows of the test set have, or name another column"
    )


def test_identifiers_are_in_order_and_rows_beyond_a_sample_are_not_there(read_files: Read) -> None:
    whole = read_files(FILES, frozen=by_files("data/test/*"))
    names = pq.read_table(whole.folder / FROZEN)["row_id"].to_pylist()
    assert names == sorted(names)
    some = read_files(FILES, frozen=by_files("data/test/*"), sample=3)
    kept = [row["row_id"] for row in some.rows]
    assert pq.read_table(some.folder / FROZEN)["row_id"].to_pylist() == [name for name in names if name in kept]


def test_what_is_frozen_is_content_and_nothing_is_without_it(read_files: Read) -> None:
    found = [None, by_files("data/test/*"), by_files("data/test/one.csv"), by_files("data/test/three.csv")]
    none, all_of_it, one, same_rows = (read_files(FILES, frozen=each).content for each in found)
    assert len({none, all_of_it, one}) == 3
    # A file under another name is the same test set.
    assert one == same_rows
    assert not (read_files(FILES).folder / FROZEN).exists()


def test_a_pattern_that_matches_no_file(read_files: Read) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_files(FILES, frozen=by_files("test.csv", "data/test/*", "data/TEST/*"))
    assert str(caught.value) == (
        "splits.frozen.files: 'test.csv', 'data/TEST/*' matches no file of the source; these are data/more.jsonl, "
        "data/test/one.csv, data/test/three.csv, data/test/two.jsonl, data/train.csv\n"
        "  fix: write names as they are here; a file has to be in source.files as well"
    )


def test_where_files_are_appended_rows_whose_file_is_gone_stay_in_the_test_set(read_files: Read) -> None:
    first = read_files(FILES, mode="append", frozen=by_files("data/test/*"))
    left = {name: data for name, data in FILES.items() if name != "data/test/two.jsonl"}
    later = read_files(left, mode="append", before=first, frozen=by_files("data/test/*"))
    assert frozen(later) == {"both", "e", "f"}, "late is there in a file that is not of the test set"
    assert frozen(read_files(left, before=first, frozen=by_files("data/test/*"))) == {"both", "e"}
    # All of them may be taken away; where none was there before, the pattern is wrong.
    train = {name: data for name, data in FILES.items() if "test" not in name}
    rest = read_files(train, mode="append", before=later, frozen=by_files("data/test/*"))
    assert frozen(rest) == {"e", "f"}, "both is there in a file that is not of the test set"
    with pytest.raises(ConfigurationError, match="'data/test/\\*' matches no file of the source"):
        read_files(train, mode="append", frozen=by_files("data/test/*"))
    with pytest.raises(ConfigurationError, match="'data/tset' matches no file of the source"):
        read_files(train, mode="append", before=rest, frozen=by_files("data/test/*", "data/tset"))
