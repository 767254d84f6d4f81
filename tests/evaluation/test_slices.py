"""Which rows are in which slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import DataError
from assets.evaluation.score import _slice
from assets.evaluation.slices import MOST_PERIODS, MOST_VALUES, Slice, names_of_rows, slices_of

LABELS = ("ham", "spam")
LIMITS = st.lists(st.integers(1, 40), min_size=1, max_size=4, unique=True).map(sorted)
VALUES = st.none() | st.sampled_from(["", "de", "en", "(others)", "(none)"]) | st.text(max_size=3)
TIMES = st.none() | st.just("") | st.datetimes().map(lambda time: f"{time.isoformat()}+02:00")
ROWS = st.lists(st.tuples(st.text(max_size=50), st.sampled_from(LABELS), VALUES, TIMES), min_size=1, max_size=40)
DECLARED = st.one_of(
    st.just({"by": "column", "column": "language"}),
    st.just({"by": "column", "column": "language", "values": ["de", "fr", "(others)"]}),
    st.builds(lambda limits: {"by": "text_length", "limits": limits}, LIMITS),
    st.just({"by": "label"}),
    st.builds(
        lambda every: {"by": "time", "column": "when", "every": every},
        st.sampled_from(["day", "month", "quarter", "year"]),
    ),
)


def table(rows: list[tuple[str, str, str | None, str | None]]) -> pa.Table:
    texts, labels, languages, times = zip(*rows, strict=True)
    return pa.table(
        {
            "row_id": pa.array([f"{at:032x}" for at in range(len(rows))]),
            "text": pa.array(texts, pa.string()),
            "label": pa.array(labels, pa.string()),
            "language": pa.array(languages, pa.string()),
            "when": pa.array(times, pa.string()),
        }
    )


@given(ROWS, DECLARED)
@settings(deadline=None)
def test_every_row_is_in_exactly_one_slice(
    rows: list[tuple[str, str, str | None, str | None]], declared: dict[str, Any]
) -> None:
    found = slices_of(table(rows), [declared], {}, LABELS)

    assert (np.sum([each.rows for each in found], axis=0) == 1).all()
    assert all(each.rows.any() for each in found)
    assert len({each.name for each in found}) == len(found)
    names = names_of_rows(found, len(rows))
    assert all(len(each) == 1 for each in names)
    assert {each.name: int(each.rows.sum()) for each in found} == {
        name: names.count([name]) for name in {each[0] for each in names}
    }


def sizes(rows: list[Any], declared: dict[str, Any]) -> dict[str, int]:
    return {each.name: int(each.rows.sum()) for each in slices_of(table(rows), [declared], {}, LABELS)}


def test_the_most_frequent_values_and_the_rest() -> None:
    values = [f"v{at:02}" for at in range(MOST_VALUES + 5) for _ in range(MOST_VALUES + 6 - at)]
    rows = [("text", "ham", value, None) for value in [*values, None]]

    found = sizes(rows, {"by": "column", "column": "language"})

    assert next(iter(found)) == "language=v00"
    assert len(found) == MOST_VALUES + 2
    assert found["language (none)"] == 1
    assert found["language (others)"] == 6 + 5 + 4 + 3 + 2


def test_text_length_is_in_characters() -> None:
    rows = [(text, "ham", None, None) for text in ("äöü", "abcd", "a" * 9, "a" * 10)]

    assert sizes(rows, {"by": "text_length", "limits": [4, 10]}) == {
        "text length below 4": 1,
        "text length 4–9": 2,
        "text length from 10": 1,
    }


def test_times_are_of_utc_and_old_ones_are_one() -> None:
    rows = [("text", "ham", None, time) for time in ("2024-01-01T00:30:00+02:00", "2024-04-01T00:00:00Z", " ")]
    declared = {"by": "time", "column": "when", "every": "quarter"}
    assert sizes(rows, declared) == {"when 2023-Q4": 1, "when 2024-Q2": 1, "when (none)": 1}

    many = [("text", "ham", None, f"{2000 + at}-06-01T00:00:00Z") for at in range(MOST_PERIODS + 3)]
    found = sizes(many, {**declared, "every": "year"})
    assert len(found) == MOST_PERIODS + 1
    assert found["when before 2003"] == 3


def test_what_is_no_time_is_said_with_its_row() -> None:
    rows: list[Any] = [("text", "ham", None, "2024-01-01T00:00:00Z"), ("text", "ham", None, "yesterday")]

    with pytest.raises(DataError) as caught:
        slices_of(table(rows), [{"by": "time", "column": "when", "every": "day"}], {}, LABELS)

    assert f"'yesterday' in column when of row {1:032x} is no time in ISO 8601" in str(caught.value)


def test_a_row_may_lie_in_several_files() -> None:
    rows: list[Any] = [("text", "ham", None, None)] * 3
    files = {"web/*": [True, True, False], "*.csv": [True, False, False], "none": [False] * 3}

    found = slices_of(table(rows), [{"by": "source"}], files, LABELS)

    assert names_of_rows(found, 3) == [["source web/*", "source *.csv"], ["source web/*"], ["source (others)"]]


def test_the_interval_of_a_slice_is_around_its_own_macro_average() -> None:
    generator = np.random.default_rng(0)
    true = generator.integers(0, 2, 300)
    predicted = np.where(generator.random(300) < 0.85, true, generator.integers(0, 4, 300))

    found = _slice(Slice("some", "label", np.ones(300, bool)), true, predicted, ("a", "b", "c", "d"))

    for name, value in found["metrics"].items():
        low, high = found["intervals"][name]
        assert low < value < high
        assert high - low < 0.15
    assert found["small"] is False


def test_a_slice_of_one_label_without_errors_has_an_interval() -> None:
    rows = np.zeros(40, np.intp)

    found = _slice(Slice("some", "label", np.arange(40) < 20), rows, rows, LABELS)

    assert (found["rows"], found["small"], found["metrics"]["f1_macro"]) == (20, True, 1.0)
    assert 0.8 < found["intervals"]["f1_macro"][0] < 1
