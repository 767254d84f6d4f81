from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.validated.engine import gxe, judge_rows
from assets.validated.frame import Rows, columns_seen
from assets.validated.suite import DAMAGE, MOJIBAKE, SIMPLER, STRIPPED, build_suites
from assets.validated.sure import surely_meets

ODD = st.text(st.sampled_from("aÂÃâð©€™ŸÂ\u00a0\ufffd\x00\x07\t\x7f\x85\u2003 ı"), max_size=6)
TEXTS = st.one_of(st.none(), ODD, st.text(max_size=6), st.sampled_from(["cafÃ©", "itâ€™s", "x" * 9]))
LABELS = st.sampled_from(["ham", "spam", "eggs", "", None])
SUITE = build_suites(labels=["ham", "spam"], text_length={"min": 1, "max": 8}, expectations=[]).rows


def rows(texts: list[str | None], labels: list[str | None]) -> Rows:
    table = pa.table({"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.string())})
    return Rows(np.zeros((len(texts), 2), np.uint64), table, columns_seen([]))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.tuples(TEXTS, LABELS), min_size=1, max_size=8))
def test_great_expectations_agrees_with_what_is_sure(records: list[tuple[str | None, str | None]]) -> None:
    some = rows(*map(list, zip(*records, strict=True)))
    for expectation, verdict in zip(SUITE, judge_rows(some.frame(some.names), SUITE), strict=True):
        sure = surely_meets(some, expectation)
        assert sure is not None
        assert not sure[verdict.failed].any()
        assert not sure[verdict.passed_over].any()


def test_nothing_is_left_to_ask_about_usual_rows() -> None:
    some = rows(["a text", "été", "naïve – “so”"], ["ham", "spam", "ham"])
    masks = [surely_meets(some, expectation) for expectation in SUITE if expectation.column != STRIPPED]
    assert all(mask is not None and mask.all() for mask in masks)


@pytest.mark.parametrize("regex", SIMPLER)
@settings(deadline=None, derandomize=True, max_examples=300)
@given(text=ODD)
def test_the_simpler_expression_finds_something_wherever_the_other_does(regex: str, text: str) -> None:
    simpler = pc.match_substring_regex(pa.array([text]), SIMPLER[regex])[0].as_py()
    assert simpler or not re.search(regex, text)
    assert regex != DAMAGE or simpler == bool(re.search(regex, text))


@pytest.mark.parametrize(
    "expectation",
    [
        gxe.ExpectColumnValuesToNotMatchRegex(column="text", regex="x"),
        gxe.ExpectColumnValuesToMatchRegex(column="text", regex=MOJIBAKE),
        gxe.ExpectColumnValueLengthsToBeBetween(column="text", min_value=1, max_value=3, strict_min=True),
        gxe.ExpectColumnValuesToNotBeNull(column="no such column"),
        gxe.ExpectColumnValuesToNotBeNull(column="text", mostly=0.5),
    ],
)
def test_of_others_nothing_is_known(expectation: Any) -> None:
    assert surely_meets(rows(["a"], ["ham"]), expectation) is None
