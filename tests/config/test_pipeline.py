"""The schema of a pipeline: frozen, strict about what it does not know, documented, free of contradictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from assets.config import pipeline as schema
from assets.config.pipeline import Pipeline
from assets.config.section import Section

NEEDED: dict[str, Any] = {
    "task": {"labels": ["ham", "spam"]},
    "source": {"files": ["data/*.csv"]},
    "base_model": {"name": "tiny"},
}


SQL = {"url_env": "DB", "query": "SELECT * FROM x", "key": "id"}


def make(**sections: Any) -> Pipeline:
    return Pipeline.model_validate({**NEEDED, **sections})


def by_time(more: dict[str, Any] | None = None, **changed: str) -> dict[str, Any]:
    """Sections of a split by time."""
    settings = {"column": "when", "validation_from": "2026-03-01", "test_from": "2026-04-01", **changed}
    source = {"files": ["x"], "columns": {"keep": ["when"]}}
    return {"source": source, "splits": {"by_time": settings, **(more or {})}}


def sections() -> Iterator[type[BaseModel]]:
    for value in vars(schema).values():
        if isinstance(value, type) and issubclass(value, Section) and value is not Section:
            yield value


def test_only_three_sections_are_needed() -> None:
    assert {name for name, field in Pipeline.model_fields.items() if field.is_required()} == set(NEEDED)
    assert make().model_dump(mode="json", exclude_defaults=True) == NEEDED


def test_a_start_from_the_base_model_is_as_if_nothing_were_said() -> None:
    assert make(training={"start": "base"}) == make()
    assert make(training={"start": "champion"}).training.start == "champion"
    with pytest.raises(ValidationError, match="'base', 'champion' or 'either'"):
        make(training={"start": "latest"})


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
        ({"source": {}}, "exactly one of files, sql, huggingface says where rows come from; given: none"),
        ({"source": {"files": ["x"], "sql": SQL}}, "exactly one of .*; given: files and sql; fix: keep one of them"),
        ({"source": {"sql": SQL, "huggingface": {"name": "x"}}}, "exactly one of .*; given: sql and huggingface"),
        ({"source": {"sql": SQL, "format": "csv"}}, "format: only files have that, and rows come from sql"),
        (
            {"source": {"sql": {**SQL, "query": "/* new */ DELETE FROM x"}}},
            "this begins with DELETE; accepted: one SEL",
        ),
        ({"source": {"sql": {**SQL, "query": " -- "}}}, "this is empty; accepted: one SELECT"),
        ({"source": {"sql": {**SQL, "overlap": 5}}}, "overlap: without a watermark no row is newer than another"),
        ({"source": {"sql": {**SQL, "url_env": "MY URL"}}}, "this is no name of an environment variable; accepted: le"),
        (
            {"source": {"files": ["x"], "labels": {"junk": "spam", "fine": "good"}}},
            "source.labels: fine → good: good is not among task.labels: ham, spam",
        ),
        ({"source": {"files": ["x"], "names": ["a", "a"]}}, "repeated: a"),
        (
            {"source": {"files": ["x"], "columns": {"text": "a", "label": "a"}}},
            "the same column stands for two things: a, a",
        ),
        ({"source": {"files": ["x"], "columns": {"keep": ["row_id"]}}}, "freshtune uses row_id itself"),
        ({"validation": {"text_length": {"min": 5, "max": 4}}}, "min 5 is more than max 4"),
        ({"validation": {"expectations": [{"type": "column_exists"}]}}, "should match pattern"),
        ({"splits": {"validation": 0.5, "test": 0.5}}, "leave nothing to train on"),
        (
            {"cleaning": {"conflicts": "newest"}},
            "newest_by names the column of times .*; fix: add newest_by, a column of",
        ),
        ({"cleaning": {"newest_by": "day"}}, "newest_by names the column of times .*; fix: leave newest_by out"),
        ({"cleaning": {"id": "number"}}, "newest_by names the column of times .* or rows have an `id`, and only there"),
        (
            {
                "cleaning": {"id": "number", "newest_by": "day"},
                "source": {"files": ["a.csv"], "columns": {"keep": ["day"]}},
            },
            "cleaning.id: number is not among source.columns.keep: day",
        ),
        (
            {"cleaning": {"conflicts": "newest", "newest_by": "day"}},
            "cleaning.newest_by: day is not among source.columns.keep: none",
        ),
        (
            {"splits": {"group_by": "user"}},
            "splits.group_by: user is not among source.columns.keep: none; fix: add it there",
        ),
        (by_time(validation_from="soon"), "'soon' is no time in ISO 8601; for instance 2026-03-01 or"),
        (by_time(validation_from="0001-01-01T00:00+14:00"), "is no time in ISO 8601"),
        (by_time(validation_from="2026-03-01", test_from="2026-03-01T00:00Z"), "is not before test_from 2026-03-01T00"),
        (by_time(column="day"), "splits.by_time.column: day is not among source.columns.keep: when"),
        (
            by_time({"test": 0.3, "salt": "x"}),
            "test and salt mean nothing with by_time, which says it; fix: leave out one",
        ),
        (
            by_time({"frozen": {"files": ["a"]}}),
            "by_time and frozen both say what the test set is; fix: leave one of them",
        ),
        ({"splits": {"frozen": {"files": []}}}, "at least 1 item"),
        ({"splits": {"frozen": {}}}, "name the test set either by files, or by column and value"),
        ({"splits": {"frozen": {"column": "a"}}}, "name the test set either by files, or by column and value"),
        ({"splits": {"frozen": {"value": "a", "files": ["b"]}}}, "name the test set either by files, or by column"),
        ({"splits": {"frozen": {"column": "a", "value": "b"}}}, "splits.frozen.column: a is not among source.columns"),
        ({"splits": {"frozen": {"files": ["a"]}, "test": 0.1}}, "test mean nothing with frozen, which says it"),
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


def test_a_url_where_the_name_of_a_variable_belongs_is_not_repeated() -> None:
    url = "postgresql://me:hidden-word@host/db"
    with pytest.raises(ValidationError, match="this is a URL, and URLs hold passwords; accepted: the name") as caught:
        make(source={"sql": {**SQL, "url_env": url, "url": url, "window": url, "key": [url]}})
    assert caught.value.error_count() == 4
    assert "hidden" not in f"{caught.value} {caught.value.errors()} {caught.value.__cause__} {caught.value.__context__}"


@pytest.mark.parametrize("cron", ["0 3 * * *", "*/5 * * * 1-5", "@daily"])
def test_cron_expressions_are_taken(cron: str) -> None:
    assert make(schedule={"cron": cron}).schedule


@pytest.mark.parametrize(
    "splits",
    [
        by_time()["splits"],
        {"frozen": {"files": ["a"]}, "validation": 0.9},
        {"frozen": {"column": "when", "value": "b"}},
    ],
)
def test_splits_of_each_kind_come_back_from_json(splits: dict[str, Any]) -> None:
    pipeline = make(**{**by_time(), "splits": splits})
    assert Pipeline.model_validate_json(pipeline.model_dump_json()) == pipeline


def test_one_time_is_written_in_one_way() -> None:
    written = (by_time(test_from=text) for text in ("2026-04-01", "2026-04-01T02:00+02:00", "20260401T000000Z"))
    assert {make(**sections).splits.by_time.test_from for sections in written} == {"2026-04-01T00:00:00+00:00"}  # type: ignore[union-attr]


def test_scripts_and_languages_that_are_accepted() -> None:
    accepted = ["Latin", "Old_Italic", "Han", "en", "yue"]
    assert make(validation={"language": accepted}).validation.language == tuple(accepted)


@pytest.mark.parametrize("value", ["latin", "English", "EN", "Common script", ""])
def test_what_is_neither_a_script_nor_a_language(value: str) -> None:
    with pytest.raises(ValidationError, match=f"{value!r} is neither a script by its Unicode name, for instance Latin"):
        make(validation={"language": [value]})


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
