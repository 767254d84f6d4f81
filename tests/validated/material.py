"""Tables for Great Expectations, and one expectation for each way of judging a row by itself."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from assets.validated.engine import evaluate, gxe, key_of, known_expectations
from assets.validated.results import in_samples

A, BOTH, LIST = {"column": "a"}, {"column_A": "a", "column_B": "b"}, {"column_list": ["a", "b"]}
BY_THEMSELVES: list[tuple[str, dict[str, Any]]] = [
    ("expect_column_pair_values_a_to_be_greater_than_b", {**BOTH, "ignore_row_if": "either_value_is_missing"}),
    ("expect_column_pair_values_to_be_equal", BOTH),
    ("expect_column_pair_values_to_be_equal", {**BOTH, "ignore_row_if": "neither"}),
    ("expect_column_pair_values_to_be_in_set", {**BOTH, "value_pairs_set": [["1", "1"]]}),
    ("expect_column_value_lengths_to_be_between", {**A, "min_value": 1, "max_value": 1}),
    ("expect_column_value_lengths_to_equal", {**A, "value": 1}),
    ("expect_column_values_to_be_dateutil_parseable", A),
    ("expect_column_values_to_be_in_set", {**A, "value_set": ["1"]}),
    ("expect_column_values_to_be_json_parseable", A),
    ("expect_column_values_to_be_null", A),
    ("expect_column_values_to_match_json_schema", {"column": "json", "json_schema": {"type": "integer"}}),
    ("expect_column_values_to_match_regex", {**A, "regex": "1"}),
    ("expect_column_values_to_match_regex_list", {**A, "regex_list": ["1", "x"], "match_on": "all"}),
    ("expect_column_values_to_match_strftime_format", {**A, "strftime_format": "%d"}),
    ("expect_column_values_to_not_be_in_set", {**A, "value_set": ["1"]}),
    ("expect_column_values_to_not_be_null", A),
    ("expect_column_values_to_not_match_regex", {**A, "regex": "1"}),
    ("expect_column_values_to_not_match_regex_list", {**A, "regex_list": ["1", "x"]}),
    ("expect_multicolumn_sum_to_equal", {**LIST, "sum_total": 11}),
    ("expect_multicolumn_values_to_be_equal", LIST),
    ("expect_multicolumn_values_to_be_equal", {**LIST, "ignore_row_if": "never"}),
    ("expect_select_column_values_to_be_unique_within_record", {**LIST, "ignore_row_if": "any_value_is_missing"}),
]
VALUES = st.sampled_from(["1", "x", "1x", "2020-01-01", "", None])
RECORDS = st.lists(st.tuples(VALUES, VALUES, st.sampled_from(["1", "{}", None])), max_size=12)


def frame(**columns: list[Any]) -> Any:
    import pandas as pd

    rows = len(next(iter(columns.values())))
    return pd.DataFrame({"row_id": [f"id{row}" for row in range(rows)], **columns}, dtype=object)


def made_of(records: list[tuple[str | None, ...]]) -> Any:
    columns = zip(*records, strict=True) if records else [()] * 3
    return frame(**{name: list(column) for name, column in zip(("a", "b", "json"), columns, strict=True)})


def by_themselves() -> list[Any]:
    """The expectations that judge each row by itself, in their order."""
    known = known_expectations()
    return sorted((known[name](**kwargs) for name, kwargs in BY_THEMSELVES), key=key_of)


def bad(rows: int) -> Any:
    texts: list[Any] = [f"bad <img src='https://x/y.png'><script>alert({number})</script>" for number in range(rows)]
    return frame(text=[*texts, "good"])


def results() -> list[Any]:
    return evaluate(
        bad(30),
        [gxe.ExpectColumnValuesToBeInSet(column="text", value_set=["good"]), gxe.ExpectTableRowCountToEqual(value=31)],
    )


def sampled(table: Any, expectations: list[Any]) -> list[Any]:
    return [in_samples(result, table) for result in evaluate(table, expectations)]
