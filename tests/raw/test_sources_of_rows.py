"""Which rows `raw` says lie in which files."""

from __future__ import annotations

import pytest

from assets.raw.rows import SOURCES, read_sources
from tests.raw.conftest import Raw, Read

FILES = {
    "data/web/one.csv": b"text,label\na,x\nboth,x\n",
    "data/web/two.csv": b"text,label\nb,y\nb,y\n",
    "data/mail.csv": b"text,label\nc,x\nboth,x\n",
}


def told(raw: Raw) -> dict[str, set[str | None]]:
    texts = {row["row_id"]: row["text"] for row in raw.rows}
    found: dict[str, set[str | None]] = {}
    for row in read_sources(raw.folder).to_pylist():
        found.setdefault(row["files"], set()).add(texts[row["row_id"]])
    return found


def test_a_row_is_told_of_every_file_that_it_lies_in(read_files: Read) -> None:
    raw = read_files(FILES, source_files=("data/web/*", "data/mail.csv", "*.csv"))

    assert told(raw) == {
        "data/web/*": {"a", "b", "both"},
        "data/mail.csv": {"c", "both"},
        "*.csv": {"a", "b", "c", "both"},
    }


def test_nothing_is_written_unless_it_is_asked_for(read_files: Read) -> None:
    assert not (read_files(FILES).folder / SOURCES).exists()


def test_a_pattern_of_no_file_has_no_rows_and_those_beyond_a_sample_are_not_there(read_files: Read) -> None:
    raw = read_files(FILES, source_files=("nowhere/*", "*"), sample=2)

    assert told(raw) == {"*": {row["text"] for row in raw.rows}}
    assert len(raw.rows) == 2


@pytest.mark.parametrize(("mode", "kept"), [("append", {"a", "b", "both"}), ("mirror", {"b"})])
def test_where_rows_of_a_file_that_is_gone_lay_is_known_if_they_are_kept(
    read_files: Read, mode: str, kept: set[str | None]
) -> None:
    asked = {"source_files": ("data/web/*",), "mode": mode}
    first = read_files(FILES, **asked)
    later = {name: data for name, data in FILES.items() if name == "data/web/two.csv"}

    assert told(read_files(later, before=first, **asked)) == {"data/web/*": kept}


def test_a_renamed_file_changes_the_content_only_if_another_pattern_has_it(read_files: Read) -> None:
    asked = ("data/web/*", "data/mail*")
    renamed = {name.replace("mail.csv", "mails.csv"): data for name, data in FILES.items()}
    moved = {name.replace("mail.csv", "web/mail.csv"): data for name, data in FILES.items()}
    before = read_files(FILES, source_files=asked).content

    assert read_files(renamed, source_files=asked).content == before
    assert read_files(moved, source_files=asked).content != before
