from __future__ import annotations

import socket
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.validated.data_docs import render_data_docs
from assets.validated.engine import (
    ALONE,
    evaluate,
    gxe,
    is_about_rows,
    judge_rows,
    judges_alone,
    known_expectations,
)
from assets.validated.results import failing_places
from tests.validated.material import BY_THEMSELVES, RECORDS, by_themselves, made_of, results, sampled

COMPARING = {
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_be_decreasing",
    "expect_column_values_to_be_increasing",
    "expect_column_values_to_be_unique",
    "expect_column_values_to_not_be_outliers",
    "expect_compound_columns_to_be_unique",
}
UNFIT_FOR_TEXT = {
    "expect_column_values_to_be_between",
    "expect_column_values_to_be_in_type_list",
    "expect_column_values_to_be_of_type",
    "expect_column_values_to_match_like_pattern",
    "expect_column_values_to_match_like_pattern_list",
    "expect_column_values_to_not_match_like_pattern",
    "expect_column_values_to_not_match_like_pattern_list",
}


def test_results_name_every_failing_row() -> None:
    first, second = results()
    assert (first.expectation_config.type, first.success) == ("expect_column_values_to_be_in_set", False)
    assert (second.expectation_config.type, second.success) == ("expect_table_row_count_to_equal", True)
    assert failing_places(first) == list(range(30))
    assert failing_places(second) == []


def test_no_network_is_tried_and_no_bar_is_drawn(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"network: {arguments}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    render_data_docs(results())
    assert "posthog" not in sys.modules
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_an_empty_table_can_be_judged() -> None:
    import pandas as pd

    empty = pd.DataFrame({"row_id": [], "text": []}, dtype=object)
    rows, count = sampled(
        empty, [gxe.ExpectColumnValuesToNotBeNull(column="text"), gxe.ExpectTableRowCountToBeBetween(min_value=1)]
    )
    assert (rows.success, count.success) == (True, False)
    assert "Data" in render_data_docs([rows, count])


def test_known_expectations_have_their_own_names() -> None:
    known = known_expectations()
    assert known["expect_column_values_to_be_in_set"] is gxe.ExpectColumnValuesToBeInSet
    assert len(known) > 40


def test_every_expectation_of_great_expectations_is_known_to_judge_rows_by_themselves_or_to_compare_them() -> None:
    assert {name for name, _ in BY_THEMSELVES} == ALONE
    about_rows = {name for name, kind in known_expectations().items() if is_about_rows(kind.construct(mostly=1))}
    assert about_rows == ALONE | COMPARING | UNFIT_FOR_TEXT


def test_a_condition_may_compare_rows() -> None:
    with pytest.warns(DeprecationWarning, match="row_condition|condition_parser"):
        conditional = gxe.ExpectColumnValuesToNotBeNull(
            column="a", row_condition="a == a.max()", condition_parser="pandas"
        )
    assert judges_alone(gxe.ExpectColumnValuesToNotBeNull(column="a"))
    assert not judges_alone(conditional)
    assert not judges_alone(gxe.ExpectColumnValuesToBeUnique(column="a"))


@settings(deadline=None, derandomize=True, max_examples=8)
@given(records=RECORDS, cut=st.integers(0, 12))
def test_a_verdict_is_that_of_great_expectations_and_does_not_depend_on_other_rows(
    records: list[tuple[str | None, ...]], cut: int
) -> None:
    expectations, table = by_themselves(), made_of(records)
    whole = judge_rows(table, expectations)
    head, tail = (judge_rows(made_of(part), expectations) for part in (records[:cut], records[cut:]))
    evaluated = evaluate(table, expectations)
    for verdict, first, second, result in zip(whole, head, tail, evaluated, strict=True):
        start = min(cut, len(records))
        for together, one, other in zip(verdict, first, second, strict=True):
            assert together.tolist() == [*one, *(start + other)]
        assert verdict.failed.tolist() == failing_places(result)
        assert len(verdict.passed_over) == result.result.get("missing_count", 0)
