from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.errors import DataError
from assets.raw.parse import Fault, Row, as_texts, escape, parse_delimited, parse_jsonl, parse_parquet

WANTED = ("text", "label")


def csv(text: str, *, wanted: tuple[str, ...] = WANTED, **options: Any) -> list[Row | Fault]:
    defaults: dict[str, Any] = {"delimiter": ",", "quoted": True, "names": None, "damaged": False}
    return list(parse_delimited("f.csv", text, wanted, **{**defaults, **options}))


def jsonl(text: str, *, wanted: tuple[str, ...] = WANTED, damaged: bool = False) -> list[Row | Fault]:
    return list(parse_jsonl("f.jsonl", text, wanted, damaged=damaged))


def parquet(table: pa.Table, *, wanted: tuple[str, ...] = WANTED) -> list[Row | Fault]:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=2)
    return list(parse_parquet("f.parquet", sink.getvalue(), wanted))


def test_csv_columns_go_by_name_in_any_order() -> None:
    assert csv("label,other,text\nx,1,a\n", wanted=("text", "label", "other")) == [Row(2, ("a", "x", "1"))]


def test_csv_line_is_where_the_record_starts() -> None:
    text = 'text,label\r\n"a\r\nb",x\r\n\r\n"say ""c"", d",y\r\n'
    assert csv(text) == [Row(2, ("a\r\nb", "x")), Row(5, ('say "c", d', "y"))]


def test_csv_without_a_line_end_at_the_end_and_with_blank_lines_before_the_header() -> None:
    assert csv("\n\ntext,label\na,x") == [Row(4, ("a", "x"))]


def test_csv_keeps_empty_fields_and_white_space() -> None:
    assert csv("text,label\n a ,\n") == [Row(2, (" a ", ""))]


def test_names_stand_for_a_header_line() -> None:
    assert csv("x\ta\n", delimiter="\t", quoted=False, names=["label", "text"]) == [Row(1, ("a", "x"))]


def test_quotes_are_plain_characters_where_nothing_is_quoted() -> None:
    text = 'text\tlabel\n"a\tx\nb"c"\ty\n'
    assert csv(text, delimiter="\t", quoted=False) == [Row(2, ('"a', "x")), Row(3, ('b"c"', "y"))]


def test_ragged_rows() -> None:
    assert csv("text,label\na\na,b,c\nd,e\n") == [
        Fault(2, "a", "ragged_row", "1 fields instead of 2"),
        Fault(3, "a,b,c", "ragged_row", "3 fields instead of 2"),
        Row(4, ("d", "e")),
    ]


def test_every_line_that_an_unclosed_quote_swallows_is_a_fault() -> None:
    why = "quotes are not closed or not escaped"
    assert csv('text,label\na,x\n"b,x\nc,x\n') == [
        Row(2, ("a", "x")),
        Fault(3, '"b,x', "unreadable", why),
        Fault(4, "c,x", "unreadable", why),
    ]
    assert csv('text,label\n"a"b,x\nc,y\n') == [Fault(2, '"a"b,x', "unreadable", why), Row(3, ("c", "y"))]


def test_an_endless_field_is_a_fault_and_reading_goes_on() -> None:
    items = csv(f"text,label\n{'a' * 140_000},x\nb,y\n")
    assert items[1:] == [Row(3, ("b", "y"))]
    assert isinstance(items[0], Fault)
    assert items[0].reason == "unreadable"
    assert "a field is longer than 131,072 characters" in items[0].detail


def test_bytes_that_are_not_in_the_encoding_are_shown_escaped() -> None:
    text = b"text,label,other\ncaf\xe9,x,1\na,x,\xff\nb\xff\n".decode("utf-8", "surrogateescape")
    assert csv(text, damaged=True) == [
        Fault(2, "caf\\xe9,x,1", "encoding", "column 'text': \\xe9 at character 4 is not in the encoding"),
        Row(3, ("a", "x")),  # the damage is in a column that nobody asked for
        Fault(4, "b\\xff", "ragged_row", "1 fields instead of 3"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "txt,label\na,b\n",
            r"f\.csv: no column 'text'; columns found: 'txt', 'label'\n  fix: .*'txt'\?.*source.names",
        ),
        (
            "text;label\na;b\n",
            r"no column 'text', 'label'; columns found: 'text;label'\n  fix: .*divided by ';'",
        ),
        ("text\tlabel\na\tb\n", r"no column .*\n  fix: the header is divided by '\\t': set source.format .* tsv"),
        (
            "text,label,text\na,b,c\n",
            r"more than one column is called 'text'; columns: 'text', 'label', 'text'\n",
        ),
        ('"text,label\na,b\n', r"the header line cannot be read: .*\n  fix: correct its quotes"),
        (",".join(f"c{i}" for i in range(30)) + "\n", r"'c19' and 10 more"),
    ],
)
def test_a_header_that_lacks_what_is_wanted(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        csv(text)


def test_a_repeated_column_that_nobody_asked_for_is_harmless() -> None:
    assert csv("label,text,,\nx,a,,\n") == [Row(2, ("a", "x"))]


def test_jsonl_values_become_text() -> None:
    lines = [
        {"text": "a", "label": 1},
        {"text": 2.0, "label": True},
        {"text": 0.5, "label": None},
        {"label": "only"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    assert jsonl(text) == [Row(1, ("a", "1")), Row(2, ("2", "true")), Row(3, ("0.5", None)), Row(4, (None, "only"))]


def test_jsonl_lines_end_with_newlines_only() -> None:
    assert jsonl('{"text": "a\u2028b\x85c", "label": "x"}\r\n\n  \n{"text": "b", "label": "y"}') == [
        Row(1, ("a\u2028b\x85c", "x")),
        Row(4, ("b", "y")),
    ]


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ('{"text": "a"', "invalid_json", "not valid JSON"),
        ('{"text": NaN, "label": "x"}', "invalid_json", "not valid JSON"),
        ("[" * 100_000, "invalid_json", "not valid JSON"),
        ("[1]", "invalid_json", "a list, not an object"),
        ("null", "invalid_json", "null, not an object"),
        ("3", "invalid_json", "a number, not an object"),
        ('{"text": ["a"], "label": "x"}', "unreadable", "column 'text' holds a list, not a text"),
        ('{"text": "a", "label": {"b": 1}}', "unreadable", "column 'label' holds an object, not a text"),
    ],
)
def test_jsonl_faults(line: str, reason: str, detail: str) -> None:
    good = '{"text": "a", "label": "x"}\n'
    assert jsonl(good + line) == [Row(1, ("a", "x")), Fault(2, line, reason, detail)]


def test_half_a_surrogate_pair_is_no_text() -> None:
    line = '{"text": "a\\ud800", "label": "x"}'
    detail = "column 'text': \\ud800 at character 2 is not in the encoding"
    assert jsonl(line) == [Fault(1, line, "encoding", detail)]
    assert jsonl('{"text": "\\ud83d\\ude00", "label": "x"}') == [Row(1, ("\U0001f600", "x"))]


def test_a_column_that_no_object_has_is_missing() -> None:
    with pytest.raises(DataError, match=r"no column 'label'; columns found: 'text', 'lable'\n  fix: .*'lable'"):
        jsonl('{"text": "a", "lable": "x"}\n')


def test_parquet_values_become_text_and_lines_are_row_numbers() -> None:
    table = pa.table(
        {
            "other": [None, None, None],
            "label": pa.array([1.0, None, 0.5]),
            "text": pa.array(["a", None, "b"]).dictionary_encode(),
            "flag": [True, False, None],
            "day": pa.array([0, 1, None], type=pa.timestamp("ns")),
        }
    )
    assert parquet(table, wanted=("text", "label", "flag", "day")) == [
        Row(1, ("a", "1", "true", "1970-01-01 00:00:00.000000000")),
        Row(2, (None, None, "false", "1970-01-01 00:00:00.000000001")),
        Row(3, ("b", "0.5", None, None)),
    ]


def test_parquet_bytes_that_are_not_utf8() -> None:
    binary = pa.array([b"ok", b"caf\xe9", None], type=pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, binary.buffers())
    assert parquet(pa.table({"text": text, "label": ["x", "y", "z"]})) == [
        Row(1, ("ok", "x")),
        Fault(
            2,
            '{"text": "caf\\xe9", "label": "y"}',
            "encoding",
            "column 'text': \\xe9 at character 4 is not in the encoding",
        ),
        Row(3, (None, "z")),
    ]


def test_parquet_that_lacks_what_is_wanted() -> None:
    with pytest.raises(DataError, match=r"f\.parquet: no column 'label'; columns found: 'text'"):
        parquet(pa.table({"text": ["a"]}))
    with pytest.raises(DataError, match=r"column 'label' is of type list<.*>, not text\n  fix: write"):
        parquet(pa.table({"text": ["a"], "label": [["x"]]}))
    with pytest.raises(DataError, match=r"column 'text' is of type binary, not text"):
        parquet(pa.table({"text": [b"a"], "label": ["x"]}))
    with pytest.raises(DataError, match=r"f\.parquet: the Parquet file is damaged: .*\n  fix: fetch"):
        list(parse_parquet("f.parquet", b"PAR1" + b"\1" * 50 + b"PAR1", WANTED))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (True, "true"), (False, "false"), (1.0, "1"), (-0.25, "-0.25"), (float("inf"), "inf"), (None, None)],
)
def test_one_form_of_numbers(value: Any, text: str | None) -> None:
    assert as_texts([value, "x"], WANTED, False) == ((text, "x"), None)


def test_escape_tells_bytes_from_surrogates() -> None:
    assert escape("a\udcc3\udca9\ud800é") == "a\\xc3\\xa9\\ud800é"
