"""What the section `evaluation` refuses, and that what is not said adds nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from assets.config.pipeline import Pipeline
from tests.config.test_pipeline import make

COSTS = {"spam": {"ham": 5.0}}


def sliced(*slices: dict[str, Any], keep: tuple[str, ...] = ()) -> Pipeline:
    source = {"files": ["a.csv"], "columns": {"keep": list(keep)}}
    return make(source=source, evaluation={"slices": list(slices)})


def test_nothing_is_looked_at_or_shown_that_was_not_asked_for() -> None:
    evaluation = make().evaluation

    assert (evaluation.slices, evaluation.threshold, evaluation.samples) == (None, None, 0)
    assert evaluation.source_files is None


def test_a_slice_has_only_what_was_said_of_it() -> None:
    config = sliced(
        {"by": "column", "column": "language"},
        {"by": "source", "files": ["web/*"]},
        {"by": "label"},
        keep=("language",),
    )

    assert config.model_dump(mode="json")["evaluation"]["slices"] == [
        {"by": "column", "column": "language"},
        {"by": "source", "files": ["web/*"]},
        {"by": "label"},
    ]
    assert config.evaluation.source_files == ("web/*",)
    assert Pipeline.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        ([{"by": "time"}], "a slice by time needs column and every; fix: add column and every"),
        ([{"by": "column"}], "a slice by column needs column; fix: add column"),
        ([{"by": "label", "limits": [3]}], "limits: a slice by label has nothing beside `by`; fix: leave it out"),
        (
            [{"by": "text_length", "limits": [3], "values": ["a"]}],
            "values: a slice by text_length has limits beside `by`; fix: leave it out",
        ),
        ([{"by": "text_length", "limits": [5, 5]}], "limits \\[5, 5\\] are not ascending; fix: write each once"),
        ([{"by": "source", "files": ["a", "a"]}], "files a, a has one of them twice; fix: name each once"),
        ([{"by": "label"}, {"by": "label"}], "slices: two by label; fix: make them one"),
        ([{"by": "column", "column": "day"}], r"evaluation.slices\[0\].column: day is not among source.columns.keep"),
        ([{"by": "length"}], "Input should be 'column', 'text_length', 'source', 'label' or 'time'"),
        ([], "at least 1 item"),
    ],
)
def test_slices_that_cannot_be_are_refused(slices: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        sliced(*slices)


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        ({"label": "junk"}, "evaluation.threshold: junk is not among task.labels: ham, spam; fix: name one that is"),
        ({"label": "spam", "goal": "precision"}, "goal precision needs recall; fix: add recall"),
        ({"label": "spam", "goal": "recall"}, "goal recall needs precision; fix: add precision"),
        ({"label": "spam", "goal": "cost"}, "goal cost needs costs; fix: add costs"),
        ({"label": "spam", "recall": 0.9}, "recall mean nothing with goal f1; fix: leave them out"),
        ({"label": "spam", "goal": "precision", "recall": 1.5}, "less than or equal to 1"),
        ({"label": "spam", "goal": "cost", "costs": {"ham": {"ham": 1.0}}}, "costs: ham → ham is no mistake"),
        ({"label": "spam", "goal": "cost", "costs": {"ham": {"spam": 0.0}}}, "costs: no mistake costs anything"),
        ({"label": "spam", "goal": "cost", "costs": {**COSTS, "ham": {"x": 1.0}}}, "x is not among task.labels"),
    ],
)
def test_thresholds_that_cannot_be_are_refused(threshold: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make(evaluation={"threshold": threshold})


def test_thresholds_that_are_taken() -> None:
    for threshold in (
        {"label": "spam"},
        {"label": "spam", "goal": "precision", "recall": 0.9},
        {"label": "spam", "goal": "recall", "precision": 0.9},
        {"label": "spam", "goal": "cost", "costs": COSTS},
    ):
        config = make(evaluation={"threshold": threshold})
        assert Pipeline.model_validate_json(config.model_dump_json()) == config
