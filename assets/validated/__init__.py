"""What a row must be like to be trained on.

A Great Expectations suite – built in, and extended in the YAML by Great Expectations' own names – is held against every
row. A row that fails goes to quarantine with the expectation's name and what was seen. An expectation about the whole
table that fails stops the chain. People rule on rows in `rulings.jsonl` (see `assets.validated.rulings`).
"""

from __future__ import annotations

from assets.store.step import Check, Step
from assets.validated.checks import judge_account, judge_quarantine, judge_table_expectations, judge_warnings
from assets.validated.language import accepted_values, libraries
from assets.validated.rulings import observe

STEP = Step(
    name="validated",
    description="Rows that meet every expectation; the others are in quarantine, each with the expectation that it "
    "fails and what was seen. What people ruled about rows stands above expectations.",
    function="assets.validated.validate:validate",
    preflight="assets.validated.preflight:check",
    inputs=("raw",),
    configuration=(
        "task.labels",
        "validation.text_length",
        "validation.expectations",
        "validation.language",
        "source.columns",
    ),
    beside=observe,
    environment=("great-expectations:minor", "pandas:major", "pyarrow:major"),
    libraries=lambda config: libraries(accepted_values(config.validation.language)),
    checks=(
        Check(
            name="every_row_is_accounted_for",
            description="Every row that came in is accepted, in quarantine, or equal to another one once a ruling "
            "gave it its label.",
            judge=judge_account,
            blocking=True,
        ),
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
