"""Input out of order is refused by name, set aside with a reason, or taken as what it is; the account balances."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.errors import ConfigurationError, DataError, FreshtuneError
from assets.raw import compressed
from tests.raw.conftest import Raw, Read

GOOD = b"".join(b"text %d,%s\n" % (number, b"xy"[number % 2 :][:1]) for number in range(40))
ROWS = {(f"text {number}", "xy"[number % 2]) for number in range(40)}
JSONL = b'{"text": "good", "label": "x"}\n'


def csv(*lines: bytes) -> bytes:
    return b"\n".join([b"text,label", *lines, b""])


def table(kind: str, **columns: Any) -> bytes:
    sink = io.BytesIO()
    data = pa.table(columns)
    if kind == "parquet":
        pq.write_table(data, sink)
    else:
        with (pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream)(sink, data.schema) as writer:
            writer.write_table(data)
    return sink.getvalue()


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, "zstd", asbytes=True)
    return packed


def balanced(raw: Raw) -> None:
    """Every line that was read is a row, a repeated row or rejected, and comes from one place."""
    told = raw.measurements
    assert told["rows_read"] == told["rows"] + told["repeated"] + told["rejected"] == len(raw.origins)
    assert (told["rows"], told["rejected"]) == (len(raw.rows), len(raw.rejected))
    assert len({(origin["file"], origin["line"]) for origin in raw.origins}) == len(raw.origins)
    assert {origin["row_id"] for origin in raw.origins} == {row["row_id"] for row in [*raw.rows, *raw.rejected]}


LABELS = {"text": "text", "label": "label"}
TAKEN: dict[str, tuple[str, bytes, set[tuple[str | None, str | None]]]] = {
    "UTF-8 with a byte order mark": ("a.csv", b"\xef\xbb\xbf" + csv("é,x".encode()), {("é", "x")}),
    "UTF-16 little": ("a.csv", "\ufefftext,label\r\né,x\r\n".encode("utf-16-le"), {("é", "x")}),
    "UTF-16 big": ("a.tsv", "\ufefftext\tlabel\né\tx".encode("utf-16-be"), {("é", "x")}),
    "UTF-32": ("a.jsonl", '{"text": "é", "label": "x"}'.encode("utf-32"), {("é", "x")}),
    "a mark in the midst": ("a.csv", csv(b"a,x", b"\xef\xbb\xbfb,y"), {("a", "x"), ("\ufeffb", "y")}),
    "carriage returns end lines": ("a.csv", b"text,label\ra,x\rb,y\r", {("a", "x"), ("b", "y")}),
    "three kinds of line ends": ("a.csv", b"text,label\r\na,x\rb,y\nc,x", {("a", "x"), ("b", "y"), ("c", "x")}),
    "blank lines": ("a.csv", b"\n\ntext,label\n\n\na,x\n\r\n\nb,y\n\n", {("a", "x"), ("b", "y")}),
    "only delimiters": ("a.csv", csv(b","), {("", "")}),
    "formulas": (
        "a.csv",
        csv(b"=cmd|' /C calc'!A0,x", b'"=HYPERLINK(""http://a.b"",""c"")",x', b"@SUM(1),x", b"-1+1,x", b"+1,=1"),
        {
            ("=cmd|' /C calc'!A0", "x"),
            ('=HYPERLINK("http://a.b","c")', "x"),
            ("@SUM(1)", "x"),
            ("-1+1", "x"),
            ("+1", "=1"),
        },
    ),
    "templates and markup": (
        "a.csv",
        csv(b"{{ 7 * 7 }} <script>alert(1)</script>,x"),
        {("{{ 7 * 7 }} <script>alert(1)</script>", "x")},
    ),
    "right to left, and who overrides it": (
        "a.csv",
        csv("שלום \u202eevil\u202c,x".encode()),
        {("שלום \u202eevil\u202c", "x")},
    ),
    "emoji of several code points": ("a.csv", csv("👩‍👩‍👧‍👦🏳️‍🌈,x".encode()), {("👩‍👩‍👧‍👦🏳️‍🌈", "x")}),
    "control characters": (
        "a.csv",
        csv(b"a\x07\x1b[31m\x0b\x0c\x1c\x85b".replace(b"\x85", b"\xc2\x85") + b",x"),
        {("a\x07\x1b[31m\x0b\x0c\x1c\x85b", "x")},
    ),
    "numbers as labels": (
        "a.csv",
        csv(b"a,1", b"a,01", b"a,1.0", b"a,1e0"),
        {("a", "1"), ("a", "01"), ("a", "1.0"), ("a", "1e0")},
    ),
    "numbers of other places": (
        "a.csv",
        csv(b'"1.234,56",x', b"1\xc2\xa0000,x"),
        {("1.234,56", "x"), ("1\xa0000", "x")},
    ),
    "words for nothing": (
        "a.csv",
        csv(b"NULL,NA", b"nan,None", b"N/A,null"),
        {("NULL", "NA"), ("nan", "None"), ("N/A", "null")},
    ),
    "empty texts and labels": ("a.csv", csv(b",x", b"a,", b'"",""'), {("", "x"), ("a", ""), ("", "")}),
    "a header in the midst": ("a.csv", csv(b"a,x") + csv(b"b,y"), {("a", "x"), ("text", "label"), ("b", "y")}),
    "a column without a name": ("a.csv", b"text,label,\na,x,\n", {("a", "x")}),
    "columns without names twice": ("a.csv", b"text,,label,\na,1,x,2\n", {("a", "x")}),
    "five thousand columns": ("a.csv", b"text,label" + b",c" * 5000 + b"\na,x" + b"," * 5000, {("a", "x")}),
    "a semicolon divides": ("a.csv", b"text;label\na, b;x\n", {("a, b", "x")}),
    "a bar divides": ("a.csv", b'label|text\nx|"a|b"\n', {("a|b", "x")}),
    "a tab divides what is called CSV": ("a.csv", b"text\tlabel\na, b\tx\n", {("a, b", "x")}),
    "quotes and line ends in fields": ("a.csv", csv(b'"a\r\n""b""\n","x"'), {('a\r\n"b"\n', "x")}),
    "backslashes": ("a.csv", csv(b"a\\nb\\,x\\"), {("a\\nb\\", "x\\")}),
    "the same key twice": ("a.jsonl", b'{"text": "a", "text": "b", "label": "x"}', {("b", "x")}),
    "an escaped NUL": ("a.jsonl", b'{"text": "a\\u0000", "label": "x"}', {("a\0", "x")}),
    "numbers beyond all bounds": (
        "a.jsonl",
        b'{"text": 123456789012345678901234567890, "label": 1e999}\n{"text": -0.0, "label": 1E2}',
        {("123456789012345678901234567890", "inf"), ("0", "100")},
    ),
    "nulls and keys that are not there": (
        "a.jsonl",
        b'{"text": null, "label": "x"}\n{"text": "a"}',
        {(None, "x"), ("a", None)},
    ),
    "true, false": (
        "a.json",
        b'[{"text": "a", "label": true}, {"text": "b", "label": false}]',
        {("a", "true"), ("b", "false")},
    ),
    "separators that are no line ends": (
        "a.jsonl",
        '{"text": "a\u2028b\u2029\x85", "label": "x"}\r\n'.encode(),
        {("a\u2028b\u2029\x85", "x")},
    ),
    "deep nesting in a column that nobody asked for": (
        "a.jsonl",
        b'{"text": "a", "label": "x", "more": ' + b"[" * 100 + b"]" * 100 + b"}",
        {("a", "x")},
    ),
    "numbers, times and nulls in columns": (
        "a.parquet",
        table("parquet", text=pa.array([1.5, None]), label=pa.array([0, 86_400], pa.timestamp("s"))),
        {("1.5", "1970-01-01 00:00:00.000"), (None, "1970-01-02 00:00:00.000")},
    ),
    "compressed without saying so": ("a.csv", gzip.compress(csv(b"a,x")), {("a", "x")}),
    "saying so without being it": ("a.csv.gz", csv(b"a,x"), {("a", "x")}),
    "several members": ("a.csv.zst", zstd(csv(b"a,x")) + zstd(b"b,y\n"), {("a", "x"), ("b", "y")}),
}


@pytest.mark.parametrize("case", TAKEN)
def test_taken_as_what_it_is(read_files: Read, case: str) -> None:
    name, data, rows = TAKEN[case]
    raw = read_files({name: data}, encoding="auto")
    assert raw.pairs == rows
    assert raw.rejected == []
    balanced(raw)


NOT_JSON = "not valid JSON"
QUOTES = "quotes are not closed or not escaped"
SET_ASIDE: dict[str, tuple[str, bytes, set[tuple[str, str, str]]]] = {
    "too few and too many fields": (
        "csv",
        b"a\na,b,c\n",
        {("a", "ragged_row", "1 fields instead of 2"), ("a,b,c", "ragged_row", "3 fields instead of 2")},
    ),
    "white space instead of a row": ("csv", b"  \t \n", {("  \t ", "ragged_row", "1 fields instead of 2")}),
    "a quote that is closed too early": ("csv", b'"a"b,x\n', {('"a"b,x', "unreadable", QUOTES)}),
    "a quote escaped by a backslash": ("csv", b'"a\\"b",x\n', {('"a\\"b",x', "unreadable", QUOTES)}),
    "a quote that is never closed": ("csv", b'"a,x', {('"a,x', "unreadable", QUOTES)}),
    "an endless field": (
        "csv",
        b"a" * 200_000 + b",x\n",
        {("a" * 200_000 + ",x", "unreadable", "a field is longer than 131,072 characters; is a quote not closed?")},
    ),
    "a line in another encoding": (
        "csv",
        b"caf\xe9,x\n",
        {("caf\\xe9,x", "encoding", "column 'text': \\xe9 at character 4 is not in the encoding")},
    ),
    "UTF-8 of half a surrogate pair": (
        "csv",
        b"\xed\xa0\x80,x\n",
        {("\\xed\\xa0\\x80,x", "encoding", "column 'text': \\xed at character 1 is not in the encoding")},
    ),
    "UTF-8 longer than it need be": (
        "csv",
        b"a,\xc0\xaf\n",
        {("a,\\xc0\\xaf", "encoding", "column 'label': \\xc0 at character 1 is not in the encoding")},
    ),
    "a character cut in two at the end": (
        "csv",
        b"a,\xf0\x9f\x98",
        {("a,\\xf0\\x9f\\x98", "encoding", "column 'label': \\xf0 at character 1 is not in the encoding")},
    ),
    **{
        f"JSON: {line[:30].decode(errors='replace')}": ("jsonl", line, {(line.decode(), "invalid_json", detail)})
        for line, detail in [
            (b'{"text": "a", "label": NaN}', NOT_JSON),
            (b'{"text": "a", "label": -Infinity}', NOT_JSON),
            (b'{"text": "a", "label": "x",}', NOT_JSON),
            (b"{'text': 'a'}", NOT_JSON),
            (b'{text: "a"}', NOT_JSON),
            (b'{"text": "a"} // why', NOT_JSON),
            (b'{"text": "a"}{"text": "b"}', NOT_JSON),
            (b'{"text": "a', NOT_JSON),
            (b'{"text": "a\tb"}', NOT_JSON),
            (b'{"text": "\\x41"}', NOT_JSON),
            (b'{"label": 01}', NOT_JSON),
            (b'{"label": 0x1}', NOT_JSON),
            (b'{"label": .5}', NOT_JSON),
            (b'{"label": 1.}', NOT_JSON),
            (b'{"text" "a"}', NOT_JSON),
            (b'{"text": }', NOT_JSON),
            (b"{", NOT_JSON),
            (b"]", NOT_JSON),
            (b'{"text": undefined}', NOT_JSON),
            (b'{"label": True}', NOT_JSON),
            (b"text,label", NOT_JSON),
            (b"[" * 200_000, NOT_JSON),
            (b'{"label": ' + b"9" * 5000 + b"}", NOT_JSON),
            (b'\xef\xbb\xbf{"text": "a"}', NOT_JSON),
            (b'"text"', "a text, not an object"),
            (b"null", "null, not an object"),
            (b"1e5", "a number, not an object"),
            (b'["a", "x"]', "a list, not an object"),
            (b"true", "true or false, not an object"),
        ]
    },
    "an object on two lines": (
        "jsonl",
        b'{"text": "a",\n"label": "x"}',
        {('{"text": "a",', "invalid_json", NOT_JSON), ('"label": "x"}', "invalid_json", NOT_JSON)},
    ),
    "an object as text": (
        "jsonl",
        b'{"text": {"a": 1}, "label": "x"}',
        {('{"text": {"a": 1}, "label": "x"}', "unreadable", "column 'text' holds an object, not a text")},
    ),
    "a list of labels": (
        "jsonl",
        b'{"text": "a", "label": ["x"]}',
        {('{"text": "a", "label": ["x"]}', "unreadable", "column 'label' holds a list, not a text")},
    ),
    "half a surrogate pair": (
        "jsonl",
        b'{"text": "\\udc00", "label": "x"}',
        {
            (
                '{"text": "\\udc00", "label": "x"}',
                "encoding",
                "column 'text': \\udc00 at character 1 is not in the encoding",
            )
        },
    ),
}


@pytest.mark.parametrize("case", SET_ASIDE)
def test_set_aside_with_a_reason(read_files: Read, case: str) -> None:
    form, line, rejected = SET_ASIDE[case]
    before, rows = (csv(GOOD), ROWS) if form == "csv" else (JSONL * 40, {("good", "x")})
    raw = read_files({f"a.{form}": before.rstrip(b"\n") + b"\n" + line}, encoding="auto")
    assert raw.pairs == rows
    assert {(row["line_text"], row["reason"], row["detail"]) for row in raw.rejected} == rejected
    balanced(raw)


def test_a_quote_that_is_not_closed_hides_no_row_silently(read_files: Read) -> None:
    raw = read_files({"a.csv": csv(b'"a,x', b"b,y", b'c,"x"', b"d,y")}, encoding="auto")
    assert raw.pairs == {("d", "y")}
    assert {row["line_text"] for row in raw.rejected} == {'"a,x', "b,y", 'c,"x"'}
    balanced(raw)


def test_a_batch_of_all_kinds_balances(read_files: Read) -> None:
    files = {f"t{number}.{name}": data for number, (name, data, _) in enumerate(TAKEN.values())}
    for number, (form, line, _) in enumerate(SET_ASIDE.values()):
        files[f"{number}.{form}"] = csv(GOOD, line) if form == "csv" else JSONL + line
    raw = read_files(files, encoding="auto")
    assert raw.pairs >= ROWS | {("good", "x")}
    balanced(raw)


MILLION = b",".join(b"c%d" % number for number in range(1_000_000))
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "nothing compressed": ("a.csv.gz", gzip.compress(b""), "the file is empty"),
    "white space": ("a.jsonl", b" \n\t\r\n", "the file is empty"),
    "a header only": ("a.csv", b"text,label", "there are no rows, only header lines"),
    "an empty array": ("a.json", b"[]", "there are no rows"),
    "no rows in a table": (
        "a.parquet",
        table("parquet", text=pa.array([], pa.string()), label=pa.array([], pa.string())),
        "there are no rows",
    ),
    "no header": (
        "a.csv",
        b"first text,x\nsecond text,y\n",
        r"no column 'text', 'label'; columns found: 'first text', 'x'\n.*set source.names",
    ),
    "a header in capitals": (
        "a.csv",
        b"Text,Label\na,x\n",
        r"columns found: 'Text', 'Label'\n  fix: .*\(is it 'Text'\?\)",
    ),
    "spaces in the header": (
        "a.csv",
        b"text, label\na,x\n",
        r"no column 'label'; columns found: 'text', ' label'\n  fix: .*\(is it ' label'\?\)",
    ),
    "a column twice": ("a.csv", b"text,label,label\na,x,y\n", "more than one column is called 'label'"),
    "a million columns": (
        "a.csv",
        MILLION + b"\na,x\n",
        "no column 'text', 'label'; columns found: 'c0', .* and 999,980 more",
    ),
    "a header of one endless name": (
        "a.csv",
        b"a" * 200_000 + b",text\n",
        "the header line cannot be read: field larger than field limit",
    ),
    "a header that tricks the screen": (
        "a.csv",
        "\u202etxet\x1b[2J,label\na,x\n".encode(),
        r"columns found: '\\u202etxet\\x1b\[2J', 'label'\n",
    ),
    "what a spreadsheet writes first": (
        "a.csv",
        b"sep=;\ntext;label\na;x\n",
        r"no column 'text', 'label'; columns found: 'sep=', ''\n",
    ),
    "two delimiters that fit": ("a.csv", b"text;label;a|text|label\n", r"the fields may be divided by ';' or by '\|'"),
    "NUL": ("a.csv", csv(b"a,x", b"b\0,y"), "the file is binary, not text: line 3 has a NUL character"),
    "NUL in JSON": ("a.jsonl", b'{"text": "a\0", "label": "x"}', "the file is binary, not text: line 1 has a NUL"),
    "a picture": ("a.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "the file is binary, not text"),
    "UTF-16 without a mark": (
        "a.csv",
        "text,label\na,x\n".encode("utf-16-le"),
        "seems to be utf-16-le .*\n  fix: set source.encoding: utf-16-le",
    ),
    "UTF-16 cut off": ("a.csv", "text,label\na,x\n".encode("utf-16")[:-1], "the file is not utf-16: truncated data"),
    "an encoding of long ago": (
        "a.csv",
        "text,label\nwarum nicht,x\n".encode("cp500"),
        "not UTF-8, and what it is instead is not certain",
    ),
    "many lines in another encoding": (
        "a.csv",
        csv(*[b"caf\xe9,x"] * 5),
        r"not certain: .*\n  fix: set source.encoding \(is it cp1252\?\)",
    ),
    "a web page": ("a.json", b"\n<!DOCTYPE html><html>", "taken for JSON, but it is a web page"),
    "an object instead of an array": (
        "a.json",
        b'{"rows": [{"text": "a", "label": "x"}]}',
        "taken for JSON, but it is JSON Lines, or one object",
    ),
    "lines of objects called JSON": (
        "a.json",
        JSONL * 2,
        "taken for JSON, but it is JSON Lines.*\n  fix: set source.format: jsonl",
    ),
    "an array cut off": (
        "a.json",
        b'[{"text": "a", "label": "x"}, {"tex',
        "the file is not valid JSON: Unterminated string .* line 1 column 32",
    ),
    "an array with a comma too many": ("a.json", b'[{"text": "a", "label": "x"},]', "the file is not valid JSON"),
    "not a number in an array": (
        "a.json",
        b'[{"text": "a", "label": NaN}]',
        "the file is not valid JSON: NaN is not JSON",
    ),
    "an array nested too deeply": ("a.json", b"[" * 200_000, "the file is nested too deeply"),
    "a number called JSON": ("a.json", b"12", "the file is a number in JSON, not an array of objects"),
    "objects without the columns": (
        "a.jsonl",
        b'{"txt": "a", "label": "x"}',
        r"no column 'text'; columns found: 'txt', 'label'\n",
    ),
    "lists as labels": (
        "a.parquet",
        table("parquet", text=["a"], label=[["x"]]),
        r"column 'label' is of type list<.*>, not text",
    ),
    "bytes as text": ("a.arrow", table("arrow", text=[b"a"], label=["x"]), "column 'text' is of type binary, not text"),
    "Parquet cut off": (
        "a.parquet",
        table("parquet", text=["a"], label=["x"])[:-20],
        "taken for Parquet, but it is cut off in the middle",
    ),
    "Parquet without its midst": (
        "a.parquet",
        b"PAR1" + table("parquet", text=["a"], label=["x"])[-100:],
        "the Parquet file is damaged",
    ),
    "Arrow cut off": (
        "a.feather",
        table("arrow", text=["a"], label=["x"])[:-20],
        "taken for Arrow, but it is cut off in the middle",
    ),
    "a stream cut off": (
        "a.arrows",
        table("stream", text=["a"], label=["x"])[:-8],
        "the Arrow stream is cut off: it has no end",
    ),
    "text called Arrow": ("a.arrow", csv(b"a,x"), "taken for Arrow, but it is text that begins with 'text,label"),
    "gzip cut off": ("a.csv.gz", gzip.compress(csv(GOOD))[:-9], "compressed by gzip, and cut off or damaged"),
    "zstd cut off": ("a.csv.zst", zstd(csv(GOOD))[:-9], "compressed by zstd, and cut off or damaged"),
    "gzip with a wrong checksum": (
        "a.csv.gz",
        gzip.compress(csv(GOOD))[:-8] + bytes(8),
        "compressed by gzip, and cut off or damaged",
    ),
    "compressed twice": (
        "a.csv.gz",
        gzip.compress(zstd(csv(b"a,x"))),
        "taken for CSV, but it is compressed by zstd a second time",
    ),
    "a bomb": (
        "a.csv.gz",
        gzip.compress(csv(b"a,x" + b" " * 4_000_000)),
        "[0-9,]+ bytes of the file unpack to more than 1,000,000; a file may",
    ),
    "a bomb of zstd": ("a.jsonl.zst", zstd(b" " * 4_000_000), "bytes of the file unpack to more than"),
    "a bomb of rows": (
        "a.parquet",
        table("parquet", text=pa.nulls(500_000, pa.string()), label=pa.nulls(500_000)),
        "bytes of the file unpack to more than",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(read_files: Read, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "FREE_BYTES", 1_000_000)
    monkeypatch.setattr(compressed, "CHUNK_BYTES", 100_000)
    name, data, message = REFUSED[case]
    # A step that fails for one file among good ones says which.
    files = {name: data} if "there are no rows" in message else {name: data, "good.csv": csv(GOOD)}
    with pytest.raises(DataError, match=rf"(?s)^{name}: .*{message}") as refused:
        read_files(files, encoding="auto")
    assert "\n  fix: " in str(refused.value)
    assert len(str(refused.value)) < 1500


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.xlsx", "the ending '.xlsx' does not tell the format"),
        ("../../etc/passwd", "the ending '' does not tell the format"),
        ("a.csv.exe", "the ending '.exe' does not tell the format"),
        (".gz", "the ending '' does not tell the format"),
    ],
)
def test_names_that_tell_nothing(read_files: Read, name: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_files({name: csv(b"a,x")}, encoding="auto")


def test_a_label_studio_export_without_its_format(read_files: Read) -> None:
    task = {"id": 1, "data": {"text": "a"}, "annotations": [{"result": [{"value": {"choices": ["x"]}}]}]}
    data = json.dumps([task, task | {"annotations": []}]).encode()
    with pytest.raises(DataError, match=r"a\.json: .*Label Studio's export\n  fix: set source.format: label_studio"):
        read_files({"a.json": data})
    raw = read_files({"a.json": data}, format="label_studio")
    assert raw.pairs == {("a", "x")}
    assert [row["reason"] for row in raw.rejected] == ["not_annotated"]
    balanced(raw)


@settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noise=st.binary(max_size=12) | st.text(st.sampled_from('",\n\r\té{}[]\\:'), max_size=12).map(str.encode),
    at=st.integers(0, 10_000),
    name=st.sampled_from(["a.csv", "a.tsv", "a.json", "a.jsonl", "a.parquet", "a.arrow", "a.csv.gz"]),
)
def test_whatever_the_bytes_the_account_balances_or_the_file_is_named(
    read_files: Read, noise: bytes, at: int, name: str
) -> None:
    whole = {
        "a.csv": csv(GOOD),
        "a.tsv": csv(GOOD).replace(b",", b"\t"),
        "a.json": b"[" + JSONL + b", " + JSONL + b"]",
        "a.jsonl": JSONL * 20,
        "a.parquet": table("parquet", text=["a", "b"], label=["x", "y"]),
        "a.arrow": table("arrow", text=["a", "b"], label=["x", "y"]),
        "a.csv.gz": gzip.compress(csv(GOOD), mtime=0),
    }[name]
    at %= len(whole)
    told = ""
    try:
        balanced(read_files({name: whole[:at] + noise + whole[at + len(noise) // 2 :]}, encoding="auto"))
    except FreshtuneError as error:
        told = str(error)
    assert told == "" or told.startswith(f"{name}: ")
