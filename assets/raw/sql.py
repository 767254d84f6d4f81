"""Rows of a database: what a query gives now, as windows that are taken in by content like files.

One statement reads everything that a look sees, so a look sees one state of the table: a row that moves while it is
read is there once. Which rows changed is told by comparing all of them – or, with `overlap`, the keys and watermarks of
all of them and the whole of the newest – with what was seen before, never by "newer than the newest that I saw": a
transaction that began early and commits late brings rows with old watermarks, and rows are also changed and deleted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from json.encoder import encode_basestring, encode_basestring_ascii
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.config.home import home, project_root
from assets.errors import ConfigurationError, DataError, FreshtuneError, explained
from assets.raw.parse import positions
from assets.raw.refusals import refused_connection, refused_query, unreadable_url
from assets.raw.values import as_json, as_text, restored, stored
from assets.raw.windows import Row, Spool, Window, cut, observed, place_of
from assets.store.digests import digest_json

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, Select

    from assets.config.sources import Sql
    from assets.store.step import FileIndex, ObservedFile

FETCHED = 2_000
"""Rows that are asked for at once."""
NAMED = 32
"""Longest key that is part of a window's name as it is, in characters."""


def look(sql: Sql, wanted: Sequence[str], index: FileIndex) -> list[ObservedFile]:
    """Look at what a query gives now.

    Args:
        sql: what is configured.
        wanted: columns to take.
        index: digests of files that were looked at before.

    Returns:
        Its windows, each a file of JSON Lines with the wanted columns, in the order of the rows.

    Raises:
        ConfigurationError: the environment variable is not set or holds no URL, no driver for it is installed, the
            database refuses the user or the query, or a column is missing that tells rows apart or orders them.
        DataError: a wanted column is missing, a key is null or there twice, or there are no rows.
        TransientError: the database cannot be reached, or breaks off.
        StoreError: the disk is full.
    """
    try:
        return _look(sql, wanted, index)
    except OSError as error:
        raise (explained(error, home().path) or error) from error.__cause__


def _look(sql: Sql, wanted: Sequence[str], index: FileIndex) -> list[ObservedFile]:
    url = database_url(sql.url_env)
    engine = _engine(url, sql)
    try:
        with _connected(engine, url, sql) as connection:
            fault, windows, spool = _looked(connection, url, sql, wanted, index)
    finally:
        engine.dispose()
    # Not within an `except`: what the database says is not always free of secrets, and a cause is shown with its error.
    if fault is not None:
        raise fault
    if not windows:
        raise DataError("the query gives no rows", where="source.sql.query", fix="correct its conditions, or add rows")
    spool.keep(tuple(window for window, _, _ in windows))
    return [observed(spool, window, _name(sql.url_env, first, last)) for window, first, last in windows]


def database_url(variable: str) -> URL:
    """The URL that an environment variable holds; nothing that is said of it tells the URL.

    Raises:
        ConfigurationError: it is not set or holds no URL; a file of SQLite is not there.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    written = os.environ.get(variable, "").strip()
    if not written:
        raise ConfigurationError(
            f"environment variable {variable} is not set",
            where="source.sql.url_env",
            fix=f"set {variable} to the database's URL (postgresql+psycopg2://user:password@host/database) where this "
            "runs: on this machine and in the daemon's and workers' environment",
        )
    url = None
    # One more @ and a part of the password would be taken for the host, which errors name.
    if written.partition("?")[0].count("@") <= 1:
        try:
            url = make_url(written)
        except (ArgumentError, ValueError):
            url = None
    if url is None:
        raise unreadable_url(variable)
    if url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":memory:", "file:")):
        path = project_root() / url.database
        if not path.is_file():
            raise ConfigurationError(
                f"there is no SQLite database at {path}",
                where=variable,
                fix="correct the path: sqlite:///PATH is relative to the project's folder, sqlite:////PATH is not",
            )
        url = url.set(database=str(path))
    return url


def _engine(url: URL, sql: Sql) -> Engine:
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return create_engine(url, poolclass=NullPool, hide_parameters=True)
    except (SQLAlchemyError, ImportError) as error:
        fault = refused_connection(error, url, sql.url_env)
    raise fault


def _connected(engine: Engine, url: URL, sql: Sql) -> Connection:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        connection = engine.connect()
    except (SQLAlchemyError, ValueError, TypeError) as error:
        # A driver that does not know a parameter of the URL says so by a TypeError or ValueError.
        fault = refused_connection(error, url, sql.url_env)
    else:
        driver = connection.connection.driver_connection
        if engine.dialect.name == "sqlite" and driver is not None:
            # A text that is not UTF-8 costs its own row, not the look.
            driver.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        return connection
    raise fault


_Found = tuple[Window, str, str]
"""A window, and the keys of its first and last row."""


def _looked(
    connection: Connection, url: URL, sql: Sql, wanted: Sequence[str], index: FileIndex
) -> tuple[FreshtuneError | None, list[_Found], Spool]:
    """What went wrong, or the windows."""
    from sqlalchemy.exc import SQLAlchemyError

    if connection.dialect.name == "postgresql":
        connection = connection.execution_options(postgresql_readonly=True)
    spool = Spool(_folder(url, sql, wanted), index)
    try:
        _check_columns(connection, sql, wanted)
        start = None if sql.overlap is None else spool.since(sql.overlap)
        windows = None
        if start is not None:
            windows = _windows(connection, sql, wanted, spool, restored(start))
        # An older window is not what it was: rows came late, went, or were moved.
        if windows is None:
            windows = _windows(connection, sql, wanted, spool, None)
    except (SQLAlchemyError, ValueError, OverflowError) as error:
        return refused_query(error, url, sql.url_env), [], spool
    assert windows is not None, "all rows were read whole"
    return None, windows, spool


def _folder(url: URL, sql: Sql, wanted: Sequence[str]) -> Path:
    """Where the windows of this query are; the password is not part of what it is called by."""
    place = [url.drivername, url.username, url.host, url.port, url.database]
    query = [sql.query, sql.key, sql.watermark, sql.window, list(wanted)]
    return home().path / "spool" / "sql" / digest_json([place, query])[:16]


def _query(sql: Sql) -> str:
    """The query as SQLAlchemy takes it: a colon before a name would be a parameter, and a comment hide what follows."""
    return sql.query.strip().removesuffix(";").replace(":", "\\:") + "\n"


def _check_columns(connection: Connection, sql: Sql, wanted: Sequence[str]) -> None:
    from sqlalchemy import literal_column, select, text

    rows = text(_query(sql)).columns().subquery("q")
    found = list(connection.execute(select(literal_column("*")).select_from(rows).where(text("1 = 0"))).keys())
    for field, column in (("key", sql.key), ("watermark", sql.watermark)):
        if column is not None and found.count(column) != 1:
            there = "no column" if column not in found else "more than one column"
            raise ConfigurationError(
                f"the query gives {there} {column!r}; columns found: {', '.join(map(repr, found))}",
                where=f"source.sql.{field}",
                fix="let the query give it (SELECT …, id), or name another column",
            )
    positions("source.sql.query", found, wanted)


def _windows(connection: Connection, sql: Sql, wanted: Sequence[str], spool: Spool, since: Any) -> list[_Found] | None:
    """Read the rows and keep their windows; None where an old window is not one that is known.

    Args:
        connection: to the database.
        sql: what is configured.
        wanted: columns to take.
        spool: keeps them.
        since: watermark from which rows are read whole, or None for all.
    """
    connection = connection.execution_options(yield_per=FETCHED)
    windows: list[_Found] = []
    places = bytearray()
    with connection.execute(_statement(sql, wanted, since)) as result:
        for rows in cut(_rows(result, sql, wanted), sql.window):
            window = spool.take(rows)
            if window is None:
                return None
            windows.append((window, rows[0].key, rows[-1].key))
            places += b"".join([row.place for row in rows])
    _refuse_repeated(places, sql)
    return windows


def _statement(sql: Sql, wanted: Sequence[str], since: Any) -> Select[Any]:
    """Key, watermark, whether the row is read whole, and the wanted columns of every row, in order."""
    from sqlalchemy import bindparam, case, column, literal_column, or_, select, text

    names = dict.fromkeys([sql.key, *([sql.watermark] if sql.watermark else []), *wanted])
    rows = text(_query(sql)).columns(*map(column, names)).subquery("q")
    key, values = rows.c[sql.key], [rows.c[name] for name in wanted]
    if sql.watermark is None:
        return select(key, literal_column("NULL"), literal_column("1"), *values).order_by(key)
    mark = rows.c[sql.watermark]
    # NULLS FIRST is not known everywhere.
    order = (case((mark.is_(None), 0), else_=1), mark, key)
    if since is None:
        return select(key, mark, literal_column("1"), *values).order_by(*order)
    new = or_(mark.is_(None), mark >= bindparam("since", since))
    some = [case((new, value)).label(f"value_{number}") for number, value in enumerate(values)]
    return select(key, mark, case((new, 1), else_=0).label("is_whole"), *some).order_by(*order)


def _rows(result: Iterable[Any], sql: Sql, wanted: Sequence[str]) -> Iterator[Row]:
    fields = [encode_basestring(name) for name in wanted]
    for key, mark, whole, *values in result:
        name = as_text(key)
        if name is None:
            raise DataError(
                f"{sql.key!r} is null in a row",
                where="source.sql.key",
                fix=f"name a column that is never null, or add to the query: WHERE {sql.key} IS NOT NULL",
            )
        record = _record(fields, values) if whole else None
        yield Row(name, place_of(name), as_text(mark), stored(mark), record)


def _record(fields: Sequence[str], values: Sequence[Any]) -> bytes:
    """A row as a line of JSON; the fields are names as JSON has them."""
    try:
        return _line(fields, values, encode_basestring).encode()
    except UnicodeEncodeError:
        # Bytes that are not in the database's encoding are escaped: the line goes to quarantine for them.
        return _line(fields, values, encode_basestring_ascii).encode()


def _line(fields: Sequence[str], values: Sequence[Any], quoted: Callable[[str], str]) -> str:
    written = [
        f"{name}: {quoted(value) if type(value) is str else json.dumps(as_json(value))}"
        for name, value in zip(fields, values, strict=True)
    ]
    return f"{{{', '.join(written)}}}\n"


def _refuse_repeated(places: bytearray, sql: Sql) -> None:
    """Refuse keys that do not tell rows apart: windows are known by them."""
    import numpy as np

    _, counts = np.unique(np.frombuffer(places, np.void(16).dtype), return_counts=True)
    repeated = int((counts > 1).sum())
    if repeated:
        raise DataError(
            f"{repeated:,} values of {sql.key!r} stand for more than one row",
            where="source.sql.key",
            fix="name the primary key, or let the query give each key once (a JOIN may repeat it)",
        )


def _name(variable: str, first: str, last: str) -> str:
    keys = _short(first) if first == last else f"{_short(first)}…{_short(last)}"
    return f"sql:{variable}[{keys}].jsonl"


def _short(key: str) -> str:
    return key if len(key) <= NAMED else f"{key[: NAMED // 2]}~{digest_json(key)[:8]}"
