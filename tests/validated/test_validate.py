from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.errors import ConfigurationError, DamagedError
from assets.progress import Event
from assets.raw.read import read
from assets.store.parts import Parts
from assets.store.step import Build, Part
from assets.store.store import Store
from assets.store.tables import digest_of_rows
from assets.validated import STEP, shard
from assets.validated.rows import read_rows
from assets.validated.validate import ENVIRONMENT, validate
from tests.raw.conftest import observed
from tests.validated.conftest import Row, Validate, Validated, expectation, publish_anew, write_raw

NULL, LENGTH = "expect_column_values_to_not_be_null", "expect_column_value_lengths_to_be_between"
SET, REGEX = "expect_column_values_to_be_in_set", "expect_column_values_to_not_match_regex"
WARNING = expectation("expect_column_values_to_match_regex", "warning", column="text", regex="a")
COMPARING = expectation("expect_column_values_to_be_unique", column="text_stripped")
PROPERTY = settings(
    deadline=None, derandomize=True, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_each_built_in_expectation_sets_aside_what_fails_it(validate_rows: Validate) -> None:
    done = validate_rows(
        [
            ("fine", "ham"),
            ("  space around it      ", "spam"),
            (None, "ham"),
            ("   ", "ham"),
            ("x" * 90, "ham"),
            ("odd label", "eggs"),
            ("no label", None),
            ("empty label", ""),
            ("caf\ufffd", "ham"),
            ("it\x92s", "ham"),
            ("two\tlines\nare fine", "ham"),
        ]
    )
    assert {row["text"] for row in done.rows} == {"fine", "  space around it      ", "two\tlines\nare fine"}
    assert done.reasons == {
        None: (NULL, "text is null"),
        "   ": (LENGTH, 'text_stripped is "" (0 characters)'),
        "x" * 90: (LENGTH, f'text_stripped is "{"x" * 80}"… (90 characters)'),
        "odd label": (SET, 'label is "eggs"'),
        "no label": (NULL, "label is null"),
        "empty label": (SET, 'label is "" (0 characters)'),
        "caf\ufffd": (REGEX, 'text is "caf\ufffd"'),
        "it\x92s": (REGEX, 'text is "it\x92s"'),
    }
    assert [row["row_id"] for row in done.quarantine] == sorted(row["row_id"] for row in done.quarantine)
    told = done.measurements
    assert told == json.loads(json.dumps(told))
    assert told == {
        "rows_in": 11,
        "accepted": 3,
        "quarantined": 8,
        "merged": 0,
        "quarantined_by_expectation": {LENGTH: 2, SET: 2, NULL: 2, REGEX: 2},
        "table_expectations": [],
        "warning_expectations": 1,
        "warnings": [],
        "labels": {"ham": 2, "spam": 1},
    }


def test_a_row_that_fails_several_names_all_and_counts_once(validate_rows: Validate) -> None:
    done = validate_rows([("", "eggs"), ("fine", "ham")])
    assert done.reasons == {"": (f"{LENGTH}, {SET}", 'text_stripped is "" (0 characters); label is "eggs"')}
    assert done.measurements["quarantined"] == 1
    assert done.measurements["quarantined_by_expectation"] == {LENGTH: 1, SET: 1}


def test_what_a_row_fails_is_told_in_the_order_of_the_expectations_names(validate_rows: Validate) -> None:
    done = validate_rows([("x\ufffd", "ham"), (" x\ufffd", "ham")], expectations=[COMPARING])
    name, seen = COMPARING["type"], 'text_stripped is "x\ufffd"; text is '
    assert done.reasons == {
        "x\ufffd": (f"{name}, {REGEX}", f'{seen}"x\ufffd"'),
        " x\ufffd": (f"{name}, {REGEX}", f'{seen}" x\ufffd"'),
    }


def test_lines_that_were_no_rows_are_in_quarantine_too(validate_rows: Validate) -> None:
    done = validate_rows([("fine", "ham")], rejected=[("a,b,c", "ragged_row", "3 fields instead of 2")])
    (row,) = done.quarantine
    assert row == {
        "row_id": row["row_id"],
        "text": "a,b,c",
        "label": None,
        "expectation": "readable",
        "detail": "ragged_row: 3 fields instead of 2",
    }
    assert done.measurements["rows_in"] == 2
    assert done.measurements["quarantined_by_expectation"] == {"readable": 1}


@pytest.mark.parametrize("rejected", [[], [("line", "ragged_row", "1 fields instead of 2")]])
def test_all_rows_bad(validate_rows: Validate, rejected: list[tuple[str, str, str]]) -> None:
    count = expectation("expect_table_row_count_to_be_between", min_value=1)
    done = validate_rows([("a", "eggs"), ("b", None)] if not rejected else [], rejected=rejected, expectations=[count])
    assert done.rows == []
    assert done.measurements["accepted"] == 0
    assert done.measurements["quarantined"] == done.measurements["rows_in"] > 0
    assert done.measurements["table_expectations"][0]["success"] is False
    assert "Great Expectations" in done.page


def test_kept_columns_are_kept_and_can_be_judged(validate_rows: Validate) -> None:
    unique = expectation("expect_column_values_to_be_unique", column="from")
    rows = [("a", "ham", "1"), ("b", "ham", "2"), ("c", "ham", "2"), ("d", "ham", None)]
    done = validate_rows(rows, keep=("from",), expectations=[unique])
    assert {tuple(row.values())[1:] for row in done.rows} == {("a", "ham", "1"), ("d", "ham", None)}
    assert list(done.rows[0]) == ["row_id", "text", "label", "from"]
    assert done.reasons["b"] == ("expect_column_values_to_be_unique", 'from is "2"')


def test_a_pair_of_columns_is_told_with_both_values(validate_rows: Validate) -> None:
    differ = expectation(
        "expect_column_pair_values_to_be_in_set", column_A="text", column_B="label", value_pairs_set=[("a", "ham")]
    )
    done = validate_rows([("a", "ham"), ("b", "spam")], expectations=[differ])
    assert done.reasons == {"b": ("expect_column_pair_values_to_be_in_set", 'text is "b" and label is "spam"')}


def test_expectations_about_the_table_see_the_accepted_rows(validate_rows: Validate) -> None:
    done = validate_rows(
        [("a", "ham"), ("b", "spam"), ("c", "eggs")],
        expectations=[
            expectation("expect_column_distinct_values_to_equal_set", column="label", value_set=["ham", "spam"]),
            expectation("expect_table_row_count_to_be_between", min_value=3),
            expectation("expect_column_values_to_match_regex", column="text", regex="a", mostly=0.9),
        ],
    )
    assert [(told["type"], told["column"], told["success"]) for told in done.measurements["table_expectations"]] == [
        ("expect_column_distinct_values_to_equal_set", "label", True),
        ("expect_column_values_to_match_regex", "text", False),
        ("expect_table_row_count_to_be_between", None, False),
    ]
    assert [told["observed"] for told in done.measurements["table_expectations"]][1:] == ["1 of 2 rows fail", 2]
    assert set(done.reasons) == {"c"}  # `mostly` tolerates single rows


def test_warnings_are_recorded_only(validate_rows: Validate) -> None:
    done = validate_rows(
        [("a", "ham"), ("b", "spam")],
        expectations=[
            expectation("expect_column_values_to_match_regex", "warning", column="text", regex="a"),
            expectation("expect_table_row_count_to_equal", "warning", value=5),
            expectation("expect_table_row_count_to_equal", "warning", value=2),
        ],
    )
    assert done.quarantine == []
    assert done.measurements["warning_expectations"] == 4
    assert done.measurements["warnings"] == [
        {
            "type": "expect_column_values_to_match_regex",
            "column": "text",
            "severity": "warning",
            "success": False,
            "observed": "1 of 2 rows fail",
        },
        {
            "type": "expect_table_row_count_to_equal",
            "column": None,
            "severity": "warning",
            "success": False,
            "observed": 2,
        },
    ]


def test_expectations_that_cannot_be_held_against_the_rows(validate_rows: Validate) -> None:
    with pytest.raises(ConfigurationError) as caught:
        validate_rows(
            [("a", "ham", "x")],
            keep=("from",),
            expectations=[
                expectation("expect_column_values_to_be_unique", column="frm"),
                expectation("expect_column_values_to_match_regex", column="text", regex="("),
            ],
        )
    text = str(caught.value)
    assert 'expect_column_values_to_be_unique {"column": "frm"}' in text
    assert 'The column "frm" in BatchData does not exist' in text
    assert 'expect_column_values_to_match_regex {"column": "text", "regex": "("}: ' in text
    assert text.splitlines()[-1].startswith(
        "  fix: the columns are row_id, text, text_stripped, label, from, all of them text"
    )
    with pytest.raises(ConfigurationError, match="expect_column_mean_to_be_between"):
        validate_rows(
            [("a", "ham")], expectations=[expectation("expect_column_mean_to_be_between", column="text", min_value=1)]
        )


def test_the_name_that_validation_uses_itself_is_refused(validate_rows: Validate) -> None:
    with pytest.raises(ConfigurationError, match=r"source\.columns\.keep: 'text_stripped' is .*\n  fix: rename"):
        validate_rows([("a", "ham", "x")], keep=("text_stripped",))


def test_the_trace_has_data_docs_and_what_they_show(validate_rows: Validate) -> None:
    done = validate_rows([("a", "ham"), ("<b>", "eggs")])
    assert "<td" in done.page
    assert "eggs" in done.page
    trace = done.trace
    assert sorted(path.name for path in trace.iterdir()) == ["data_docs", "result.json", "suite.json"]
    suite, result = (json.loads((trace / name).read_bytes()) for name in ("suite.json", "result.json"))
    assert len(suite) == len(result) == 6
    assert {entry["type"] for entry in suite} == {NULL, LENGTH, SET, REGEX}


def test_the_order_of_expectations_does_not_change_the_content(validate_rows: Validate) -> None:
    extra = [
        expectation("expect_column_values_to_match_regex", column="text", regex="a"),
        expectation("expect_column_values_to_be_unique", column="label"),
    ]
    rows = [("a", "ham"), ("b", "ham"), ("c", "eggs")]
    contents = {validate_rows(rows, expectations=order).content for order in (extra, extra[::-1])}
    assert len(contents) == 1


@PROPERTY
@given(
    rows=st.sets(
        st.tuples(
            st.none() | st.text(st.sampled_from("ab \ufffd\x00é"), max_size=25),
            st.sampled_from(["ham", "spam", "eggs", "", None]),
        ),
        max_size=12,
    ),
    lines=st.sets(st.sampled_from(["x", "y", "z"])),
)
def test_the_account_balances(
    validate_rows: Validate, rows: set[tuple[str | None, str | None]], lines: set[str]
) -> None:
    done = validate_rows(list(rows), rejected=[(line, "ragged_row", "") for line in lines])
    told = done.measurements
    assert told["rows_in"] == len(rows) + len(lines) == told["accepted"] + told["quarantined"]
    assert (told["accepted"], told["quarantined"]) == (len(done.rows), len(done.quarantine))
    assert not {row["row_id"] for row in done.rows} & {row["row_id"] for row in done.quarantine}
    good = {
        (text, label)
        for text, label in rows
        if text is not None
        and label in {"ham", "spam"}
        and 1 <= len(text.strip()) <= 20
        and not set(text) & {"\ufffd", "\0"}
    }
    assert {(row["text"], row["label"]) for row in done.rows} == good
    assert all(row["expectation"] and row["detail"] for row in done.quarantine)


SHARDS = st.lists(
    st.lists(
        st.tuples(
            st.none() | st.text(st.sampled_from("ab \ufffd"), max_size=3),
            st.sampled_from(["ham", "spam", "eggs", None]),
        ),
        max_size=6,
        unique=True,
    ),
    min_size=1,
    max_size=4,
)


def told(done: Validated) -> tuple[Any, ...]:
    """All that must not depend on how rows lie."""
    return done.content, done.rows, done.quarantine, done.measurements, (done.trace / "result.json").read_text()


@PROPERTY
@given(shards=SHARDS)
def test_nothing_depends_on_how_rows_lie(validate_rows: Validate, shards: list[list[Row]]) -> None:
    arguments = {"expectations": [WARNING, COMPARING, expectation("expect_table_row_count_to_equal", value=3)]}
    distinct = list(dict.fromkeys(row for rows in shards for row in rows))
    apart = validate_rows(shards[0], more=shards[1:], **arguments)
    assert len(apart.accepted) == sum(map(len, shards))
    assert sum(apart.accepted) == apart.measurements["accepted"]
    assert told(apart) == told(validate_rows(distinct[::-1], **arguments))


def test_the_same_rows_in_one_or_many_files(make_build: Callable[..., Build], store: Store, tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"text {at}" if at % 3 else None, "label": "ham"}) for at in range(6)]
    contents = set()
    for number, cuts in enumerate([[6], [2, 6], [1, 2, 3, 4, 5, 6]]):
        parts = {f"{end}.jsonl": lines[start:end] for start, end in zip([0, *cuts], cuts, strict=False)}
        repeated = {"again.jsonl": lines[:2]} if number else {}
        files = {name: "".join(f"{line}\n" for line in part).encode() for name, part in {**parts, **repeated}.items()}
        columns = {"text": "text", "label": "label", "keep": []}
        build = make_build(externals={"source": observed(tmp_path / str(number), files)})
        read(
            build,
            format="auto",
            names=None,
            quoting="auto",
            encoding="utf-8",
            columns=columns,
            mode="mirror",
            frozen=None,
            labels=None,
            sample=None,
        )
        build = make_build(inputs={"raw": publish_anew(store, build.content)})
        validate(
            build, labels=["ham"], text_length={"min": 1, "max": 20}, expectations=[], language=None, columns=columns
        )
        folder = publish_anew(store, build.content)
        rows = read_rows(folder)
        assert rows.num_rows == 4
        contents.add(folder.name)
    assert len(contents) == 1
    ids = np.array([[int(name[:16], 16), int(name[16:], 16)] for name in rows["row_id"].to_pylist()], np.uint64)
    assert json.loads((folder / "rows.json").read_text()) == {"rows": 4, "sha256": digest_of_rows(ids)}


def test_a_row_that_is_repeated_in_another_shard_counts_once(validate_rows: Validate) -> None:
    good, bad = ("b", "ham"), (None, "eggs")
    done = validate_rows([good, bad], more=[[bad, good], [good]], expectations=[WARNING])
    assert done.accepted == [True, False, False, False, False]
    assert [row["text"] for row in done.rows] == ["b"]
    assert len(done.quarantine) == 1
    assert done.measurements["rows_in"] == 2
    assert done.measurements["quarantined_by_expectation"] == {NULL: 1, SET: 1}
    assert [warning["observed"] for warning in done.measurements["warnings"]] == ["1 of 2 rows fail"]
    (warned,) = (
        entry["result"]
        for entry in json.loads((done.trace / "result.json").read_text())
        if entry["expectation_config"]["type"] == WARNING["type"]
    )
    assert (warned["element_count"], warned["missing_count"], warned["unexpected_count"]) == (2, 1, 1)
    assert (warned["missing_percent"], warned["unexpected_percent"]) == (50.0, 100.0)


def test_samples_are_the_failing_rows_with_the_lowest_row_id(validate_rows: Validate) -> None:
    rows = [(f"b{number}", "ham") for number in range(500)]  # Great Expectations looks at 200 of them
    done = validate_rows(rows[::2], more=[rows[1::2]], expectations=[WARNING])
    (entry,) = (
        entry["result"]
        for entry in json.loads((done.trace / "result.json").read_text())
        if entry["expectation_config"]["type"] == WARNING["type"]
    )
    assert entry["unexpected_count"] == 500
    lowest = [{"text": row["text"], "row_id": row["row_id"]} for row in done.rows[:20]]
    assert entry["partial_unexpected_index_list"] == lowest
    assert entry["partial_unexpected_list"] == [row["text"] for row in lowest]


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Shards that were judged, in order."""
    shards: list[str] = []
    judge = shard.judge

    def noting(build: Build, **arguments: Any) -> Any:
        shards.append(build.inputs["shard"].name)
        return judge(build, **arguments)

    monkeypatch.setattr(shard, "judge", noting)
    return shards


def test_a_new_file_has_only_its_own_rows_judged(validate_rows: Validate, judged: list[str]) -> None:
    first, second, new = [("a", "ham")], [("b", "spam"), ("c", "eggs")], [("d", "ham")]
    before = validate_rows(first, more=[second], expectations=[WARNING])
    assert len(judged) == len(set(judged)) == 2
    after = validate_rows(new, more=[second, first], expectations=[WARNING])
    assert len(judged) == len(set(judged)) == 3
    assert {row["text"] for row in after.rows} == {"a", "b", "d"}
    assert after.quarantine == before.quarantine


def test_rows_are_not_judged_again_for_what_no_verdict_depends_on(validate_rows: Validate, judged: list[str]) -> None:
    rows, other = [("a", "ham"), ("b", "ham"), ("b ", "spam")], expectation(SET, column="text", value_set=["a", "b"])
    validate_rows(rows, expectations=[WARNING, other])
    table = expectation("expect_table_row_count_to_equal", value=3)
    done = validate_rows(rows, expectations=[other, {**WARNING, "severity": "critical"}, COMPARING, table])
    assert len(judged) == 1
    assert done.measurements["quarantined_by_expectation"] == {SET: 1, "expect_column_values_to_match_regex": 2} | {
        COMPARING["type"]: 2
    }
    validate_rows(rows, expectations=[other])
    assert len(judged) == 2


def damage(folder: Path, file: str) -> None:
    """Alter the last byte of a file of an object."""
    path = folder / file
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def test_a_damaged_part_or_shard_is_said_so(
    make_build: Callable[..., Build], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write_raw(make_build, store, [[("a", "ham")]], [], [])
    build = make_build(inputs={"raw": raw})
    arguments: Mapping[str, Any] = {
        "labels": ["ham"],
        "text_length": {"min": 1, "max": 20},
        "expectations": [],
        "language": None,
        "columns": {"keep": []},
    }

    build_part = Parts.__call__

    def damaging(self: Parts, *given: Any, **more: Any) -> Part:
        part = build_part(self, *given, **more)
        damage(part.content, "verdicts.feather")
        return part

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "__call__", damaging)
        with pytest.raises(DamagedError, match=r"verdicts\.feather, bytes altered\n  fix: run again"):
            validate(build, **arguments)
    (shard_digest,) = json.loads((raw / "layout" / "links.json").read_text())["shards"]
    damage(store.open("objects", shard_digest), "rows.feather")
    with pytest.raises(DamagedError, match=r"rows\.feather, bytes altered\n  fix: run again"):
        validate(make_build(inputs={"raw": raw}), **arguments)


def test_what_cannot_be_held_against_some_shard_is_told_once_with_the_rest(validate_rows: Validate) -> None:
    schema = expectation("expect_column_values_to_match_json_schema", column="text", json_schema={})
    missing = expectation("expect_column_values_to_be_unique", column="frm")
    with pytest.raises(ConfigurationError) as caught:
        validate_rows(
            [("1", "ham")], more=[[("no json", "ham")], [("nor this", "ham")]], expectations=[missing, schema]
        )
    lines = str(caught.value).splitlines()
    assert [line.partition("}: ")[0] for line in lines[1:3]] == [
        '  expect_column_values_to_be_unique {"column": "frm"',
        '  expect_column_values_to_match_json_schema {"column": "text", "json_schema": {}',
    ]
    assert lines[2].endswith("Expecting value: line 1 column 1 (char 0)")
    assert lines[3].startswith("  fix: the columns are row_id, text, text_stripped, label, all of them text")
    assert len(lines) == 4


def test_progress_is_told(validate_rows: Validate, events: list[Event]) -> None:
    validate_rows([("a", "ham"), ("b", "eggs")])
    assert [event["text"] for event in events if event["kind"] == "message"] == ["1 rows accepted, 1 in quarantine"]


def test_the_declaration_names_the_function_and_its_arguments() -> None:
    arguments = list(inspect.signature(validate).parameters)[1:]
    assert STEP.function == f"{validate.__module__}:{validate.__name__}"
    assert sorted(path.rsplit(".", 1)[-1] for path in STEP.configuration) == sorted(arguments)
    assert STEP.environment == ENVIRONMENT


def test_scripts_and_languages_are_told_and_what_is_too_short_passes(validate_rows: Validate) -> None:
    german, english = "Der Zug an die Küste fährt heute um zehn Uhr ab", "The train leaves at ten in the morning"
    rows = [(german, "ham"), (english, "ham"), ("kurz", "ham"), ("Привет, мир", "spam"), ("12:30 €", "ham")]
    done = validate_rows(rows, language=["Latin", "en"], text_length={"min": 1, "max": 99})
    assert {row["text"] for row in done.rows} == {english, "kurz", "12:30 €"}
    assert done.reasons == {german: (SET, 'text_language is "de"'), "Привет, мир": (SET, 'text_script is "Cyrillic"')}
    assert validate_rows(rows, text_length={"min": 1, "max": 99}).quarantine == []
    with pytest.raises(ConfigurationError, match='The column "text_language" in BatchData does not exist'):
        validate_rows(rows, expectations=[expectation(SET, column="text_language", value_set=["en"])])


def test_traces_of_a_wrong_encoding_are_a_warning(validate_rows: Validate) -> None:
    done = validate_rows([("cafÃ©", "ham"), ("café", "ham")])
    assert done.quarantine == []
    (warning,) = done.measurements["warnings"]
    assert (warning["type"], warning["column"], warning["observed"]) == (REGEX, "text", "1 of 2 rows fail")
