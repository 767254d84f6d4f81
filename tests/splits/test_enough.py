from __future__ import annotations

from math import comb
from typing import Any

import pytest

from assets.errors import DataError
from assets.splits.enough import Settings, require_enough, texts_needed

SETTINGS = Settings(validation=0.1, test=0.2, min_rows_per_label=2, group_by=None, by_time=None, frozen=None)
BY_TIME = {"column": "when", "validation_from": "2026-03-01", "test_from": "2026-04-01"}
FROZEN = {"files": ["test.csv"], "column": None, "value": None}
FINE = {"train": 70, "validation": 10, "test": 20}


def fix(rare: tuple[int, int, int], **changed: Any) -> str:
    counts = {"ham": FINE, "rare": dict(zip(("train", "validation", "test"), rare, strict=True))}
    with pytest.raises(DataError) as caught:
        require_enough(counts, SETTINGS._replace(**changed))
    return caught.value.fix


def test_enough_is_enough() -> None:
    require_enough({"ham": FINE, "spam": {"train": 2, "validation": 2, "test": 2}}, SETTINGS)


@pytest.mark.parametrize(
    ("shares", "least"), [((0.7, 0.1, 0.2), 1), ((0.7, 0.1, 0.2), 2), ((0.4, 0.3, 0.3), 5), ((0.9, 0.1), 3)]
)
def test_as_many_texts_as_are_needed(shares: tuple[float, ...], least: int) -> None:
    def risk(texts: int) -> float:
        return sum(
            comb(texts, few) * share**few * (1 - share) ** (texts - few) for share in shares for few in range(least)
        )

    needed = texts_needed(shares, least)
    assert risk(needed) <= 0.05 < risk(needed - 1)


def test_a_label_with_few_texts_is_told_how_many_it_needs() -> None:
    assert fix((5, 1, 0)) == (
        "add rows of rare until each has about 46 texts that are no near-duplicates (by the shares, so many have 2 on "
        "each side with 95% certainty), or change the shares `splits.validation` (now 0.1) and `splits.test` (now 0.2)"
    )


@pytest.mark.parametrize(
    ("rare", "changed", "expected"),
    [
        ((60, 1, 20), {}, "add rows of rare, or lower `splits.min_rows_per_label` (now 2) to 1, or change the shares"),
        ((60, 0, 20), {"group_by": "user"}, "leave out `splits.group_by` (now user), whose values may hold most rows"),
        ((60, 0, 20), {"by_time": BY_TIME}, "add rows of rare of the times that lack them, or move `splits.by_time.va"),
        (
            (60, 9, 0),
            {"frozen": FROZEN},
            "add rows of rare to the frozen test set, which alone is the test side, or ch",
        ),
        ((20, 1, 20), {"frozen": FROZEN}, "add rows of rare until each has about 46 texts"),
        ((60, 1, 20), {"frozen": FROZEN}, "or change the share `splits.validation` (now 0.1)"),
    ],
)
def test_what_to_do(rare: tuple[int, int, int], changed: dict[str, Any], expected: str) -> None:
    assert expected in fix(rare, **changed)
