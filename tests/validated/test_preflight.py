"""What is found out about the expectations before anything runs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assets.errors import ConfigurationError
from assets.validated import STEP
from assets.validated.preflight import check
from assets.validated.validate import validate
from tests.validated.conftest import expectation

ROOT = Path(__file__).parents[2]
GIVEN: dict[str, Any] = {
    "labels": ["ham", "spam"],
    "text_length": {"min": 1, "max": 20},
    "language": None,
    "columns": {"text": "text", "label": "label", "keep": []},
}
CHECKED = """
import sys
from assets.validated.preflight import check
check(**{given!r}, expectations={expectations!r})
print("great_expectations" in sys.modules)
"""


def test_an_unknown_expectation_is_refused_and_what_is_right_is_not() -> None:
    right = expectation("expect_table_row_count_to_be_between", min_value=1)
    check(**GIVEN, expectations=[right])
    with pytest.raises(ConfigurationError, match=r"validation.expectations\[1\] expect_luck: no such expectation"):
        check(**GIVEN, expectations=[right, expectation("expect_luck")])


@pytest.mark.parametrize(
    ("expectations", "imported"), [([], "False"), ([expectation("expect_column_to_exist", column="text")], "True")]
)
def test_great_expectations_is_imported_only_where_something_is_expected(
    expectations: list[dict[str, Any]], imported: str
) -> None:
    code = CHECKED.format(given=GIVEN, expectations=expectations)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [imported]


def test_it_takes_the_arguments_of_the_step() -> None:
    assert STEP.preflight == f"{check.__module__}:{check.__name__}"
    _, *arguments = inspect.signature(validate).parameters
    assert list(inspect.signature(check).parameters) == arguments


def test_a_language_that_cannot_be_told_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"validation.language: 'qq' cannot be told"):
        check(**{**GIVEN, "language": ["en", "qq"]}, expectations=[])
