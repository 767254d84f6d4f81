"""Which files of a pipeline and of freshtune hold a text: a search through everything that lies on this machine."""

from __future__ import annotations

import bz2
import gzip
import html
import json
import lzma
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.cleaned.normalise import normalise
from assets.config.home import pipeline_folder
from assets.errors import ConfigurationError
from assets.store.runner import Runner

CHUNK = 1 << 22
"""Bytes that are read at once."""
LOCAL = "sqlite:///"
OPENERS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
"""How a compressed file begins → what reads it."""
TEXTS = frozenset({"text", "line_text"})
"""Columns with texts of rows and of lines that are none."""
SHORT = 12
"""A text of fewer characters may be in a file by chance."""


class _Sought(NamedTuple):
    """What is looked for.

    Attributes:
        inside: texts that may be a part of a value.
        whole: texts that count only as whole values.
        needles: how a file may spell them.
    """

    inside: list[str]
    whole: list[str]
    needles: set[bytes]


def holding(folders: Iterable[Path], texts: Iterable[str], *, values: bool = False) -> list[Path]:
    """Find the files that hold one of some texts, as it is or as JSON and HTML write it.

    Tables (Parquet, Feather and other Arrow files, SQLite) are read value by value, compressed files (gzip, bzip2, xz,
    zstd) unpacked; every file is searched as bytes besides, which finds what was deleted from a database and not yet
    overwritten. A text that a database has cut in two, or a file in another encoding than UTF-8, is not found that way.

    Args:
        folders: or files; searched with all below, but not through symbolic links. What is not there holds nothing.
        texts: not empty.
        values: whether a short text counts only as a whole value: of a column or of JSON that is called `text`, or
            between two tags. A short text may be a label.

    Returns:
        Paths, sorted.

    Raises:
        ConfigurationError: a text is empty, which every file holds.
    """
    wanted = list(dict.fromkeys(texts))
    if not wanted:
        return []
    if not all(wanted):
        raise ConfigurationError("an empty text is in every file", where="--text", fix="name a whole text")
    whole = [text for text in wanted if values and len(text) < SHORT]
    inside = [text for text in wanted if text not in set(whole)]
    spelt = {*(form for text in inside for form in forms(text)), *(form for text in whole for form in quoted(text))}
    sought = _Sought(inside, whole, {form.encode("utf-8", "surrogatepass") for form in spelt})
    below = (path for folder in folders for path in (folder, *folder.rglob("*")))
    files = {path for path in below if path.is_file() and not path.is_symlink()}
    return [path for path in sorted(files) if _holds(path, sought)]


def quoted(text: str) -> Iterator[str]:
    """A short text as a value called `text` in JSON, and as all there is between two tags."""
    for escaped in (True, False):
        for space in ("", " "):
            yield f'"text":{space}{json.dumps(text, ensure_ascii=escaped)}'
    for form in _html(text):
        yield f">{form}<"


def forms(text: str) -> set[str]:
    """A text as it is, as JSON, HTML and CSV write it, and as one of them writes what another wrote."""
    once = {text, *_written(text)}
    return {form for each in once for form in (each, *_written(each))}


def _written(text: str) -> Iterator[str]:
    from jinja2.utils import htmlsafe_json_dumps

    for escaped in (True, False):
        yield json.dumps(text, ensure_ascii=escaped)[1:-1]
        yield str(htmlsafe_json_dumps(text, dumps=partial(json.dumps, ensure_ascii=escaped)))[1:-1]
    yield from _html(text)
    yield text.replace('"', '""')  # as CSV


def _html(text: str) -> Iterator[str]:
    """A text as Python's `html` writes it, with quotes and without, as Jinja does, and as Vega does."""
    from markupsafe import escape

    yield html.escape(text, quote=False)
    quoted = html.escape(text)
    yield quoted
    yield str(escape(text))
    yield quoted.replace("&#x27;", "'")


def search(runner: Runner, text: str) -> tuple[list[Path], list[str]]:
    """Find the files of a pipeline and of freshtune that hold a text, as it is or in the normal form of `cleaning`.

    Returns:
        The files; and addresses of what is not on this machine, and was not searched.

    Raises:
        ConfigurationError: as `holding`.
    """
    home, cleaning = runner.home, runner.config.cleaning
    form = normalise(text, unicode=cleaning.unicode, whitespace=cleaning.whitespace)
    away = [url for url in (home.store, home.tracking_uri) if "://" in url and not url.startswith(LOCAL)]
    if home.artifact_root is None:
        away.append(f"artifacts of {home.tracking_uri}")
    here = [Path(home.tracking_uri.removeprefix(LOCAL))] if home.tracking_uri.startswith(LOCAL) else []
    here += [] if home.store in away else [Path(home.store)]
    return holding([home.path, home.dagster, pipeline_folder(runner.name), *here], [text, form]), away


def _holds(path: Path, sought: _Sought) -> bool:  # noqa: PLR0911 - one for each kind of file
    with path.open("rb") as stream:
        if _in_stream(stream, sought.needles):
            return True
        stream.seek(0)
        head = stream.read(16)
    if head.startswith(b"PAR1"):
        with pq.ParquetFile(path) as file:
            return any(_in_batch(batch, sought) for batch in file.iter_batches())
    if head.startswith(b"ARROW1"):
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            return any(_in_batch(reader.get_batch(at), sought) for at in range(reader.num_record_batches))
    if head.startswith(b"SQLite format 3\x00"):
        return _in_database(path, sought)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as unpacked:
            return _in_stream(cast("IO[bytes]", unpacked), sought.needles)
    for magic, opened in OPENERS.items():
        if head.startswith(magic):
            with opened(path) as unpacked:
                return _in_stream(cast("IO[bytes]", unpacked), sought.needles)
    return False


def _in_stream(stream: IO[bytes], needles: set[bytes]) -> bool:
    overlap = max(map(len, needles)) - 1
    before = b""
    while chunk := stream.read(CHUNK):
        window = before + chunk
        if any(needle in window for needle in needles):
            return True
        before = window[-overlap:] if overlap else b""
    return False


def _in_batch(batch: pa.RecordBatch, sought: _Sought) -> bool:
    return any(
        _in_column(column, sought if name in TEXTS else sought._replace(whole=[]))
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    )


def _in_column(column: Any, sought: _Sought) -> bool:
    if pa.types.is_dictionary(column.type):
        return _in_column(column.dictionary, sought)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        if sought.whole and pc.any(pc.is_in(column, pa.array(sought.whole, column.type))).as_py():
            return True
        return any(pc.any(pc.match_substring(column, text)).as_py() for text in sought.inside)
    if pa.types.is_nested(column.type):
        held = json.dumps(column.to_pylist(), ensure_ascii=False, default=str)
        spelt = [json.dumps(text, ensure_ascii=False)[1:-1] for text in sought.inside]
        spelt += [form for text in sought.whole for form in quoted(text)]
        return any(each in held for each in spelt)
    return False


def _in_database(path: Path, sought: _Sought) -> bool:
    spelt = {form for text in sought.inside for form in forms(text)}
    spelt |= {form for text in sought.whole for form in quoted(text)}
    identifier = '"{}"'.format
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        names = [
            name.replace('"', '""') for (name,) in database.execute("select name from sqlite_master where type='table'")
        ]
        for name in names:
            columns = [row[1].replace('"', '""') for row in database.execute(f"pragma table_info({identifier(name)})")]
            for column in columns:
                query = f"select 1 from {identifier(name)} where instr({identifier(column)}, ?) limit 1"  # noqa: S608
                if any(database.execute(query, (text,)).fetchone() for text in sorted(spelt)):
                    return True
    return False
