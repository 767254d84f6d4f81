from __future__ import annotations

import gzip
import io
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.errors import ConfigurationError, DataError
from assets.raw.kinds import format_of, refuse_impostor


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"], "label": ["x"]}), sink)
    return sink.getvalue()


def arrow(*, stream: bool = False) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"text": ["a"], "label": ["x"]})
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def zipped() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("a.csv", "text,label\n")
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "configured", "form"),
    [
        ("a.csv", "auto", "csv"),
        ("a.TSV", "auto", "tsv"),
        ("a.b.jsonl", "auto", "jsonl"),
        ("package://p/a.parquet", "auto", "parquet"),
        ("a.csv", "tsv", "tsv"),
        ("a.json", "auto", "json"),
        ("a.json", "label_studio", "label_studio"),
        ("a.feather", "auto", "arrow"),
        ("a.csv.gz", "auto", "csv"),
        ("a.gz.Parquet.ZST", "auto", "parquet"),
    ],
)
def test_format_goes_by_the_configuration_then_by_the_ending(name: str, configured: str, form: str) -> None:
    assert format_of(name, configured) == form


@pytest.mark.parametrize(
    ("name", "ending"), [("a.xlsx", "'.xlsx'"), ("a.txt.gz", "'.txt'"), ("a.gz", "''"), ("a", "''")]
)
def test_an_unknown_ending_names_those_that_are_known(name: str, ending: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"{name}: the ending {ending} .*\.csv, \.tsv.* also with \.gz or \.zst\n  fix: set"
    ):
        format_of(name, "auto")


@pytest.mark.parametrize(
    ("form", "data", "message"),
    [
        ("csv", b"", "the file is empty"),
        ("parquet", b"", "the file is empty"),
        ("csv", parquet(), "taken for CSV, but it is a Parquet file\n  fix: set source.format: parquet"),
        (
            "jsonl",
            gzip.compress(b'{"text": 1}', mtime=0),
            "taken for JSON Lines, but it is compressed by gzip a second time\n  fix: unpack",
        ),
        ("csv", zipped(), "taken for CSV, but it is a zip archive or an Excel workbook"),
        ("parquet", zipped(), "taken for Parquet, but it is a zip archive or an Excel workbook"),
        ("tsv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "but it is an old Excel workbook"),
        ("csv", b"SQLite format 3\0", "but it is an SQLite database"),
        ("parquet", b"text,label\na,b\n", r"but it is text that begins with 'text,label\\na,b\\n'"),
        ("parquet", parquet()[:-1], "but it is cut off in the middle\n  fix: fetch"),
        ("parquet", b"\x7fELF\0\0", "but it is some binary file"),
        ("csv", b"\xef\xbb\xbf\n <!DOCTYPE html><html>", "but it is a web page or XML"),
        ("jsonl", b'[{"text": "a"}]', "but it is one JSON array\n  fix: set source.format: json"),
        ("json", b' {"text": "a"}', "but it is JSON Lines, or one object .*\n  fix: set source.format: jsonl"),
        ("csv", b'{"text": "a", "label": "b"}\n', "but it is JSON\n  fix: set source.format: jsonl"),
        ("tsv", b'[{"text": "a", "label": "b"}]\n', "but it is JSON\n  fix: set source.format: jsonl"),
        ("csv", arrow(), "taken for CSV, but it is an Arrow file\n  fix: set source.format: arrow"),
        ("csv", arrow(stream=True), "taken for CSV, but it is an Arrow file\n"),
        ("parquet", arrow(), "taken for Parquet, but it is an Arrow file\n"),
        ("arrow", parquet(), "taken for Arrow, but it is a Parquet file\n"),
        ("arrow", arrow()[:-1], "taken for Arrow, but it is cut off in the middle\n  fix: fetch"),
        ("arrow", b"FEA1\0\0", "but it is a Feather file of version 1\n  fix: write it again"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(form: str, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"^x/y: .*{message}"):
        refuse_impostor("x/y", data, form)


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("csv", b"PAR1,label\na,b\n"),
        ("csv", b"ARROW1,label\na,b\n"),
        ("tsv", b"text\tlabel\n"),
        ("jsonl", b'{"text": "[1]"}\n'),
        ("json", b'[{"text": "[1]"}]\n'),
        ("parquet", parquet()),
        ("arrow", arrow()),
        ("arrow", arrow(stream=True)),
    ],
)
def test_a_file_that_is_what_its_name_says(form: str, data: bytes) -> None:
    refuse_impostor("x", data, form)
