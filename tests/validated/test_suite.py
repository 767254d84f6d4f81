from __future__ import annotations

from typing import Any

import pytest

from assets.errors import ConfigurationError
from assets.validated.suite import Suites, build_suites
from tests.validated.conftest import expectation


def build(*expectations: dict[str, Any]) -> Suites:
    return build_suites(labels=["a", "b"], text_length={"min": 2, "max": 9}, expectations=list(expectations))


def types(made: list[Any]) -> list[tuple[str, str | None]]:
    return [(item.configuration.type, item.configuration.kwargs.get("column")) for item in made]


BUILT_IN = [
    ("expect_column_values_to_not_be_null", "text"),
    ("expect_column_value_lengths_to_be_between", "text_stripped"),
    ("expect_column_values_to_not_match_regex", "text"),
    ("expect_column_values_to_not_be_null", "label"),
    ("expect_column_values_to_be_in_set", "label"),
    ("expect_column_values_to_not_match_regex", "text"),
]


def test_built_in_expectations_are_about_rows_and_but_for_one_critical() -> None:
    suites = build()
    assert types(suites.rows) == BUILT_IN
    assert suites.table == []
    assert [str(item.severity.value) for item in suites.rows] == ["critical"] * 5 + ["warning"]
    assert suites.rows[1].configuration.kwargs["min_value"] == 2
    assert suites.rows[1].configuration.kwargs["max_value"] == 9
    assert suites.rows[4].configuration.kwargs["value_set"] == ["a", "b"]


def test_expectations_are_sorted_by_what_they_are_about() -> None:
    suites = build(
        expectation("expect_column_values_to_match_regex", column="text", regex="x"),
        expectation("expect_column_values_to_match_regex", column="text", regex="x", mostly=0.9),
        expectation("expect_column_pair_values_to_be_equal", column_A="text", column_B="label"),
        expectation("expect_compound_columns_to_be_unique", column_list=["text", "label"]),
        expectation("expect_table_row_count_to_be_between", "warning", min_value=1),
        expectation("expect_column_unique_value_count_to_be_between", column="label", min_value=2),
    )
    assert [kind for kind, _ in types(suites.rows)[len(BUILT_IN) :]] == [
        "expect_column_values_to_match_regex",
        "expect_column_pair_values_to_be_equal",
        "expect_compound_columns_to_be_unique",
    ]
    assert [kind for kind, _ in types(suites.table)] == [
        "expect_column_values_to_match_regex",
        "expect_table_row_count_to_be_between",
        "expect_column_unique_value_count_to_be_between",
    ]
    assert suites.table[1].severity.value == "warning"


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(
            expectation("expect_column_values_to_be_in_sets", column="label", value_set=[]),
            expectation("expect_column_values_to_be_in_set", column="label", value_sett=["a"]),
            expectation("expect_column_values_to_be_in_set", column="label"),
            expectation("expect_column_value_lengths_to_be_between", column="text"),
            {**expectation("expect_column_values_to_be_unique"), "kwargs": {"severity": "warning", "column": "text"}},
            expectation("expect_nothing_like_it_zzz"),
            expectation("expect_column_values_to_be_unique", column="text"),
        )
    lines = str(caught.value).splitlines()
    assert lines[0] == "validation.expectations: wrong expectations"
    assert lines[1].startswith(
        "  validation.expectations[0] expect_column_values_to_be_in_sets: no such expectation; close ones: "
        "expect_column_values_to_be_in_set, "
    )
    assert lines[2].startswith(
        "  validation.expectations[1] expect_column_values_to_be_in_set: 'value_sett' is no argument of it; accepted: "
    )
    assert lines[2].endswith("column, condition_parser, description, meta, mostly, notes, row_condition, value_set")
    assert lines[3] == "  validation.expectations[2] expect_column_values_to_be_in_set: value_set: field required"
    assert lines[4].endswith("lengths_to_be_between: arguments: min_value and max_value cannot both be None")
    assert lines[5].startswith("  validation.expectations[4] expect_column_values_to_be_unique: 'severity' is no ")
    assert lines[6].startswith("  validation.expectations[5] expect_nothing_like_it_zzz: no such expectation; ")
    assert lines[7].startswith("  fix: ")
    assert len(lines) == 8
