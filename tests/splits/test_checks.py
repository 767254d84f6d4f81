from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, chi2_contingency

from assets.config.sides import Splits
from assets.splits import STEP
from assets.splits.checks import chi_square_tail, classes_balanced_across_sides, no_leak, shares_as_declared
from assets.splits.sides import SIDES
from assets.store.step import Measurements

BY_TIME = {"column": "when", "validation_from": "2026-03-01", "test_from": "2026-04-01"}


class Config:
    def __init__(self, **splits: Any) -> None:
        self.splits = Splits.model_validate(splits)


def measured(rows: dict[str, dict[str, int]], effective: float | None = None) -> Measurements:
    """What the step measures of rows by side and label."""
    counts = {side: sum(labels.values()) for side, labels in rows.items()}
    whole = sum(counts.values())
    return {
        "rows": counts,
        "shares": {side: count / whole for side, count in counts.items()},
        "labels": rows,
        "effective_rows": whole if effective is None else effective,
    }


def of_sizes(train: int, validation: int, test: int, effective: float | None = None) -> Measurements:
    sizes = zip(SIDES, (train, validation, test), strict=True)
    return measured({side: {"ham": size, "spam": 0} for side, size in sizes}, effective)


def test_only_a_leak_blocks() -> None:
    assert {check.name: check.blocking for check in STEP.checks} == {
        "no_leak_between_sides": True,
        "shares_as_declared": False,
        "classes_balanced_across_sides": False,
    }


def test_rows_on_no_side_are_told() -> None:
    found = {"groups_across_sides": 0, "texts_across_sides": 0}
    assert no_leak(found, Config()).message == "0 groups and 0 texts are on more than one side"
    outcome = no_leak({**found, "left_out": 1234}, Config(frozen={"files": ["a"]}))
    assert outcome.passed
    assert outcome.message == (
        "0 groups and 0 texts are on more than one side; 1,234 rows are on none, as they are in one group with a row "
        "of the frozen test set"
    )
    assert outcome.values == {**found, "left_out": 1234}


def test_shares_as_they_are_declared() -> None:
    outcome = shares_as_declared(of_sizes(7100, 900, 2000), Config())
    assert outcome.passed
    assert outcome.message == (
        "train 71.0% (70.0% declared), validation 9.0% (10.0% declared), test 20.0% (20.0% declared) of 10,000 rows"
    )
    assert outcome.values["sides"]["validation"] == {
        "rows": 900,
        "share": 0.09,
        "declared": 0.1,
        "may deviate by": 0.02,
    }


def test_shares_that_miss_what_is_declared() -> None:
    rows = of_sizes(7500, 1000, 1500)
    outcome = shares_as_declared(rows, Config())
    assert (outcome.passed, outcome.warning) == (False, True)
    assert outcome.message.endswith(
        "of 10,000 rows: it misses train by +5.0 points where 2.0 may be; test by -5.0 points where 2.0 may be; a "
        "group goes where its lowest member goes, towards train"
    )
    # Rows in large groups are on the sides by chance.
    assert shares_as_declared({**rows, "effective_rows": 100.0}, Config()).passed
    assert shares_as_declared(rows, Config(test=0.15)).passed


def test_where_no_share_is_declared() -> None:
    outcome = shares_as_declared(of_sizes(10, 10, 80), Config(by_time=BY_TIME))
    assert outcome.passed
    assert outcome.message == (
        "train 10.0%, validation 10.0%, test 80.0% of 100 rows; sides are by time, so no share is declared"
    )


def test_shares_beside_a_test_set_that_came_with_the_data() -> None:
    frozen = Config(frozen={"files": ["a"]}, validation=0.25)
    outcome = shares_as_declared(of_sizes(7500, 2500, 90_000), frozen)
    assert outcome.passed
    assert outcome.message.startswith("train 75.0% (75.0% declared), validation 25.0% (25.0% declared), test 90.0%;")
    assert not shares_as_declared(of_sizes(9000, 1000, 90_000), frozen).passed


@pytest.mark.parametrize("rows", [100, 3000])
def test_chance_alone_rarely_warns(rows: int) -> None:
    random = np.random.default_rng(0)
    warned = np.zeros(2)
    for _ in range(2000):
        side = random.choice(3, rows, p=[0.7, 0.1, 0.2])
        label = random.random(rows) < 0.2
        found = measured(
            {
                name: {"ham": int(((side == at) & ~label).sum()), "spam": int(((side == at) & label).sum())}
                for at, name in enumerate(SIDES)
            }
        )
        warned += [not judge(found, Config()).passed for judge in (shares_as_declared, classes_balanced_across_sides)]
    # One in 300 and one in 1,000 are due, of few rows somewhat more.
    assert warned[0] <= 2000 / 150
    assert warned[1] <= 2000 / 300


def test_classes_that_are_unlike() -> None:
    rows = {
        "train": {"ham": 6000, "spam": 1000},
        "validation": {"ham": 860, "spam": 140},
        "test": {"ham": 1500, "spam": 500},
    }
    outcome = classes_balanced_across_sides(measured(rows), Config())
    expected = chi2_contingency([list(labels.values()) for labels in rows.values()])
    assert outcome.values["probability"] == pytest.approx(expected.pvalue)
    assert outcome.values["cramers_v"] == pytest.approx((expected.statistic / 10_000) ** 0.5)
    assert (outcome.passed, outcome.warning) == (False, True)
    assert outcome.message.startswith(
        "spam is 25.0% of test and 16.4% of all rows, where the sides differ most; Cramér's V is 0.116, "
    )
    assert outcome.message.endswith("less than 0.001 with a V of 0.05 or more says that the sides are unlike")
    assert outcome.values["by_label"]["spam"] == {
        "train": "1,000 (14.3%)",
        "validation": "140 (14.0%)",
        "test": "500 (25.0%)",
        "all": "1,640 (16.4%)",
    }
    # A hundred rows in each group: as if it were a hundred rows.
    assert classes_balanced_across_sides(measured(rows, effective=100.0), Config()).passed


def test_a_difference_that_is_sure_but_small() -> None:
    rows = {
        "train": {"ham": 600_000, "spam": 100_000},
        "validation": {"ham": 86_000, "spam": 14_000},
        "test": {"ham": 170_000, "spam": 30_000},
    }
    outcome = classes_balanced_across_sides(measured(rows), Config())
    assert outcome.values["probability"] < 1e-6
    assert outcome.passed


def test_a_label_that_does_not_occur() -> None:
    rows = {side: {"ham": 50, "spam": 50, "none": 0} for side in SIDES}
    outcome = classes_balanced_across_sides(measured(rows), Config())
    assert outcome.passed
    assert outcome.values["probability"] == 1.0


@pytest.mark.parametrize("degrees", [2, 4, 20, 400])
@pytest.mark.parametrize("statistic", [0.0, 0.5, 12.0, 380.0, 1e6])
def test_the_tail_is_that_of_chi_square(statistic: float, degrees: int) -> None:
    assert chi_square_tail(statistic, degrees) == pytest.approx(float(chi2.sf(statistic, degrees)), abs=1e-12)
