"""The section `predictions`."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from assets.chain import chain_of
from tests.config.test_pipeline import make


def declared(**source: Any) -> Any:
    return make(predictions={"source": {"files": ["inbox/*.csv"], **source}})


def test_the_step_is_there_where_it_is_asked_for() -> None:
    assert chain_of(declared())[-1].name == "predictions"
    assert chain_of(make())[-1].name == "release"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"files": []}, "at least 1 item"),
        ({"columns": {"text": "body", "keep": ["body"]}}, "the same column stands for two things: body"),
        ({"columns": {"keep": ["id", "scores"]}}, "freshtune uses scores itself"),
        ({"columns": {"keep": ["id", "id"]}}, "repeated: id"),
        ({"format": "label_studio"}, "Input should be 'auto'"),
        ({"names": ["id"]}, "names: text of columns is not among id"),
        ({"names": ["text"], "format": "jsonl"}, "a jsonl file names its columns itself"),
        ({"encoding": "utf-9"}, "'utf-9' is no encoding that Python knows"),
    ],
)
def test_contradictions_are_refused(source: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        declared(**source)
