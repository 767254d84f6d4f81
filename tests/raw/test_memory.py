"""What is remembered of files that are gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.raw.rows import GONE, RETAINED
from assets.store.links import linked, read_links
from assets.store.tables import read_tables
from tests.raw.conftest import Raw, Read
from tests.raw.test_read import csv

FIRST = csv(b"one,x", b"two,y", b"three,x")
SECOND = csv(b"three,x", b"four,y", b"torn")


def texts_gone(raw: Raw) -> list[str]:
    shards = linked(raw.folder, GONE) if GONE in read_links(raw.folder) else []
    return sorted(text for shard in shards for text in read_tables([shard], "rows.feather")["text"].to_pylist())


def places(raw: Raw, text: str) -> list[tuple[str, int]]:
    (row,) = (row for row in raw.rows if row["text"] == text)
    return [(each["file"], each["line"]) for each in raw.origins if each["row_id"] == row["row_id"]]


def test_a_mirror_forgets_rows_and_remembers_texts_that_no_row_has(read_files: Read) -> None:
    first = read_files({"a.csv": FIRST, "b.csv": SECOND})
    assert GONE not in read_links(first.folder)
    later = read_files({"b.csv": SECOND}, before=first)
    assert later.pairs == {("three", "x"), ("four", "y")}
    assert texts_gone(later) == ["one", "two"]
    assert later.measurements["remembered"] == 2
    assert later.measurements["rows_read"] == 3
    # Without what was before it would be another result.
    assert later.content != read_files({"b.csv": SECOND}).content
    much_later = read_files({"c.csv": csv(b"two,x")}, before=later)
    assert texts_gone(much_later) == ["four", "one", "three"]


def test_a_corrected_label_leaves_nothing_to_remember(read_files: Read) -> None:
    first = read_files({"a.csv": FIRST})
    corrected = read_files({"a.csv": FIRST.replace(b"two,y", b"two,x")}, before=first)
    assert corrected.pairs == {("one", "x"), ("two", "x"), ("three", "x")}
    assert texts_gone(corrected) == []
    assert corrected.content == read_files({"a.csv": FIRST.replace(b"two,y", b"two,x")}).content


def test_what_comes_back_is_a_row_again(read_files: Read) -> None:
    first = read_files({"a.csv": FIRST, "b.csv": SECOND})
    without = read_files({"b.csv": SECOND}, before=first)
    again = read_files({"a.csv": FIRST, "b.csv": SECOND}, before=without)
    assert again.pairs == first.pairs
    assert again.measurements["rows"] == first.measurements["rows"]


def test_renaming_and_dividing_files_is_no_loss(read_files: Read) -> None:
    first = read_files({"a.csv": FIRST, "b.csv": SECOND})
    halves = {"1.csv": csv(b"one,x", b"two,y"), "2.csv": csv(b"three,x"), "b.csv": SECOND}
    assert read_files(halves, before=first).content == first.content


@pytest.mark.parametrize("mode", ["mirror", "append"])
def test_rejected_lines_go_or_stay_with_their_rows(read_files: Read, mode: str) -> None:
    first = read_files({"a.csv": FIRST, "b.csv": SECOND}, mode=mode)
    later = read_files({"a.csv": FIRST}, before=first, mode=mode)
    assert [line["line_text"] for line in later.rejected] == ([] if mode == "mirror" else ["torn"])


def test_what_was_taken_in_stays_where_files_are_appended(read_files: Read) -> None:
    first = read_files({"a.csv": FIRST, "b.csv": SECOND}, mode="append")
    later = read_files({"c.csv": csv(b"five,x", b"one,x")}, before=first, mode="append")
    assert later.pairs == {("one", "x"), ("two", "y"), ("three", "x"), ("four", "y"), ("five", "x")}
    assert texts_gone(later) == []
    measured = later.measurements
    # Two lines of c.csv; two, three (of both files), four and the torn one are retained, each once.
    assert measured["retained"] == 3
    assert measured["rows_read"] == measured["rows"] + measured["rejected"] + measured["repeated"]
    # The same rows as if all files were there still.
    together = read_files({"a.csv": FIRST, "b.csv": SECOND, "c.csv": csv(b"five,x", b"one,x")}, mode="append")
    assert later.content == together.content
    assert [name for name, _ in places(later, "one")] == ["c.csv"]
    (where,) = {name for name, _ in places(later, "four")}
    assert where.startswith("sha256:")
    assert where.endswith("(not in the source any more)")
    assert [line for _, line in places(later, "four")] == [3]


def test_retained_rows_are_gathered_with_those_that_go_later(read_files: Read) -> None:
    first = read_files({"a.csv": FIRST}, mode="append")
    second = read_files({"b.csv": SECOND}, before=first, mode="append")
    third = read_files({"c.csv": csv(b"five,x")}, before=second, mode="append")
    assert third.pairs == {("one", "x"), ("two", "y"), ("three", "x"), ("four", "y"), ("five", "x")}
    assert len(linked(third.folder, RETAINED)) == 1
    assert len(linked(third.folder, "shards")) == 2
    # Nothing new has gone: the shard is the same.
    fourth = read_files({"c.csv": csv(b"five,x"), "d.csv": csv(b"six,y")}, before=third, mode="append")
    assert linked(fourth.folder, RETAINED) == linked(third.folder, RETAINED)


def test_a_drop_folder_may_be_emptied(read_files: Read) -> None:
    first = read_files({"a.csv": FIRST}, mode="append")
    assert read_files({}, before=first, mode="append").pairs == first.pairs


def test_rows_that_stayed_are_remembered_once_they_go(read_files: Read) -> None:
    first = read_files({"a.csv": FIRST}, mode="append")
    appended = read_files({"b.csv": SECOND}, before=first, mode="append")
    mirrored = read_files({"b.csv": SECOND}, before=appended, mode="mirror")
    assert mirrored.pairs == {("three", "x"), ("four", "y")}
    assert texts_gone(mirrored) == ["one", "two"]


def test_other_columns_than_before(read_files: Read) -> None:
    first = read_files({"a.csv": b"text,label,user\none,x,ann\n"}, keep=("user",))
    later = read_files({"b.csv": b"text,label,team\ntwo,x,red\n"}, keep=("team",), before=first)
    assert texts_gone(later) == ["one"]
    (shard,) = linked(later.folder, GONE)
    assert read_tables([shard], "rows.feather")["team"].to_pylist() == [None]


@pytest.mark.parametrize("mode", ["mirror", "append"])
def test_other_columns_although_nothing_went(read_files: Read, mode: str) -> None:
    # Whoever reads a column reads it of every shard.
    there = {"b.csv": b"text,label,user,team\ntwo,x,bob,red\n"}
    first = read_files({"a.csv": b"text,label,user,team\none,x,ann,red\n"}, keep=("user",), mode=mode)
    second = read_files(there, keep=("user",), before=first, mode=mode)
    third = read_files(there, keep=("team",), before=second, mode=mode)
    (shard,) = linked(third.folder, GONE if mode == "mirror" else RETAINED)
    rows = read_tables([shard], "rows.feather")
    assert (rows["text"].to_pylist(), rows["team"].to_pylist()) == (["one"], [None])
    # Shards are read as one table, so a column that is not asked for any more is in none.
    fourth = read_files(there, keep=(), before=third, mode=mode)
    (shard,) = linked(fourth.folder, GONE if mode == "mirror" else RETAINED)
    assert read_tables([shard], "rows.feather").column_names == ["text", "label"]
    # All files that the retained rows are of are there again.
    back = {**there, "a.csv": b"text,label,user,team\none,x,ann,red\n"}
    assert len(read_files(back, keep=("team",), before=second, mode=mode).pairs) == 2


def test_nothing_is_remembered_of_nothing(read_files: Read) -> None:
    first = read_files({"a.csv": FIRST})
    assert first.measurements["remembered"] == 0
    assert first.measurements["retained"] == 0


@pytest.mark.parametrize("mode", ["mirror", "append"])
def test_what_is_remembered_already_gets_the_columns_that_are_asked_for_now(read_files: Read, mode: str) -> None:
    one, two, three = (f"text,label,user\n{text},x,ann\n".encode() for text in ("one", "two", "three"))
    first = read_files({"a.csv": one, "b.csv": two})
    # Something else comes in at once, so that the result is none that was there before.
    second = read_files({"b.csv": three}, before=first, mode=mode)
    third = read_files({"b.csv": three, "c.csv": two}, before=second, mode=mode, keep=("user",))
    assert {(row["text"], row["user"]) for row in third.rows} == {
        ("three", "ann"),
        ("two", "ann"),
        *({("one", None)} if mode == "append" else ()),
    }
    for shard in linked(third.folder, "shards"):
        assert read_tables([shard], "rows.feather").column_names == ["text", "label", "user"]


def test_texts_that_are_gone_get_the_columns_too_where_files_are_appended_since(read_files: Read) -> None:
    first = read_files({"a.csv": b"text,label,user\none,x,ann\n"})
    second = read_files({"b.csv": b"text,label,user\ntwo,x,ann\n"}, before=first)
    third = read_files({}, before=second, mode="append", keep=("user",))
    assert texts_gone(third) == ["one"]
    assert third.pairs == {("two", "x")}


def test_a_file_that_comes_back_is_not_there_twice(read_files: Read) -> None:
    first = read_files({"a.csv": FIRST}, mode="append")
    second = read_files({"b.csv": SECOND}, before=first, mode="append")
    assert RETAINED in read_links(second.folder)
    third = read_files({"a.csv": FIRST, "b.csv": SECOND, "c.csv": csv(b"five,x")}, before=second, mode="append")
    assert RETAINED not in read_links(third.folder)
    assert third.measurements["rows_read"] == 7
    assert places(third, "one") == [("a.csv", 2)]


def test_what_was_made_before_rows_lay_in_shards_is_remembered(
    read_files: Read, publish: Callable[[Path], Path], tmp_path: Path
) -> None:
    rows = {"row_id": ["0", "1", "2"], "text": ["one", "two", "three"], "label": ["x", "y", "x"]}
    (tmp_path / "old").mkdir()
    pq.write_table(pa.table(rows), tmp_path / "old" / "rows.parquet")
    old = Raw(publish(tmp_path / "old"), tmp_path, {})
    later = read_files({"b.csv": SECOND}, before=old)
    assert later.pairs == {("three", "x"), ("four", "y")}
    assert texts_gone(later) == ["one", "two"]
