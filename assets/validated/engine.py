"""All that runs Great Expectations. Only the step's functions load this."""

from __future__ import annotations

import json
import warnings
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from assets.errors import ConfigurationError

with warnings.catch_warnings():
    # great_expectations/datasource/fluent/data_connector/file_path_data_connector.py imports both.
    warnings.filterwarnings("ignore", "module 'sre_(constants|parse)' is deprecated", DeprecationWarning)
    import great_expectations as gx

from great_expectations import expectations as gxe  # noqa: TID253
from great_expectations.compatibility.pydantic import ValidationError  # noqa: TID253
from great_expectations.constants import MAX_RESULT_RECORDS  # noqa: TID253
from great_expectations.exceptions import MetricResolutionError  # noqa: TID253
from great_expectations.execution_engine import PandasExecutionEngine  # noqa: TID253
from great_expectations.expectations import expectation as kinds  # noqa: TID253
from great_expectations.expectations import registry  # noqa: TID253
from great_expectations.validator.metric_configuration import MetricConfiguration  # noqa: TID253
from great_expectations.validator.metrics_calculator import MetricsCalculator  # noqa: TID253
from great_expectations.validator.validator import Validator  # noqa: TID253

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import pandas as pd

__all__ = [
    "MAX_RESULT_RECORDS",
    "UnfitError",
    "ValidationError",
    "Verdict",
    "declared",
    "evaluate",
    "gx",
    "gxe",
    "is_about_rows",
    "judge_rows",
    "judges_alone",
    "key_of",
    "known_expectations",
]

RESULT_FORMAT = {"result_format": "COMPLETE", "return_unexpected_index_query": False}

_ONE_AT_A_TIME = Lock()
"""Great Expectations and pandas change filters of warnings for all threads."""

BATCH = "freshtune-rows"
"""What Great Expectations calls the table that it is given."""

ALONE = frozenset(
    {
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_column_pair_values_to_be_equal",
        "expect_column_pair_values_to_be_in_set",
        "expect_column_value_lengths_to_be_between",
        "expect_column_value_lengths_to_equal",
        "expect_column_values_to_be_dateutil_parseable",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_be_null",
        "expect_column_values_to_match_json_schema",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_match_regex_list",
        "expect_column_values_to_match_strftime_format",
        "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_not_be_null",
        "expect_column_values_to_not_match_regex",
        "expect_column_values_to_not_match_regex_list",
        "expect_multicolumn_sum_to_equal",
        "expect_multicolumn_values_to_be_equal",
        "expect_select_column_values_to_be_unique_within_record",
    }
)
"""Expectations that need nothing but the row itself; others about rows (unique, increasing, outliers) compare rows."""


def known_expectations() -> dict[str, Any]:
    """Every expectation class by its snake-case name."""
    return {
        name: registry.get_expectation_impl(name)
        for name in sorted(registry.list_registered_expectation_implementations())
        if name.startswith("expect_")
    }


def is_about_rows(expectation: Any) -> bool:
    """Whether an expectation has a verdict for each row; one with `mostly` below 1 tolerates single rows, so not."""
    by_row = (kinds.ColumnMapExpectation, kinds.ColumnPairMapExpectation, kinds.MulticolumnMapExpectation)
    return isinstance(expectation, by_row) and expectation.mostly == 1


def judges_alone(expectation: Any) -> bool:
    """Whether an expectation about rows has the same verdict for a row whatever the other rows are."""
    # A condition is any expression of pandas, so it may speak of the whole table.
    return expectation.configuration.type in ALONE and not expectation.row_condition


def key_of(expectation: Any) -> tuple[str, str]:
    """What expectations are sorted by: type and arguments, so that how they were configured does not matter."""
    return _key(expectation.configuration)


def declared(expectation: Any) -> dict[str, Any]:
    """An expectation's `type` and `kwargs` as JSON, without what its verdict on a row does not depend on."""
    described: dict[str, Any] = expectation.configuration.to_json_dict()
    return {name: described[name] for name in ("type", "kwargs")}


class UnfitError(ConfigurationError):
    """Expectations cannot be held against the rows.

    Attributes:
        faults: expectation → what it raised.
    """

    def __init__(self, faults: Mapping[str, str], fix: str = "choose expectations and arguments that fit") -> None:
        self.faults = dict(faults)
        told = [f"{expectation}: {message}" for expectation, message in sorted(self.faults.items())]
        super().__init__(
            "\n  ".join(["expectations that cannot be held against the rows", *told]),
            where="validation.expectations",
            fix=fix,
        )


class Verdict(NamedTuple):
    """What an expectation says of each row.

    Attributes:
        failed: places of the rows that fail it, ascending.
        passed_over: places of the rows that it does not judge, since they have no value.
    """

    failed: npt.NDArray[np.intp]
    passed_over: npt.NDArray[np.intp]


def judge_rows(frame: pd.DataFrame, expectations: Sequence[Any]) -> list[Verdict]:
    """Hold expectations about rows against a table.

    It computes their conditions alone: complete results, as `evaluate` has them, cost several times as much.

    Args:
        frame: its index counts the rows.
        expectations: of Great Expectations.

    Raises:
        UnfitError: names every expectation that cannot be held against these columns.
    """
    engine = _engine(frame)
    calculator = MetricsCalculator(engine)
    verdicts: list[Verdict] = []
    faults: dict[str, str] = {}
    for expectation in expectations:
        config = expectation.configuration
        condition = f"{expectation.map_metric}.condition"
        given = registry.get_metric_kwargs(condition, configuration=config)
        metric = MetricConfiguration(condition, given["metric_domain_kwargs"], given["metric_value_kwargs"])
        try:
            with _ONE_AT_A_TIME:
                found, _ = calculator.compute_metrics([metric], runtime_configuration={"catch_exceptions": False})
        except MetricResolutionError as error:
            faults[_named(config)] = _last_line(str(error))
            continue
        fails = found[metric.id][0]
        judged = fails.index.to_numpy()
        passed_over = np.ones(len(frame), dtype=bool)
        passed_over[judged] = False
        verdicts.append(Verdict(judged[fails.to_numpy(bool)], np.flatnonzero(passed_over)))
    if faults:
        raise UnfitError(faults)
    return verdicts


def evaluate(frame: pd.DataFrame, expectations: list[Any]) -> list[Any]:
    """Hold expectations against a table.

    Args:
        frame: any columns; its index counts the rows.
        expectations: of Great Expectations.

    Returns:
        Its complete results, in the order of `key_of`; failing rows are named by their place in the table.

    Raises:
        UnfitError: names every expectation that cannot be held against these columns.
    """
    # Not by way of a context, a data source and a batch: these digest every value of the table, twice.
    validator = Validator(_engine(frame))
    validator.metrics_calculator.show_progress_bars = False
    configurations = [expectation.configuration for expectation in expectations]
    for configuration in configurations:
        configuration.kwargs["batch_id"] = BATCH
    results: list[Any] = validator.graph_validate(configurations, {"result_format": RESULT_FORMAT})
    faults = {}
    for result in results:
        info = result.exception_info or {}
        raised = [info] if "raised_exception" in info else list(info.values())
        messages = sorted({str(entry["exception_message"]) for entry in raised if entry["raised_exception"]})
        if messages:
            faults[_named(result.expectation_config)] = _last_line(messages[0])
    if faults:
        # An expectation that raised says nothing about the data: its arguments do not fit them.
        raise UnfitError(faults)
    return sorted(results, key=lambda result: _key(result.expectation_config))


def _engine(frame: pd.DataFrame) -> PandasExecutionEngine:
    return PandasExecutionEngine(batch_data_dict={BATCH: frame})


def _arguments(config: Any) -> dict[str, Any]:
    return {name: value for name, value in config.kwargs.items() if name != "batch_id"}


def _key(config: Any) -> tuple[str, str]:
    return config.type, str(_arguments(config))


def _named(config: Any) -> str:
    return f"{config.type} {json.dumps(_arguments(config), default=str)}"


def _last_line(message: str) -> str:
    return message.strip().splitlines()[-1]
