from __future__ import annotations

import gzip
import io
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.errors import ConfigurationError, DataError
from assets.raw.kinds import decode, format_of, refuse_impostor


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"], "label": ["x"]}), sink)
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
    ],
)
def test_format_goes_by_the_configuration_then_by_the_ending(name: str, configured: str, form: str) -> None:
    assert format_of(name, configured) == form


@pytest.mark.parametrize(("name", "ending"), [("a.xlsx", "'.xlsx'"), ("a.csv.gz", "'.gz'"), ("a", "''")])
def test_an_unknown_ending_names_those_that_are_known(name: str, ending: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name}: the ending {ending} .*\.csv, \.tsv.*\n  fix: set"):
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
            "taken for JSON Lines, but it is compressed by gzip\n  fix: unpack",
        ),
        ("csv", zipped(), "taken for CSV, but it is a zip archive or an Excel workbook"),
        ("parquet", zipped(), "taken for Parquet, but it is a zip archive or an Excel workbook"),
        ("tsv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "but it is an old Excel workbook"),
        ("csv", b"SQLite format 3\0", "but it is an SQLite database"),
        ("parquet", b"text,label\na,b\n", r"but it is text that begins with 'text,label\\na,b\\n'"),
        ("parquet", parquet()[:-1], "but it is cut off in the middle\n  fix: fetch"),
        ("parquet", b"\x7fELF\0\0", "but it is some binary file"),
        ("csv", b"\xef\xbb\xbf\n <!DOCTYPE html><html>", "but it is a web page or XML"),
        ("jsonl", b'[{"text": "a"}]', "but it is one JSON array\n  fix: write one object on each line"),
        ("csv", b'{"text": "a", "label": "b"}\n', "but it is JSON\n  fix: set source.format: jsonl"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(form: str, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"^x/y: .*{message}"):
        refuse_impostor("x/y", data, form)


@pytest.mark.parametrize(
    ("form", "data"),
    [("csv", b"PAR1,label\na,b\n"), ("tsv", b"text\tlabel\n"), ("jsonl", b'{"text": "[1]"}\n'), ("parquet", parquet())],
)
def test_a_file_that_is_what_its_name_says(form: str, data: bytes) -> None:
    refuse_impostor("x", data, form)


@pytest.mark.parametrize(
    ("data", "encoding", "text", "damaged"),
    [
        ("\ufeffé\n".encode(), "utf-8", "é\n", False),
        ("é\n".encode("cp1252"), "cp1252", "é\n", False),
        ("é\n".encode("utf-16"), "utf-16", "é\n", False),
        (b"caf\xe9\n", "utf-8", "caf\udce9\n", True),
    ],
)
def test_decode(data: bytes, encoding: str, text: str, damaged: bool) -> None:
    assert decode("x", data, encoding) == (text, damaged)


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        (b"\xef\xbb\xbf \r\n", "utf-8", "the file is empty"),
        ("text,label\n".encode("utf-16"), "utf-8", "the file is UTF-16, not utf-8\n  fix: set source.encoding: utf-16"),
        ("text,label\n".encode("utf-16-le"), "utf-8", "the file is binary, not text: line 1 has a NUL"),
        (b"text,label\na,b\nc,\0\n", "utf-8", "the file is binary, not text: line 3 has a NUL"),
        (b"abc", "utf-16", "the file is not utf-16: truncated data at byte 2"),
    ],
)
def test_text_that_cannot_be_decoded(data: bytes, encoding: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^x: {message}"):
        decode("x", data, encoding)


@pytest.mark.parametrize("encoding", ["utf-9", "hex"])
def test_no_such_encoding(encoding: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"source\.encoding: '{encoding}' is no text encoding\n  fix: .*"):
        decode("x", b"abc", encoding)
