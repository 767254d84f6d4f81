from __future__ import annotations

from typing import Any

import pytest

from assets.config.pipeline import ClassificationTask, Pipeline, PretrainedModel, Source, Validation
from assets.validated import STEP


def config(max_quarantined: float) -> Pipeline:
    return Pipeline(
        task=ClassificationTask(labels=("a", "b")),
        source=Source(files=("a.csv",)),
        base_model=PretrainedModel(name="owner/name"),
        validation=Validation(max_quarantined=max_quarantined),
    )


def measurements(**changes: Any) -> dict[str, Any]:
    return {
        "rows_in": 200,
        "accepted": 180,
        "quarantined": 20,
        "merged": 0,
        "quarantined_by_expectation": {"readable": 5, "expect_column_values_to_be_in_set": 15},
        "table_expectations": [],
        "warning_expectations": 0,
        "warnings": [],
        **changes,
    }


def result(severity: str, success: bool) -> dict[str, Any]:
    return {
        "type": "expect_table_row_count_to_be_between",
        "column": None,
        "severity": severity,
        "success": success,
        "observed": 3,
    }


CHECKS = {check.name: check for check in STEP.checks}


def test_which_checks_block() -> None:
    assert {name: check.blocking for name, check in CHECKS.items()} == {
        "every_row_is_accounted_for": True,
        "quarantine_within_limit": True,
        "table_expectations_hold": True,
        "expectations_with_severity_warning_hold": False,
    }


@pytest.mark.parametrize(("limit", "passed"), [(0.1, True), (0.0999, False), (0.0, False), (1.0, True)])
def test_the_limit_is_the_configured_one(limit: float, passed: bool) -> None:
    outcome = CHECKS["quarantine_within_limit"].judge(measurements(), config(limit))
    assert outcome.passed is passed
    assert outcome.message.startswith(f"20 of 200 rows (10.00%) are in quarantine, at most {limit:.2%} may be – ")
    assert outcome.message.endswith("expect_column_values_to_be_in_set 15, readable 5")
    assert outcome.values["share"] == 0.1


def test_an_empty_quarantine_passes_any_limit() -> None:
    clean = measurements(quarantined=0, quarantined_by_expectation={})
    outcome = CHECKS["quarantine_within_limit"].judge(clean, config(0.0))
    assert outcome.passed
    assert outcome.message == "0 of 200 rows (0.00%) are in quarantine, at most 0.00% may be"


@pytest.mark.parametrize(
    ("results", "passed"),
    [
        ([], True),
        ([result("critical", True)], True),
        ([result("critical", True), result("critical", False)], False),
        ([result("warning", False)], True),
    ],
)
def test_critical_expectations_about_the_table(results: list[dict[str, Any]], passed: bool) -> None:
    outcome = CHECKS["table_expectations_hold"].judge(measurements(table_expectations=results), config(1.0))
    assert outcome.passed is passed
    if not passed:
        told = "1 of 2 expectations about the whole table do not hold: expect_table_row_count_to_be_between saw 3"
        assert outcome.message == told


def test_warnings_only_warn() -> None:
    judge = CHECKS["expectations_with_severity_warning_hold"].judge
    failed = {**result("warning", False), "column": "text"}
    outcome = judge(measurements(warning_expectations=2, warnings=[failed]), config(1.0))
    assert (outcome.passed, outcome.warning) == (False, True)
    assert (
        "1 of 2 expectations of severity warning do not hold: expect_table_row_count_to_be_between(text)"
        in outcome.message
    )
    outcome = judge(measurements(), config(1.0))
    assert (outcome.passed, outcome.warning) == (True, False)
    assert outcome.message == "there is no expectation of severity warning"
    assert (
        judge(measurements(warning_expectations=2), config(1.0)).message
        == "all 2 expectations of severity warning hold"
    )


def test_rows_that_a_ruling_drops_do_not_count_against_the_limit() -> None:
    dropped = measurements(quarantined=60, quarantined_by_expectation={"readable": 20, "dropped_by_ruling": 40})
    outcome = CHECKS["quarantine_within_limit"].judge(dropped, config(0.1))
    assert outcome.passed
    assert outcome.message == (
        "20 of 200 rows (10.00%) are in quarantine, at most 10.00% may be – readable 20; "
        "40 more were dropped by a ruling"
    )


@pytest.mark.parametrize(("accepted", "merged", "passed"), [(180, 0, True), (178, 2, True), (179, 0, False)])
def test_a_row_that_is_lost_is_seen(accepted: int, merged: int, passed: bool) -> None:
    found = CHECKS["every_row_is_accounted_for"].judge(measurements(accepted=accepted, merged=merged), config(1.0))
    assert found.passed is passed
    assert found.message == f"200 rows came in; {accepted} accepted + 20 in quarantine + {merged} merged"
