"""Rows of a database as windows, on SQLite; PostgreSQL itself is tested in tests/system."""

# ruff: noqa: E501 - a message is easier to compare on one line

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.config.pipeline import ClassificationTask, Columns, Pipeline, PretrainedModel, Source
from assets.config.sources import Sql
from assets.errors import ConfigurationError, DataError, FreshtuneError, TransientError
from assets.raw.sources import observe
from assets.raw.windows import STATE, UNNAMED_SECONDS, UNUSED_SECONDS
from assets.store.index import FileIndex
from assets.store.step import Observation, ObservedFile
from tests.raw.conftest import Read

PROPERTY = settings(
    deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ENV = "SPAM_DB"
QUERY = "SELECT id, text, label, changed FROM messages"


@dataclass
class Database:
    """A table of messages in SQLite, and looks at it."""

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.do("PRAGMA synchronous = OFF")
        self.do("CREATE TABLE messages (id INTEGER PRIMARY KEY, text, label, changed)")

    @property
    def path(self) -> Path:
        return self.folder / "messages.db"

    def do(self, statement: str, *values: Any) -> None:
        self.connection.execute(statement, values)

    def insert(self, *rows: tuple[Any, ...]) -> None:
        self.connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)

    def look(self, *, keep: tuple[str, ...] = ("id",), **changed: Any) -> Observation:
        given = {"url_env": ENV, "query": QUERY, "key": "id", **self.settings, **changed}
        config = Pipeline(
            task=ClassificationTask(labels=("ham", "spam")),
            source=Source(sql=Sql(**given), columns=Columns(keep=keep)),
            base_model=PretrainedModel(name="owner/name"),
        )
        return observe(config, FileIndex(self.folder / "files.json"))["source"]

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        found = self.connection.execute("SELECT text, label, CAST(id AS TEXT) FROM messages").fetchall()
        return sorted(found, key=str)


def records(files: tuple[ObservedFile, ...]) -> list[tuple[Any, ...]]:
    """What is in the windows."""
    lines = [line for file in files for line in Path(file.path).read_text(encoding="utf-8").splitlines()]
    return sorted((tuple(json.loads(line).values()) for line in lines), key=str)


def digests(seen: Observation) -> set[str]:
    return {file.sha256 for file in seen.files}


def spool(database: Database) -> Path:
    (folder,) = (database.folder / "home" / "spool" / "sql").iterdir()
    return folder


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setenv("FRESHTUNE_HOME", str(tmp_path / "home"))
    made = Database(tmp_path)
    monkeypatch.setenv(ENV, f"sqlite:///{made.path}")
    yield made
    made.connection.close()


def numbered(count: int, start: int = 0) -> Iterator[tuple[Any, ...]]:
    for number in range(start, start + count):
        yield number, f"text {number}", "spam" if number % 3 else "ham", number


def test_every_row_is_in_one_window_and_read_as_rows_of_files_are(database: Database, read_files: Read) -> None:
    database.insert(*numbered(100))
    seen = database.look(window=10)

    assert records(seen.files) == database.rows
    assert len(seen.files) > 3
    assert (seen.kind, seen.location) == ("source", f"sql:{ENV}")
    raw = read_files({file.name: Path(file.path).read_bytes() for file in seen.files}, keep=("id",))
    assert {(row["id"], row["text"], row["label"]) for row in raw.rows} == {
        (str(key), text, label) for key, text, label, _ in numbered(100)
    }
    assert {(origin["file"], origin["line"]) for origin in raw.origins} == {
        (file.name, line + 1) for file in seen.files for line in range(len(Path(file.path).read_bytes().splitlines()))
    }


def test_rows_that_differ_in_their_key_alone_are_all_counted(database: Database, read_files: Read) -> None:
    database.insert(*((number, "same", "ham", 0) for number in range(40)))
    seen = database.look(keep=(), window=1)
    assert len(digests(seen)) == 1
    raw = read_files({file.name: Path(file.path).read_bytes() for file in seen.files})
    told = {name: raw.measurements[name] for name in ("files", "rows_read", "rows", "repeated")}
    assert told == {"files": 40, "rows_read": 40, "rows": 1, "repeated": 39}
    assert len(raw.origins) == 40


def test_windows_are_called_by_the_keys_of_their_rows(database: Database) -> None:
    database.insert(*numbered(3, start=7))
    assert [file.name for file in database.look().files] == [f"sql:{ENV}[7…9].jsonl"]
    database.do("DELETE FROM messages WHERE id > 7")
    assert [file.name for file in database.look().files] == [f"sql:{ENV}[7].jsonl"]


def test_a_table_that_did_not_change_gives_the_same_whoever_looks(database: Database, tmp_path: Path) -> None:
    database.insert(*numbered(100))
    seen = database.look(window=10)
    assert database.look(window=10) == seen
    for path in spool(database).iterdir():
        path.unlink()
    assert database.look(window=10) == seen


@pytest.mark.parametrize("settings", [{}, {"watermark": "changed"}, {"watermark": "changed", "overlap": 5}])
def test_a_change_touches_its_own_window(database: Database, settings: dict[str, Any]) -> None:
    database.settings = {"window": 20, **settings}
    database.insert(*numbered(400))
    before = digests(database.look())
    assert len(before) > 8

    database.insert(*numbered(5, start=400))
    grown = digests(database.look())
    assert len(before - grown) == 1
    assert len(grown - before) <= 2

    database.do("UPDATE messages SET text = 'other', changed = changed + 0.5 WHERE id = 200")
    changed = digests(database.look())
    assert len(grown - changed) == 1

    database.do("DELETE FROM messages WHERE id = 100")
    assert len(changed - digests(database.look())) <= 2


def test_a_late_commit_with_an_old_watermark_is_seen(database: Database) -> None:
    database.settings = {"watermark": "changed", "overlap": 2, "window": 5}
    database.insert(*numbered(50))
    database.look()
    database.insert((1000, "late", "spam", 3.5))
    assert records(database.look().files) == database.rows


def test_a_row_without_a_watermark_is_read_again_by_every_look(database: Database) -> None:
    database.settings = {"watermark": "changed", "overlap": 2, "window": 5}
    database.insert(*numbered(50), (1000, "before", "spam", None))
    database.look()
    database.do("UPDATE messages SET text = 'after' WHERE id = 1000")
    assert records(database.look().files) == database.rows


def test_with_an_overlap_texts_of_older_rows_are_not_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    import assets.raw.sql

    whole: list[bool] = []
    record = assets.raw.sql._record

    def counted(*given: Any) -> bytes:
        whole.append(True)
        return record(*given)

    monkeypatch.setattr(assets.raw.sql, "_record", counted)
    database.settings = {"watermark": "changed", "overlap": 10, "window": 10}
    database.insert(*numbered(300))
    database.look()
    assert len(whole) == 300
    whole.clear()

    database.insert(*numbered(3, start=300))
    seen = database.look()
    assert 13 <= len(whole) < 100
    assert records(seen.files) == database.rows

    # What is declared not to happen is not seen: an old row with another text under the same watermark.
    database.do("UPDATE messages SET text = 'unseen' WHERE id = 5")
    assert database.look() == seen
    assert records(database.look(overlap=None).files) == database.rows


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"{}")])
def test_windows_that_were_lost_or_damaged_are_read_again(database: Database, damage: Any) -> None:
    database.settings = {"watermark": "changed", "overlap": 1, "window": 10}
    database.insert(*numbered(100))
    seen = database.look()
    damage(Path(seen.files[0].path))
    assert database.look() == seen
    assert records(seen.files) == database.rows


def test_rows_with_one_watermark_are_in_the_order_of_their_keys(database: Database) -> None:
    query = "SELECT text AS id, text, label, changed FROM messages"
    database.insert(*((number, f"text {number}", "ham", 1) for number in range(50)))
    seen = database.look(query=query, watermark="changed", window=5)
    database.do("UPDATE messages SET id = 1000 - id")
    assert database.look(query=query, watermark="changed", window=5) == seen


def test_what_is_remembered_may_be_torn(database: Database) -> None:
    database.settings = {"watermark": "changed", "overlap": 1, "window": 10}
    database.insert(*numbered(100))
    seen = database.look()
    for torn in ("", "{", "[]", '{"windows": [[1]], "named": {}}'):
        (spool(database) / STATE).write_text(torn)
        assert database.look() == seen


MARKS = st.one_of(st.none(), st.integers(0, 12))
KEYS = st.integers(0, 15)
CHANGES = st.one_of(
    st.tuples(st.just("put"), KEYS, st.text("abé\n", max_size=2), MARKS),
    st.tuples(st.just("drop"), KEYS),
    st.tuples(st.just("look")),
)


@PROPERTY
@given(
    changes=st.lists(CHANGES, min_size=5, max_size=40),
    overlap=st.sampled_from([None, 0, 1, 4]),
    watermark=st.sampled_from([None, "changed"]),
    window=st.integers(1, 5),
)
def test_any_changes_and_looks_give_the_rows_of_the_table_each_once(
    database: Database, changes: list[tuple[Any, ...]], overlap: int | None, watermark: str | None, window: int
) -> None:
    overlap = overlap if watermark else None
    # A query of its own for each example, and so a folder of its own.
    database.settings = {
        "query": f"{QUERY} -- {uuid.uuid4()}", "watermark": watermark, "overlap": overlap, "window": window
    }  # fmt: skip
    database.do("DELETE FROM messages")
    database.insert((99, "always there", "ham", 6))
    given_marks: dict[int, set[Any]] = {}
    for change in [*changes, ("look",)]:
        match change:
            case ("put", key, text, mark):
                if mark in given_marks.setdefault(key, {None}) - {None} and overlap is not None:
                    continue  # declared not to happen
                given_marks[key].add(mark)
                database.do("INSERT OR REPLACE INTO messages VALUES (?, ?, 'ham', ?)", key, text, mark)
            case ("drop", key):
                database.do("DELETE FROM messages WHERE id = ?", key)
            case _:
                assert records(database.look().files) == database.rows


def test_windows_that_no_look_names_are_removed_after_a_while(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.insert(*numbered(10))
    old = Path(database.look().files[0].path)
    database.insert(*numbered(1, start=10))
    new = Path(database.look().files[0].path)
    assert old.exists()

    started = time.time()
    os.utime(old, (started - 1, started - 1))
    monkeypatch.setattr(time, "time", lambda: started + UNNAMED_SECONDS + 5)
    database.look()
    assert not old.exists()
    assert new.exists()

    monkeypatch.setattr(time, "time", lambda: started + UNUSED_SECONDS + 2 * UNNAMED_SECONDS)
    database.look(query=f"{QUERY} WHERE id < 5")
    assert not new.parent.exists()


def test_what_is_no_text_goes_to_quarantine(database: Database, read_files: Read) -> None:
    database.insert((1, "good", "ham", 1), (2, b"\0\1", "ham", 2), (3, None, 5, 3))
    database.do("INSERT INTO messages VALUES (4, CAST(x'636166e9' AS TEXT), 'ham', 4)")
    seen = database.look(keep=())
    raw = read_files({file.name: Path(file.path).read_bytes() for file in seen.files})
    assert raw.pairs == {("good", "ham"), (None, "5")}
    assert sorted((row["reason"], row["line_text"]) for row in raw.rejected) == [
        ("encoding", '{"text": "caf\\udce9", "label": "ham"}'),
        ("unreadable", '{"text": {"bytes": 2, "begin": "0001"}, "label": "ham"}'),
    ]


def test_queries_may_hold_colons_percents_comments_and_a_semicolon(database: Database) -> None:
    database.insert((1, "at 12:30:45 :name ::x 100% %s", "ham", 1))
    query = """-- the newest
        WITH some AS (SELECT * FROM messages WHERE text LIKE '%:30:45 :name ::x 100! %s' ESCAPE '!' OR text LIKE '%:name%')
        SELECT id, text, label FROM some  -- :all of them
        ;"""
    assert records(database.look(query=query).files) == database.rows


def refused(database: Database, **changed: Any) -> FreshtuneError:
    with pytest.raises(FreshtuneError) as caught:
        database.look(**changed)
    error = caught.value
    assert error.fix
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"query": "SELECT id, text, label FROM mesages"}, ConfigurationError, r"^source\.sql\.query: the database refuses the query: no such table: mesages\n  fix: correct it"),
        ({"query": "SELECT id text label FROM messages"}, ConfigurationError, r"source\.sql\.query: .*syntax error"),
        ({"query": "SELECT 1; DROP TABLE messages"}, ConfigurationError, r"source\.sql\.query: .*syntax error"),
        ({"key": "number"}, ConfigurationError, r"^source\.sql\.key: the query gives no column 'number'; columns found: 'id', 'text', 'label', 'changed'\n  fix: "),
        ({"watermark": "updated"}, ConfigurationError, r"^source\.sql\.watermark: the query gives no column 'updated'"),
        ({"query": "SELECT id, text AS txt, label FROM messages"}, DataError, r"^source\.sql\.query: no column 'text'; columns found: 'id', 'txt', 'label'"),
        ({"query": "SELECT nullif(id, 2) AS id, text, label FROM messages"}, DataError, r"^source\.sql\.key: 'id' is null in a row\n  fix: .*IS NOT NULL"),
        ({"query": "SELECT 1 AS id, text, label FROM messages"}, DataError, r"^source\.sql\.key: 1 values of 'id' stand for more than one row\n  fix: name the primary key"),
        ({"query": f"{QUERY} WHERE id > 10"}, DataError, r"^source\.sql\.query: the query gives no rows\n  fix: "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_query_is_said(
    database: Database, changed: dict[str, Any], kind: type[FreshtuneError], message: str
) -> None:
    database.insert(*numbered(3))
    with pytest.raises(kind, match=message):
        database.look(keep=(), **changed)
    assert refused(database, keep=(), **changed).exit_code == kind.exit_code


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        (None, ConfigurationError, r"^source\.sql\.url_env: environment variable SPAM_DB is not set\n  fix: set SPAM_DB"),
        ("", ConfigurationError, r"environment variable SPAM_DB is not set"),
        ("hidden-word", ConfigurationError, r"^SPAM_DB: this environment variable holds no database URL"),
        ("postgresql://me:hid@den-word@127.0.0.1:1/x", ConfigurationError, r"holds no database URL(.|\n)*write @ as %40"),
        ("postgresql://me:127.0.0.1:hidden-word/x", ConfigurationError, r"holds no database URL"),
        ("nosql://me:hidden-word@host/x", ConfigurationError, r"^SPAM_DB: no driver for nosql:// is installed .*\n  fix: install it"),
        ("mysql+mysqldb://me:hidden-word@host/x", ConfigurationError, r"no driver for mysql\+mysqldb:// is installed \(No module named 'MySQLdb'\)"),
        ("sqlite:///data/none.db", ConfigurationError, r"^SPAM_DB: there is no SQLite database at .*data/none\.db\n  fix: "),
        ("sqlite:////dev/null/none.db", ConfigurationError, r"there is no SQLite database at"),
        ("postgresql+psycopg2://me:hidden-word@127.0.0.1:1/x", TransientError, r"^SPAM_DB: the database cannot be reached: .*refused.*\n  fix: try again"),
        ("postgresql+psycopg2://me:hidden-word@127.0.0.1:1/x?bad=hidden-word", ConfigurationError, r"the database refuses the connection: invalid (dsn|.*option)"),
        ("postgresql+psycopg2://me@127.0.0.1:1/x?sslpassword=hidden-word%20more", TransientError, r"cannot be reached"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_url_is_said_without_its_password(
    database: Database, monkeypatch: pytest.MonkeyPatch, url: str | None, kind: type[FreshtuneError], message: str
) -> None:
    if url is None:
        monkeypatch.delenv(ENV)
    else:
        monkeypatch.setenv(ENV, url)
    error = refused(database)
    assert isinstance(error, kind)
    with pytest.raises(kind, match=message):
        raise error
    assert "den-word" not in str(error)


def test_a_database_that_is_locked_is_a_thing_that_may_pass(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV, f"sqlite:///{database.path}?timeout=0.1")
    writer = sqlite3.connect(database.path, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TransientError, match="the database broke off: database is locked"):
        database.look()
    writer.close()


def test_a_home_that_cannot_be_written(database: Database) -> None:
    database.insert(*numbered(3))
    (database.folder / "home").write_text("no folder")
    with pytest.raises(ConfigurationError, match=r"cannot be written: .*\n  fix: point FRESHTUNE_HOME at a folder"):
        database.look()


def test_a_file_that_is_no_database(database: Database) -> None:
    database.connection.close()
    database.path.write_bytes(b"certainly not a database" * 100)
    with pytest.raises(ConfigurationError, match="file is not a database"):
        database.look()


def test_a_path_is_relative_to_the_project(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    (database.folder / "pipelines").mkdir()
    (database.folder / "pyproject.toml").touch()
    (database.folder / "deep").mkdir()
    monkeypatch.chdir(database.folder / "deep")
    monkeypatch.setenv(ENV, "sqlite:///messages.db")
    database.insert(*numbered(3))
    assert records(database.look().files) == database.rows


def test_nothing_of_the_password_is_written_anywhere(
    database: Database, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    caplog.set_level(0)
    database.insert(*numbered(30))
    monkeypatch.setenv(ENV, "postgresql+psycopg2://me:hidden-word@127.0.0.1:1/x?options=hidden-word")
    from sqlalchemy import create_engine

    from assets.raw import sql

    # All of the way but the very last is that of a database with a password.
    monkeypatch.setattr(sql, "_engine", lambda _url, _sql: create_engine(f"sqlite:///{database.path}"))
    seen = database.look(window=5)

    written = b"".join(path.read_bytes() for path in (database.folder / "home").rglob("*") if path.is_file())
    assert b"text 29" in written
    said = capfd.readouterr()
    assert "hidden-word" not in f"{written!r} {seen!r} {said.out} {said.err} {caplog.text}"
