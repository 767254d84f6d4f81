"""A text is found in every kind of file that freshtune writes."""

from __future__ import annotations

import gzip
import html
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import markupsafe
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jinja2.utils import htmlsafe_json_dumps
from pyarrow import feather

from assets.cli import everywhere
from assets.cli.everywhere import holding
from assets.cli.scrubbing import Words, scrub
from assets.errors import ConfigurationError

TEXT = 'win "a prize" & call <Zoë>\tnow, it\'s free'


def written(folder: Path, text: str) -> None:
    """One file of each kind with a text in it."""
    folder.mkdir()
    table = pa.table({"text": ["other", text] * 500})
    pq.write_table(table, folder / "a.parquet", compression="zstd")
    pq.write_table(pa.table({"nested": [[{"text": text}]]}), folder / "b.parquet", compression="zstd")
    feather.write_feather(table, str(folder / "c.feather"), compression="zstd")
    feather.write_feather(
        pa.table({"text": table["text"].dictionary_encode()}), str(folder / "d.feather"), compression="zstd"
    )
    (folder / "e.json").write_text(json.dumps({"text": text}))
    (folder / "f.jsonl").write_text(json.dumps({"text": text}, ensure_ascii=False))
    (folder / "g.html").write_text(f"<td>{html.escape(text)}</td>")
    (folder / "h.gz").write_bytes(gzip.compress(text.encode()))
    with pa.CompressedOutputStream(str(folder / "i.zst"), "zstd") as stream:
        stream.write(f"{text}\n".encode() * 50)
    with closing(sqlite3.connect(folder / "j.db")) as database:
        database.execute('create table "of runs" ("the value" text)')
        database.execute('insert into "of runs" values (?)', (text * 300,))
        database.commit()


def test_a_text_is_found_in_every_kind_of_file(tmp_path: Path) -> None:
    written(tmp_path / "with", f"so {TEXT} it is")
    written(tmp_path / "without", "nothing of it")
    assert holding([tmp_path, tmp_path / "gone"], [TEXT]) == sorted((tmp_path / "with").iterdir())


@pytest.mark.parametrize(
    "write",
    [
        html.escape,
        markupsafe.escape,
        htmlsafe_json_dumps,
        lambda text: json.dumps(json.dumps({"a": text})),
        lambda text: json.dumps({"page": f"<td>{markupsafe.escape(text)}</td>"}),
        lambda text: f"<svg aria-label='{html.escape(json.dumps(text, ensure_ascii=False))}'>",
    ],
)
def test_a_text_is_found_and_taken_out_however_it_is_written(write: Callable[[str], object], tmp_path: Path) -> None:
    (tmp_path / "a").write_text(f"before {write(TEXT)} after")
    assert holding([tmp_path], [TEXT]) == [tmp_path / "a"]
    assert scrub(tmp_path / "a", Words((TEXT,), ()))
    assert holding([tmp_path], [TEXT]) == []
    left = (tmp_path / "a").read_text()
    assert "[forgotten]" in left
    assert left.startswith("before ")
    assert left.endswith(" after")


def test_a_page_in_json_is_cleaned_and_stays_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"page": f"<td>{markupsafe.escape(TEXT)}</td>", "other": 1}))
    assert scrub(tmp_path / "a.json", Words((TEXT,), ()))
    assert json.loads((tmp_path / "a.json").read_text()) == {"page": "<td>[forgotten]</td>", "other": 1}


def test_what_a_database_only_marked_as_deleted_is_found(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        database.execute("pragma secure_delete = off")
        database.execute("create table runs (value text)")
        database.execute("insert into runs values (?)", ("a plain text",))
        database.commit()
        database.execute("delete from runs")
        database.commit()
        assert holding([tmp_path], ["a plain text"]) == [tmp_path / "a.db"]
        database.execute("vacuum")
    assert holding([tmp_path], ["a plain text"]) == []


def test_a_text_across_two_reads_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everywhere, "CHUNK", 4)
    (tmp_path / "a.txt").write_text("xx a plain text")
    assert holding([tmp_path], ["plain text"]) == [tmp_path / "a.txt"]


def test_an_empty_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="an empty text is in every file"):
        holding([tmp_path], [""])
