"""What a row must be like to be trained on.

A Great Expectations suite – built in, and extended in the YAML by Great Expectations' own names – is held against every
row. A row that fails goes to quarantine with the expectation's name and what was seen. An expectation about the whole
table that fails stops the chain.
"""

from __future__ import annotations

from assets.store.step import Check, Step
from assets.validated.checks import judge_quarantine, judge_table_expectations, judge_warnings

STEP = Step(
    name="validated",
    description="Rows that meet every expectation; the others are in quarantine, each with the expectation that it "
    "fails and what was seen.",
    function="assets.validated.validate:validate",
    preflight="assets.validated.preflight:check",
    inputs=("raw",),
    configuration=("task.labels", "validation.text_length", "validation.expectations", "source.columns"),
    environment=("great-expectations:minor", "pandas:major", "pyarrow:major"),
    checks=(
        Check(
            name="quarantine_within_limit",
            description="The share of rows in quarantine is at most validation.max_quarantined.",
            judge=judge_quarantine,
            blocking=True,
        ),
        Check(
            name="table_expectations_hold",
            description="Every critical expectation about the table as a whole holds.",
            judge=judge_table_expectations,
            blocking=True,
        ),
        Check(
            name="expectations_with_severity_warning_hold",
            description="Every expectation of severity warning holds.",
            judge=judge_warnings,
        ),
    ),
    kinds=("greatexpectations", "parquet"),
)
