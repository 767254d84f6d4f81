from __future__ import annotations

import inspect
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.errors import ConfigurationError
from assets.progress import Event
from assets.validated import STEP
from assets.validated.validate import validate
from tests.validated.conftest import Validate, expectation

NULL, LENGTH = "expect_column_values_to_not_be_null", "expect_column_value_lengths_to_be_between"
SET, REGEX = "expect_column_values_to_be_in_set", "expect_column_values_to_not_match_regex"


def test_each_built_in_expectation_sets_aside_what_fails_it(validate_rows: Validate) -> None:
    done = validate_rows(
        [
            ("fine", "ham"),
            ("  space around it      ", "spam"),
            (None, "ham"),
            ("   ", "ham"),
            ("x" * 90, "ham"),
            ("odd label", "eggs"),
            ("no label", None),
            ("empty label", ""),
            ("caf\ufffd", "ham"),
            ("it\x92s", "ham"),
            ("two\tlines\nare fine", "ham"),
        ]
    )
    assert {row["text"] for row in done.rows} == {"fine", "  space around it      ", "two\tlines\nare fine"}
    assert done.reasons == {
        None: (NULL, "text is null"),
        "   ": (LENGTH, 'text_stripped is "" (0 characters)'),
        "x" * 90: (LENGTH, f'text_stripped is "{"x" * 80}"… (90 characters)'),
        "odd label": (SET, 'label is "eggs"'),
        "no label": (NULL, "label is null"),
        "empty label": (SET, 'label is "" (0 characters)'),
        "caf\ufffd": (REGEX, 'text is "caf\ufffd"'),
        "it\x92s": (REGEX, 'text is "it\x92s"'),
    }
    assert [row["row_id"] for row in done.quarantine] == sorted(row["row_id"] for row in done.quarantine)
    told = done.measurements
    assert told == json.loads(json.dumps(told))
    assert told == {
        "rows_in": 11,
        "accepted": 3,
        "quarantined": 8,
        "quarantined_by_expectation": {LENGTH: 2, SET: 2, NULL: 2, REGEX: 2},
        "table_expectations": [],
        "warning_expectations": 0,
        "warnings": [],
        "labels": {"ham": 2, "spam": 1},
    }


def test_a_row_that_fails_several_names_all_and_counts_once(validate_rows: Validate) -> None:
    done = validate_rows([("", "eggs"), ("fine", "ham")])
    assert done.reasons == {"": (f"{LENGTH}, {SET}", 'text_stripped is "" (0 characters); label is "eggs"')}
    assert done.measurements["quarantined"] == 1
    assert done.measurements["quarantined_by_expectation"] == {LENGTH: 1, SET: 1}


def test_lines_that_were_no_rows_are_in_quarantine_too(validate_rows: Validate) -> None:
    done = validate_rows([("fine", "ham")], rejected=[("a,b,c", "ragged_row", "3 fields instead of 2")])
    (row,) = done.quarantine
    assert row == {
        "row_id": row["row_id"],
        "text": "a,b,c",
        "label": None,
        "expectation": "readable",
        "detail": "ragged_row: 3 fields instead of 2",
    }
    assert done.measurements["rows_in"] == 2
    assert done.measurements["quarantined_by_expectation"] == {"readable": 1}


@pytest.mark.parametrize("rejected", [[], [("line", "ragged_row", "1 fields instead of 2")]])
def test_all_rows_bad(validate_rows: Validate, rejected: list[tuple[str, str, str]]) -> None:
    count = expectation("expect_table_row_count_to_be_between", min_value=1)
    done = validate_rows([("a", "eggs"), ("b", None)] if not rejected else [], rejected=rejected, expectations=[count])
    assert done.rows == []
    assert done.measurements["accepted"] == 0
    assert done.measurements["quarantined"] == done.measurements["rows_in"] > 0
    assert done.measurements["table_expectations"][0]["success"] is False
    assert "Great Expectations" in done.page


def test_kept_columns_are_kept_and_can_be_judged(validate_rows: Validate) -> None:
    unique = expectation("expect_column_values_to_be_unique", column="from")
    rows = [("a", "ham", "1"), ("b", "ham", "2"), ("c", "ham", "2"), ("d", "ham", None)]
    done = validate_rows(rows, keep=("from",), expectations=[unique])
    assert {tuple(row.values())[1:] for row in done.rows} == {("a", "ham", "1"), ("d", "ham", None)}
    assert list(done.rows[0]) == ["row_id", "text", "label", "from"]
    assert done.reasons["b"] == ("expect_column_values_to_be_unique", 'from is "2"')


def test_a_pair_of_columns_is_told_with_both_values(validate_rows: Validate) -> None:
    differ = expectation(
        "expect_column_pair_values_to_be_in_set", column_A="text", column_B="label", value_pairs_set=[("a", "ham")]
    )
    done = validate_rows([("a", "ham"), ("b", "spam")], expectations=[differ])
    assert done.reasons == {"b": ("expect_column_pair_values_to_be_in_set", 'text is "b" and label is "spam"')}


def test_expectations_about_the_table_see_the_accepted_rows(validate_rows: Validate) -> None:
    done = validate_rows(
        [("a", "ham"), ("b", "spam"), ("c", "eggs")],
        expectations=[
            expectation("expect_column_distinct_values_to_equal_set", column="label", value_set=["ham", "spam"]),
            expectation("expect_table_row_count_to_be_between", min_value=3),
            expectation("expect_column_values_to_match_regex", column="text", regex="a", mostly=0.9),
        ],
    )
    assert [(told["type"], told["column"], told["success"]) for told in done.measurements["table_expectations"]] == [
        ("expect_column_distinct_values_to_equal_set", "label", True),
        ("expect_column_values_to_match_regex", "text", False),
        ("expect_table_row_count_to_be_between", None, False),
    ]
    assert [told["observed"] for told in done.measurements["table_expectations"]][1:] == ["1 of 2 rows fail", 2]
    assert set(done.reasons) == {"c"}  # `mostly` tolerates single rows


def test_warnings_are_recorded_only(validate_rows: Validate) -> None:
    done = validate_rows(
        [("a", "ham"), ("b", "spam")],
        expectations=[
            expectation("expect_column_values_to_match_regex", "warning", column="text", regex="a"),
            expectation("expect_table_row_count_to_equal", "warning", value=5),
            expectation("expect_table_row_count_to_equal", "warning", value=2),
        ],
    )
    assert done.quarantine == []
    assert done.measurements["warning_expectations"] == 3
    assert done.measurements["warnings"] == [
        {
            "type": "expect_column_values_to_match_regex",
            "column": "text",
            "severity": "warning",
            "success": False,
            "observed": "1 of 2 rows fail",
        },
        {
            "type": "expect_table_row_count_to_equal",
            "column": None,
            "severity": "warning",
            "success": False,
            "observed": 2,
        },
    ]


def test_expectations_that_cannot_be_held_against_the_rows(validate_rows: Validate) -> None:
    with pytest.raises(ConfigurationError) as caught:
        validate_rows(
            [("a", "ham", "x")],
            keep=("from",),
            expectations=[
                expectation("expect_column_values_to_be_unique", column="frm"),
                expectation("expect_column_values_to_match_regex", column="text", regex="("),
            ],
        )
    text = str(caught.value)
    assert 'expect_column_values_to_be_unique {"column": "frm"}' in text
    assert 'The column "frm" in BatchData does not exist' in text
    assert 'expect_column_values_to_match_regex {"column": "text", "regex": "("}: ' in text
    assert text.splitlines()[-1].startswith(
        "  fix: the columns are row_id, text, text_stripped, label, from, all of them text"
    )
    with pytest.raises(ConfigurationError, match="expect_column_mean_to_be_between"):
        validate_rows(
            [("a", "ham")], expectations=[expectation("expect_column_mean_to_be_between", column="text", min_value=1)]
        )


def test_the_name_that_validation_uses_itself_is_refused(validate_rows: Validate) -> None:
    with pytest.raises(ConfigurationError, match=r"source\.columns\.keep: 'text_stripped' is .*\n  fix: rename"):
        validate_rows([("a", "ham", "x")], keep=("text_stripped",))


def test_the_trace_has_data_docs_and_what_they_show(validate_rows: Validate) -> None:
    done = validate_rows([("a", "ham"), ("<b>", "eggs")])
    assert "<td" in done.page
    assert "eggs" in done.page
    trace = done.build.trace
    assert sorted(path.name for path in trace.iterdir()) == ["data_docs", "result.json", "suite.json"]
    suite, result = (json.loads((trace / name).read_bytes()) for name in ("suite.json", "result.json"))
    assert len(suite) == len(result) == 5
    assert {entry["type"] for entry in suite} == {NULL, LENGTH, SET, REGEX}


def test_the_order_of_expectations_does_not_change_the_content(validate_rows: Validate) -> None:
    extra = [
        expectation("expect_column_values_to_match_regex", column="text", regex="a"),
        expectation("expect_column_values_to_be_unique", column="label"),
    ]
    rows = [("a", "ham"), ("b", "ham"), ("c", "eggs")]
    contents = {validate_rows(rows, expectations=order).content for order in (extra, extra[::-1])}
    assert len(contents) == 1


@settings(deadline=None, derandomize=True, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.sets(
        st.tuples(
            st.none() | st.text(st.sampled_from("ab \ufffd\x00é"), max_size=25),
            st.sampled_from(["ham", "spam", "eggs", "", None]),
        ),
        max_size=12,
    ),
    lines=st.sets(st.sampled_from(["x", "y", "z"])),
)
def test_the_account_balances(
    validate_rows: Validate, rows: set[tuple[str | None, str | None]], lines: set[str]
) -> None:
    done = validate_rows(list(rows), rejected=[(line, "ragged_row", "") for line in lines])
    told = done.measurements
    assert told["rows_in"] == len(rows) + len(lines) == told["accepted"] + told["quarantined"]
    assert (told["accepted"], told["quarantined"]) == (len(done.rows), len(done.quarantine))
    assert not {row["row_id"] for row in done.rows} & {row["row_id"] for row in done.quarantine}
    good = {
        (text, label)
        for text, label in rows
        if text is not None
        and label in {"ham", "spam"}
        and 1 <= len(text.strip()) <= 20
        and not set(text) & {"\ufffd", "\0"}
    }
    assert {(row["text"], row["label"]) for row in done.rows} == good
    assert all(row["expectation"] and row["detail"] for row in done.quarantine)


def test_progress_is_told(validate_rows: Validate, events: list[Event]) -> None:
    validate_rows([("a", "ham"), ("b", "eggs")])
    assert [event["text"] for event in events if event["kind"] == "message"] == ["1 rows accepted, 1 in quarantine"]


def test_the_declaration_names_the_function_and_its_arguments() -> None:
    arguments = list(inspect.signature(validate).parameters)[1:]
    assert STEP.function == f"{validate.__module__}:{validate.__name__}"
    assert sorted(path.rsplit(".", 1)[-1] for path in STEP.configuration) == sorted(arguments)
