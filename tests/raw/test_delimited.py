from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import DataError
from assets.raw import delimited
from assets.raw.delimited import at_once, delimiter_of, one_by_one, parse_delimited
from assets.raw.parse import Fault
from tests.raw.parsed import Item, items, text_of

WANTED = ("text", "label")


def parse(text: str, *, wanted: tuple[str, ...] = WANTED, **options: Any) -> list[Item]:
    defaults: dict[str, Any] = {"delimiter": ",", "quoted": True, "names": None}
    return items(parse_delimited("f.csv", text_of(text), wanted, **{**defaults, **options}))


def test_columns_go_by_name_in_any_order() -> None:
    assert parse("label,other,text\nx,1,a\n", wanted=("text", "label", "other")) == [(2, ("a", "x", "1"))]


def test_the_line_is_where_the_record_starts() -> None:
    text = 'text,label\r\n"a\r\nb",x\r\n\r\n"say ""c"", d",y\r\n'
    assert parse(text) == [(2, ("a\r\nb", "x")), (5, ('say "c", d', "y"))]


def test_a_file_without_a_line_end_at_the_end_and_with_blank_lines_before_the_header() -> None:
    assert parse("\n\ntext,label\na,x") == [(4, ("a", "x"))]


def test_empty_fields_and_white_space_are_kept() -> None:
    assert parse("text,label\n a ,\n") == [(2, (" a ", ""))]


def test_names_stand_for_a_header_line() -> None:
    assert parse("x\ta\n", delimiter="\t", quoted=False, names=["label", "text"]) == [(1, ("a", "x"))]


def test_quotes_are_plain_characters_where_nothing_is_quoted() -> None:
    text = 'text\tlabel\n"a\tx\nb"c"\ty\n'
    assert parse(text, delimiter="\t", quoted=False) == [(2, ('"a', "x")), (3, ('b"c"', "y"))]


def test_ragged_rows() -> None:
    assert parse("text,label\na\na,b,c\nd,e\n") == [
        Fault(2, "a", "ragged_row", "1 fields instead of 2"),
        Fault(3, "a,b,c", "ragged_row", "3 fields instead of 2"),
        (4, ("d", "e")),
    ]


def test_every_line_that_an_unclosed_quote_swallows_is_a_fault() -> None:
    why = "quotes are not closed or not escaped"
    assert parse('text,label\na,x\n"b,x\nc,x\n') == [
        (2, ("a", "x")),
        Fault(3, '"b,x', "unreadable", why),
        Fault(4, "c,x", "unreadable", why),
    ]
    assert parse('text,label\n"a"b,x\nc,y\n') == [Fault(2, '"a"b,x', "unreadable", why), (3, ("c", "y"))]


def test_an_endless_field_is_a_fault_and_reading_goes_on() -> None:
    # The limit is the process's, and others set it.
    csv.field_size_limit(1 << 30)
    found = parse(f"text,label\n{'a' * 140_000},x\nb,y\n")
    assert found[1:] == [(3, ("b", "y"))]
    assert isinstance(found[0], Fault)
    assert (found[0].reason, found[0].detail) == (
        "unreadable",
        "a field is longer than 131,072 characters; is a quote not closed?",
    )


def test_bytes_that_are_not_in_the_encoding_are_shown_escaped() -> None:
    text = b"text,label,other\ncaf\xe9,x,1\na,x,\xff\nb\xff\n".decode("utf-8", "surrogateescape")
    assert parse(text) == [
        Fault(2, "caf\\xe9,x,1", "encoding", "column 'text': \\xe9 at character 4 is not in the encoding"),
        (3, ("a", "x")),  # the damage is in a column that nobody asked for
        Fault(4, "b\\xff", "ragged_row", "1 fields instead of 3"),
    ]


def test_a_header_that_cannot_be_read() -> None:
    with pytest.raises(DataError, match=r"f\.csv: the header line cannot be read: .*\n  fix: correct its quotes"):
        parse('"text,label\na,b\n')
    with pytest.raises(
        DataError, match=r"f\.csv: no column 'text'.*\n.*; if the file has no header line, set source\.names$"
    ):
        parse("txt,label\na,b\n")


# What is found out about a file


def division(text: str, *, quoted: bool = True, names: list[str] | None = None) -> str:
    return delimiter_of("f.csv", text_of(text), WANTED, quoted=quoted, names=names)


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("names", [None, ["text", "label"]])
def test_the_delimiter_is_the_one_by_which_the_columns_are_there(delimiter: str, names: list[str] | None) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    rows = [("well, well; and | so", "a\tb"), ("no,no,no", "x"), ("one; two", "y"), ("plain", "y")]
    writer.writerows(rows if names else [("text", "label"), *rows])
    assert division(file.getvalue(), names=names) == delimiter


@pytest.mark.parametrize(
    ("text", "names", "delimiter"),
    [
        ("text,label,x;text;label\n", None, ","),  # as it always was
        ("a,x\nb;c,y\nd;e\nf\n", ["text", "label"], ","),
        ("a;b,x\nc;d\n", ["text", "label"], ","),
        ("a\n", ["text", "label"], ","),
        ("txt;label\n", None, ";"),  # the nearest, so that it can be told what is missing
        ("txt\tlbl\n", None, "\t"),
        ("some words\n", None, ","),
        ('"text;label\n', None, ","),
    ],
)
def test_the_comma_is_first(text: str, names: list[str] | None, delimiter: str) -> None:
    assert division(text, names=names) == delimiter


def test_a_tie_of_delimiters_is_refused() -> None:
    with pytest.raises(DataError, match=r"f\.csv: the fields may be divided by '\\t' or by ';'\n  fix: write the file"):
        division("a\tb;c\nd;e\tf\n", names=["text", "label"])


# The quick way gives what the exact one gives

FIELDS = st.text(st.sampled_from('ab,;"\n\r\té\u2028\U0001f600 '), max_size=6)
ROUGH = st.text(st.sampled_from('ab,,""\n\n\r\té\u2028\x0b\x1c\ufeff '), max_size=20)


@st.composite
def files(draw: st.DrawFn, width: int, delimiter: str) -> str:
    """A file as a program writes it, sometimes with something rough in its midst."""
    right = st.lists(FIELDS, min_size=width, max_size=width)
    rows = draw(st.lists(right | right | st.lists(FIELDS, max_size=4), min_size=1, max_size=8))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    file = io.StringIO(newline="")
    quoting: Any = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    text = file.getvalue() if draw(st.booleans()) else file.getvalue().removesuffix(end)
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.just("") | ROUGH) + text[at:]


@settings(deadline=None, derandomize=True, max_examples=500)
@given(data=st.data(), width=st.sampled_from([2, 3]), delimiter=st.sampled_from(",\t"), quoted=st.booleans())
def test_at_once_or_one_by_one_is_the_same(data: st.DataObject, width: int, delimiter: str, quoted: bool) -> None:
    skipped = data.draw(st.sampled_from([0, 0, 1, 2]))
    # Lines that are skipped are a header's, which was read.
    text = "h,g\n" * skipped + data.draw(files(width, delimiter) | ROUGH)
    columns = [width - 1, 0]
    fast = at_once(text.encode(), columns, width, skipped, delimiter, quoted)
    if fast is not None:
        exact = one_by_one(text_of(text), WANTED, columns, width, skipped, delimiter, quoted)
        assert items(fast) == items(exact)


@pytest.mark.parametrize("block", [64, 100, 1000])
def test_rows_that_straddle_what_arrow_reads_at_once(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block)
    monkeypatch.setattr(delimited, "STEP_BYTES", 7)
    text = "".join(f'"{"é" * (number % 9)}""\r\n{number}",{number}\r\n\r\n' for number in range(200))
    fast = at_once(text.encode(), [0, 1], 2, 0, ",", True)
    assert fast is not None
    assert items(fast) == items(one_by_one(text_of(text), WANTED, [0, 1], 2, 0, ",", True))
    assert fast.lines.tolist() == list(range(1, 600, 3))


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ('"a"b,c\n', True), ('a"b,c\n', True), ('"a,c\n', True), ('"a",c"\n', True), ('a,"b" \n', True),
        ("a,b\rc,d\n", True), ("a,b\r", True), (f"{'a' * 131_073},b\n", True), ("\n\n", True),
    ],
)  # fmt: skip
def test_what_is_suspicious_is_read_row_by_row(text: str, quoted: bool) -> None:
    assert at_once(text.encode(), [0, 1], 2, 0, ",", quoted) is None


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n",
        '"a","b"\r\n',
        '"a ""b""\n\n",c\n',
        "a,b\n\n\nc,d",
        "a\n \na,b\n",
        "a,b,c\n",
        '"",""\n',
        " a,NULL\n",
        '"a\r\nb",c\r\n',
        ",\n",
    ],
)
def test_what_is_clean_is_read_at_once(text: str) -> None:
    fast = at_once(text.encode(), [0, 1], 2, 0, ",", True)
    assert fast is not None
    assert items(fast) == items(one_by_one(text_of(text), WANTED, [0, 1], 2, 0, ",", True))
