from __future__ import annotations

from typing import Any

import pytest

from assets.errors import DataError
from assets.raw.parse import Fault, assemble, canonical, escape, positions
from tests.raw.parsed import items


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"), (True, "true"), (False, "false"), (1.0, "1"), (-0.0, "0"), (-0.25, "-0.25"), (float("inf"), "inf"),
        (None, None), ("", ""), ([], None), ({}, None),
    ],
)  # fmt: skip
def test_one_form_of_values(value: Any, text: str | None) -> None:
    assert canonical(value) == text


def test_what_is_no_text_is_a_fault_and_comes_before_what_is_damaged() -> None:
    columns: list[list[Any]] = [["a", "\ud800", "\udce9", None, "b"], ["x", [1], "\udcff", 1, True]]
    parsed = assemble(["t", "l"], columns, [2, 3, 4, 5, 9], [Fault(7, "?", "r", "d")], "line {}".format, damaged=True)
    assert parsed.rows.column_names == ["t", "l"]
    assert items(parsed) == [
        (2, ("a", "x")),
        Fault(3, "line 1", "unreadable", "column 'l' holds a list, not a text"),
        Fault(4, "line 2", "encoding", "column 't': \\xe9 at character 1 is not in the encoding"),
        (5, (None, "1")),
        Fault(7, "?", "r", "d"),
        (9, ("b", "true")),
    ]


def test_no_rows_have_columns_of_text() -> None:
    parsed = assemble(["t", "l"], [(), ()], [], [], str, damaged=False)
    assert (parsed.rows.num_rows, str(parsed.rows.schema.types), parsed.lines.dtype.str) == (
        0,
        "[DataType(string), DataType(string)]",
        "<i8",
    )


def test_escape_tells_bytes_from_surrogates() -> None:
    assert escape("a\udcc3\udca9\ud800é") == "a\\xc3\\xa9\\ud800é"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (["txt", "label"], r"f: no column 'text'; columns found: 'txt', 'label'\n  fix: .*'txt'\?\) or else$"),
        (["text\tlabel"], r"no column .*\n  fix: the header is divided by '\\t': set source.format: tsv"),
        (
            ["a", "text|label"],
            r"no column 'text', 'label'; columns found: 'a', 'text\|label'\n  fix: set source.columns",
        ),
        (["text", "label", "text"], r"more than one column is called 'text'; columns: 'text', 'label', 'text'\n"),
        ([f"c{i}" for i in range(1_000_000)], r"'c19' and 999,980 more\n"),
        (["text\u202e\x1b[31m"], r"columns found: 'text\\u202e\\x1b\[31m'\n"),
    ],
    ids=["near", "tabs", "bars", "twice", "very many", "control characters"],
)
def test_a_header_that_lacks_what_is_wanted(found: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        positions("f", found, ["text", "label"], or_else=" or else")


def test_a_column_to_keep_that_a_file_lacks_is_named_with_its_setting() -> None:
    with pytest.raises(DataError, match=r"no column 'user'; .*\n  fix: set source.columns \(text, label, keep\) to"):
        positions("f", ["text", "label"], ["text", "label", "user"])


def test_a_repeated_column_that_nobody_asked_for_is_harmless() -> None:
    assert positions("f", ["label", "text", "", ""], ["text", "label"]) == [1, 0]
