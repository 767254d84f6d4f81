"""Rows of the frozen test set stay as they are, whatever else has their text."""

from __future__ import annotations

import pytest

from assets.cleaned.conflicts import choose
from tests.cleaned.conftest import Clean


def test_of_equal_rows_one_of_the_test_set_stays(clean_rows: Clean) -> None:
    rows = [(1, "one text", "a"), (2, "one  text", "a"), (3, " one text", "a"), (4, "another", "b")]
    cleaned = clean_rows([rows[2:], rows[:2]], frozen=[3, 2])
    assert [row["row_id"] for row in cleaned.rows] == [2, 4]
    assert cleaned.merged == [{"row_id": 1, "kept": 2}, {"row_id": 3, "kept": 2}]
    assert cleaned.rows[0]["count"] == 3
    assert [row["row_id"] for row in clean_rows([rows]).rows] == [1, 4]


def test_a_row_of_the_test_set_decides_about_its_text(clean_rows: Clean) -> None:
    rows = [(1, "one text", "a"), (2, "one text", "b"), (3, "one text", "b"), (4, "another", "b")]
    cleaned = clean_rows([rows], frozen=[2])
    assert [row["row_id"] for row in cleaned.rows] == [2, 4]
    assert cleaned.merged == [{"row_id": 3, "kept": 2}]
    assert [(row["row_id"], row["detail"]) for row in cleaned.quarantine] == [
        (1, "the same text has the labels a: 1 row, b: 2 rows; b stays, as in the frozen test set")
    ]


def test_a_test_set_that_contradicts_itself(clean_rows: Clean) -> None:
    rows = [(1, "one text", "a"), (2, "one text", "b"), (3, "one text", "a"), (4, "another", "b")]
    assert [row["row_id"] for row in clean_rows([rows], frozen=[1, 2]).quarantine] == [1, 2, 3]
    # Rows that are not of the test set have no vote.
    rows += [(5, "one text", "b"), (6, "one text", "a"), (7, "one text", "a")]
    decided = clean_rows([rows], frozen=[1, 2, 5], conflicts="majority")
    assert [row["row_id"] for row in decided.rows] == [2, 4]


def test_what_is_frozen_is_content(clean_rows: Clean) -> None:
    rows = [(1, "one text", "a"), (2, "another", "b")]
    found = [clean_rows([rows], frozen=frozen).digest for frozen in (None, [], [1], [2])]
    assert len(set(found)) == 4


def test_a_row_that_a_ruling_gave_another_label_stays_in_the_test_set(clean_rows: Clean) -> None:
    rows = [(1, "one text", "a"), (2, "one text", "b"), (3, "one text", "b"), (4, "another", "b")]
    cleaned = clean_rows([rows], refused=[1], frozen=[1], relabelled={3: 1})
    # Of equal rows one of the test set stays.
    assert [row["row_id"] for row in cleaned.rows] == [3, 4]
    # As if the source said so.
    assert cleaned.digest != clean_rows([rows], refused=[1], frozen=[1]).digest


@pytest.mark.parametrize("frozen", [(), (False, False)])
def test_without_a_test_set_the_rule_decides(frozen: tuple[bool, ...]) -> None:
    assert choose("quarantine", ["a", "b"], [None, None], frozen) == (
        None,
        "the same text has the labels a: 1 row, b: 1 row",
    )
