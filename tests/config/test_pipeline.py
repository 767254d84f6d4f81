"""The schema of a pipeline: frozen, strict about what it does not know, documented, free of contradictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from assets.config import pipeline as schema
from assets.config.pipeline import Pipeline, Section

NEEDED: dict[str, Any] = {
    "task": {"labels": ["ham", "spam"]},
    "source": {"files": ["data/*.csv"]},
    "base_model": {"name": "tiny"},
}


def make(**sections: Any) -> Pipeline:
    return Pipeline.model_validate({**NEEDED, **sections})


def sections() -> Iterator[type[BaseModel]]:
    for value in vars(schema).values():
        if isinstance(value, type) and issubclass(value, Section) and value is not Section:
            yield value


def test_only_three_sections_are_needed() -> None:
    assert {name for name, field in Pipeline.model_fields.items() if field.is_required()} == set(NEEDED)
    assert make().model_dump(mode="json", exclude_defaults=True) == NEEDED


@pytest.mark.parametrize("section", list(sections()), ids=lambda section: section.__name__)
def test_every_section_is_frozen_strict_and_documented(section: type[BaseModel]) -> None:
    assert section.model_config["frozen"]
    assert section.model_config["extra"] == "forbid"
    assert section.__doc__
    for name, field in section.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_it_cannot_be_changed() -> None:
    pipeline = make()
    with pytest.raises(ValidationError, match="frozen"):
        pipeline.training.epochs = 4


def test_it_is_the_same_after_a_round_trip_through_json() -> None:
    pipeline = make(
        validation={"expectations": [{"type": "expect_x", "kwargs": {"column": "text", "value_set": ["a"]}}]}
    )
    assert Pipeline.model_validate_json(pipeline.model_dump_json()) == pipeline


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"unknown": 1}, "Extra inputs are not permitted"),
        ({"training": {"unknown": 1}}, "Extra inputs are not permitted"),
        ({"task": {"labels": ["a"]}}, "at least 2 items"),
        ({"task": {"labels": ["a", "b", "a"]}}, "repeated: a"),
        ({"source": {"files": []}}, "at least 1 item"),
        ({"source": {"files": ["x"], "names": ["a", "a"]}}, "repeated: a"),
        (
            {"source": {"files": ["x"], "columns": {"text": "a", "label": "a"}}},
            "the same column stands for two things: a, a",
        ),
        ({"source": {"files": ["x"], "columns": {"keep": ["row_id"]}}}, "freshtune uses row_id itself"),
        ({"validation": {"text_length": {"min": 5, "max": 4}}}, "min 5 is more than max 4"),
        ({"validation": {"expectations": [{"type": "column_exists"}]}}, "should match pattern"),
        ({"splits": {"validation": 0.5, "test": 0.5}}, "leave nothing to train on"),
        ({"cleaning": {"conflicts": "newest"}}, "newest_by names the column of times where `conflicts` is newest"),
        ({"cleaning": {"newest_by": "day"}}, "newest_by names the column of times where `conflicts` is newest"),
        (
            {"cleaning": {"conflicts": "newest", "newest_by": "day"}},
            "cleaning.newest_by: day is not among source.columns.keep: none",
        ),
        ({"splits": {"group_by": "user"}}, "splits.group_by: user is not among source.columns.keep: none"),
        ({"base_model": {"name": "x", "sha256": "X" * 64}}, "should match pattern"),
        ({"training": {"learning_rate": 0}}, "greater than 0"),
        ({"training": {"warmup": float("nan")}}, "less than or equal to 1"),
        ({"gate": {"below_champion": -0.1}}, "greater than or equal to 0"),
        ({"schedule": {"cron": "every day"}}, "should match pattern"),
        ({"sensor": {"max_wait": "P1D"}}, "max_wait says how long rows wait for min_new_rows, which is not set"),
        ({"sensor": {"min_new_rows": 0}}, "greater than or equal to 1"),
        ({"freshness": {}}, "Field required"),
        ({"freshness": {"fail_after": 59}}, "fail_after 0:00:59 is less than a minute"),
        (
            {"freshness": {"fail_after": "P1D", "warn_after": "PT24H"}},
            "warn_after 1 day, 0:00:00 is not less than fail_after 1 day, 0:00:00",
        ),
        ({"description": "{{ x }}"}, "templates are not evaluated"),
        ({"source": {"files": ["{% x %}"]}}, "templates are not evaluated"),
    ],
)
def test_what_cannot_be_is_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make(**sections)


@pytest.mark.parametrize("cron", ["0 3 * * *", "*/5 * * * 1-5", "@daily"])
def test_cron_expressions_are_taken(cron: str) -> None:
    assert make(schedule={"cron": cron}).schedule


@pytest.mark.parametrize(
    ("written", "seconds"), [("PT6H", 21600), ("P2D", 172800), ("P1W", 604800), ("P1DT1H1M1S", 90061), (90, 90)]
)
def test_durations_are_iso_8601_or_seconds(written: str | int, seconds: int) -> None:
    made = make(freshness={"fail_after": written})
    assert made.freshness is not None
    assert made.freshness.fail_after.total_seconds() == seconds
    assert Pipeline.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize("written", ["1 day", "P1M", "P1Y", "P", "PT", "06:00", "90", True, 1.5, "-P1D", None, 0, -5])
def test_other_durations_are_refused(written: object) -> None:
    with pytest.raises(ValidationError, match=r"is no duration; ISO 8601, for instance PT6H or P2D|more than nothing"):
        make(freshness={"fail_after": written})
