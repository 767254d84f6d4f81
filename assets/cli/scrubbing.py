"""Takes texts out of files: tables without their rows, JSON and pages without their words, databases without either."""

from __future__ import annotations

import json
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from assets.cli.everywhere import SHORT, TEXTS, forms, holding, quoted

MARK = "[forgotten]"
"""What stands where a text was."""
BEGINNING = 100
"""Characters of a long text that are enough to know it by: samples and reports have the beginning of a text only."""
SQLITE = b"SQLite format 3\x00"


@dataclass(frozen=True)
class Words:
    """What is to go.

    Attributes:
        texts: of rows, in every form in which they lie somewhere.
        row_ids: of these rows.
    """

    texts: tuple[str, ...]
    row_ids: tuple[str, ...]

    def holding(self, *folders: Path) -> list[Path]:
        """Files that hold any of it, or the beginning of a long text."""
        return holding(folders, [*(text[:BEGINNING] for text in self.texts), *self.row_ids], values=True)

    def wholly_in(self, *folders: Path) -> list[Path]:
        """Files that hold any of it as a whole."""
        return holding(folders, [*self.texts, *self.row_ids], values=True)

    def without(self, value: str, *, of_text: bool = False) -> str:
        """A value of a table or of JSON without any of it.

        Args:
            value: the value.
            of_text: whether it is called `text`, so that a short text is no label.
        """
        if of_text and value in self.texts:
            return MARK
        for text in self._long:
            value = _cut(value, text)
        for row_id in self.row_ids:
            value = value.replace(row_id, MARK)
        return value

    def without_spelt(self, content: str) -> str:
        """A page or a log without any of it, however it is spelt there."""
        for text in sorted(self.texts, key=len, reverse=True):
            if len(text) < SHORT:
                for form, instead in zip(quoted(text), quoted(MARK), strict=True):
                    content = content.replace(form, instead)
                continue
            for form in sorted(forms(text), key=len, reverse=True):
                content = _cut(content, form)
        for row_id in self.row_ids:
            content = content.replace(row_id, MARK)
        return content

    @property
    def _long(self) -> Iterator[str]:
        yield from (text for text in sorted(self.texts, key=len, reverse=True) if len(text) >= SHORT)


def _cut(content: str, text: str) -> str:
    """Content without a text, or as much of its beginning as is there."""
    beginning = text[:BEGINNING]
    found, start = [], 0
    while (at := content.find(beginning, start)) >= 0:
        end = at + len(beginning)
        while end - at < len(text) and end < len(content) and content[end] == text[end - at]:
            end += 1
        found += [content[start:at], MARK]
        start = end
    return "".join([*found, content[start:]])


def still_in(path: Path, words: Words, longer: Words) -> bool:
    """Whether a file holds any of some words otherwise than as a part of longer texts, which are rows of their own."""
    if not words.wholly_in(path):
        return False
    if not longer.texts:
        return True
    with path.open("rb") as stream:
        head = stream.read(16)
    if head.startswith(b"PAR1"):
        return _in_cells(pq.read_table(path), words, longer)
    if head.startswith(b"ARROW1"):
        with pa.OSFile(str(path)) as source:
            return _in_cells(pa.ipc.open_file(source).read_all(), words, longer)
    if head == SQLITE:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            content = "\n".join(line for line in database.iterdump())
    else:
        content = path.read_bytes().decode(errors="replace")
    content = longer.without_spelt(content)
    return words.without_spelt(content) != content


def _in_cells(table: pa.Table, words: Words, longer: Words) -> bool:
    left = longer.without_spelt(json.dumps(table.to_pylist(), ensure_ascii=False, default=str))
    return words.without_spelt(left) != left


def scrub(path: Path, words: Words) -> bool:
    """Take words out of a file, in place; whether that could be done. What is not understood is left as it is.

    Rows of tables go whole, and so do objects in lists of JSON.
    """
    with path.open("rb") as stream:
        head = stream.read(16)
    if head == SQLITE:
        scrub_database(path, words)
        return True
    if head.startswith(b"PAR1"):
        _replace(path, lambda part: pq.write_table(_rows_without(pq.read_table(path), words), part, compression="zstd"))
        return True
    if head.startswith(b"ARROW1"):
        with pa.OSFile(str(path)) as source:
            table = _rows_without(pa.ipc.open_file(source).read_all(), words)

        def write(part: Path) -> None:
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)

        _replace(path, write)
        return True
    try:
        content = path.read_bytes().decode()
    except UnicodeDecodeError:
        return False
    try:
        value = json.loads(content)
    except ValueError:
        after = words.without_spelt(content)
    else:
        # As it was written: `assets.store.digests` writes for people with an indent, and for programs without.
        indent = 1 if "\n" in content.strip() else None
        after = json.dumps(_json_without(value, words), ensure_ascii=False, sort_keys=True, indent=indent)
        # A value may be a page, or JSON itself.
        after = words.without_spelt(after)
    _replace(path, lambda part: part.write_bytes(after.encode()))
    return True


def _replace(path: Path, write: Any) -> None:
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        write(part)
        shutil.copymode(path, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _rows_without(table: pa.Table, words: Words) -> pa.Table:
    stays = [True] * len(table)
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_nested(kind):
            for at, value in enumerate(column.to_pylist()):
                stays[at] = stays[at] and _json_without(value, words, of_text=name in TEXTS) == value
    return table.filter(pa.array(stays, pa.bool_()))


def _json_without(value: Any, words: Words, *, of_text: bool = False) -> Any:
    if isinstance(value, str):
        return words.without(value, of_text=of_text)
    if isinstance(value, list):
        rest = []
        for each in value:
            after = _json_without(each, words)
            # A row, a line of a table; a list of texts keeps its length.
            if not isinstance(each, dict) or after == each:
                rest.append(after)
        return rest
    if isinstance(value, dict):
        return {words.without(name): _json_without(each, words, of_text=name in TEXTS) for name, each in value.items()}
    return value


def scrub_database(path: Path, words: Words) -> None:
    """Take words out of every text of an SQLite database, and out of what it deleted and has not yet overwritten."""
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
        database.execute("pragma secure_delete = on")
        database.create_function("without", 1, _of_cell(words), deterministic=True)
        names = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
        database.execute("begin immediate")
        for name in (each.replace('"', '""') for each in names if not each.startswith("sqlite_")):
            for column in (row[1].replace('"', '""') for row in database.execute(f'pragma table_info("{name}")')):
                database.execute(
                    f'update "{name}" set "{column}" = without("{column}") '  # noqa: S608 - names are quoted
                    f'where typeof("{column}") = \'text\' and without("{column}") <> "{column}"'
                )
        database.execute("commit")
        database.execute("vacuum")
        database.execute("pragma wal_checkpoint(truncate)")


def _of_cell(words: Words) -> Any:
    def without(value: str) -> str:
        plain = words.without(value)
        return words.without_spelt(plain)

    return without
