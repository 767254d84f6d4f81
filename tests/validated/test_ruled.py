"""What rulings do to rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.cleaned import rows as cleaned_rows
from assets.cleaned.clean import clean
from assets.progress import Event
from assets.raw import rows as raw_rows
from assets.raw.read import read
from assets.raw.shard import row_ids
from assets.store.digests import digest_content, digest_json
from assets.store.step import Build
from assets.store.store import Store
from assets.store.tables import hexadecimal
from assets.validated.rows import origins, read_upheld
from assets.validated.rulings import FILE, observe
from assets.validated.validate import validate
from tests.raw.conftest import observed
from tests.validated.conftest import CONFIG, Row, Validate, Validated, expectation, publish_anew, ruling

LENGTH = "expect_column_value_lengths_to_be_between"
LONG = "x" * 21
PROPERTY = settings(
    deadline=None, derandomize=True, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def pairs(done: Validated) -> set[tuple[str, str]]:
    return {(row["text"], row["label"]) for row in done.rows}


def test_a_row_that_is_readmitted_is_accepted_whatever_it_fails(validate_rows: Validate) -> None:
    rows = [("a", "ham"), (LONG, "ham"), (LONG, "spam")]
    done = validate_rows(rows, rulings=[ruling(LONG, "ham", "readmit"), ruling("a", "ham", "readmit")])
    assert pairs(done) == {("a", "ham"), (LONG, "ham")}
    assert [(row["label"], row["expectation"]) for row in done.quarantine] == [("spam", LENGTH)]
    assert done.measurements["quarantined_by_expectation"] == {LENGTH: 1}
    assert {(row["row_id"], row["came_as"], row["label"]) for row in read_upheld(done.folder).to_pylist()} == {
        (row["row_id"], row["row_id"], "ham") for row in done.rows
    }
    told = {"readmitted": 1, "relabelled": 0, "dropped": 0, "about_no_row": 0}
    assert done.measurements["rulings"] == told


def test_a_row_that_is_dropped_is_in_quarantine_for_that_alone(validate_rows: Validate) -> None:
    rows = [("a", "ham"), ("a", "spam"), ("b\ufffd", "ham")]
    done = validate_rows(rows, rulings=[ruling("a", "ham", "drop"), ruling("b\ufffd", "ham", "drop")])
    assert pairs(done) == {("a", "spam")}
    assert {row["text"]: (row["expectation"], row["detail"]) for row in done.quarantine} == {
        "a": ("dropped_by_ruling", "a ruling drops the row"),
        "b\ufffd": ("dropped_by_ruling", "a ruling drops the row"),
    }
    assert done.measurements["quarantined_by_expectation"] == {"dropped_by_ruling": 2}


def test_a_row_that_is_relabelled_counts_with_the_new_label_and_the_row_id_of_it(validate_rows: Validate) -> None:
    rows = [("a", "ham"), ("b", "eggs"), ("c", None), (LONG, "eggs")]
    rulings = [ruling(text or "", label, "relabel", to="spam") for text, label in rows[1:]]
    count = expectation("expect_column_distinct_values_to_equal_set", column="label", value_set=["ham", "spam"])
    done = validate_rows(rows, rulings=rulings, expectations=[count])
    assert pairs(done) == {("a", "ham"), ("b", "spam"), ("c", "spam"), (LONG, "spam")}
    assert done.quarantine == []
    assert done.measurements["labels"] == {"ham": 1, "spam": 3}
    # Expectations about the table see the rows as they count.
    assert done.measurements["table_expectations"][0]["success"] is True
    names = {row["text"]: row["row_id"] for row in done.rows}
    assert names["b"] == digest_json(["b", "spam"])[:32]
    assert read_upheld(done.folder).to_pylist() == sorted(
        (
            {"row_id": names[text or ""], "came_as": digest_json([text, label])[:32], "label": label}
            for text, label in rows[1:]
        ),
        key=lambda each: str(each["row_id"]),
    )


@given(st.lists(st.tuples(st.text(), st.none() | st.text(), st.none() | st.text()), min_size=1))
@settings(deadline=None, derandomize=True)
def test_row_ids_are_those_of_raw(rows: list[tuple[str | None, ...]]) -> None:
    columns = dict(zip(("text", "label", "from"), (pa.array(each, pa.string()) for each in zip(*rows, strict=True))))  # noqa: B905
    assert hexadecimal(row_ids(pa.table(columns))).to_pylist() == [digest_json(row)[:32] for row in rows]


def test_a_relabelled_row_that_another_one_is_equal_to_is_merged(validate_rows: Validate) -> None:
    rows = [("a", "spam"), ("a", "ham"), ("a", "eggs"), ("b", "eggs"), ("b", None)]
    rulings = [ruling("a", label, "relabel", to="spam") for label in ("ham", "eggs")]
    rulings += [ruling("b", label, "relabel", to="ham") for label in ("eggs", None)]
    done = validate_rows(rows[:2], more=[rows[2:]], rulings=rulings)
    assert [(row["text"], row["label"]) for row in done.rows] == [
        (row["text"], row["label"]) for row in validate_rows([("a", "spam"), ("b", "ham")]).rows
    ]
    told = done.measurements
    assert (told["rows_in"], told["accepted"], told["quarantined"], told["merged"]) == (5, 2, 0, 3)


def test_labels_can_be_exchanged(validate_rows: Validate) -> None:
    rulings = [ruling("a", "ham", "relabel", to="spam"), ruling("a", "spam", "relabel", to="ham")]
    done = validate_rows([("a", "ham", "1"), ("a", "spam", "2")], keep=("from",), rulings=rulings)
    assert {(row["label"], row["from"]) for row in done.rows} == {("spam", "1"), ("ham", "2")}
    assert done.measurements["merged"] == 0


def test_a_ruling_is_about_text_and_label_whatever_else_a_row_has(validate_rows: Validate) -> None:
    rows = [("a", "ham", "1"), ("a", "ham", "2"), ("a", "spam", "1")]
    done = validate_rows(rows, keep=("from",), rulings=[ruling("a", "ham", "drop")])
    assert [(row["label"], row["from"]) for row in done.rows] == [("spam", "1")]
    assert done.measurements["rulings"]["dropped"] == 2


def test_rulings_about_no_row_are_counted_and_said(validate_rows: Validate, events: list[Event]) -> None:
    done = validate_rows([("a", "ham")], rulings=[ruling("gone", "ham", "drop"), ruling("a", "spam", "drop")])
    assert done.measurements["rulings"] == {"readmitted": 0, "relabelled": 0, "dropped": 0, "about_no_row": 2}
    said = [event["text"] for event in events if event["kind"] == "message"]
    assert "rows by rulings: 0 readmitted, 0 relabelled, 0 dropped; 2 rulings are about rows that are not there" in said
    assert done.content == validate_rows([("a", "ham")]).content


ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", LONG]), st.sampled_from(["ham", "spam", "eggs", None])),
    max_size=8,
    unique=True,
)
OUTCOMES = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b", LONG]), st.sampled_from(["ham", "spam", "eggs", None])),
    st.sampled_from(["readmit", "drop", "ham", "spam"]),
    max_size=5,
)


@PROPERTY
@given(rows=ROWS, outcomes=OUTCOMES, cut=st.integers(0, 8))
def test_rows_are_as_if_the_source_said_what_people_ruled(
    validate_rows: Validate, rows: list[Row], outcomes: dict[tuple[str, str | None], str], cut: int
) -> None:
    rulings = []
    due: dict[Row, str | None] = {}
    for (text, label), outcome in outcomes.items():
        if outcome == "readmit" and label in {"ham", "spam"}:
            rulings.append(ruling(text, label, "readmit"))
            due[text, label] = label
        elif outcome == "drop":
            rulings.append(ruling(text, label, "drop"))
            due[text, label] = None
        elif outcome in {"ham", "spam"} and outcome != label:
            rulings.append(ruling(text, label, "relabel", to=outcome))
            due[text, label] = outcome
    expected = set()
    for row in rows:
        good = row[1] in {"ham", "spam"} and row[0] != LONG
        label = due.get(row, row[1] if good else None)
        if label is not None:
            expected.add((row[0], label))
    done = validate_rows(rows[:cut], more=[rows[cut:]], rulings=rulings)
    assert pairs(done) == expected
    assert len(done.rows) == len(expected)
    told = done.measurements
    assert told["rows_in"] == len(rows) == told["accepted"] + told["quarantined"] + told["merged"]
    other = validate_rows(rows[::-1], rulings=rulings[::-1])
    assert (done.content, done.measurements, done.quarantine) == (other.content, other.measurements, other.quarantine)


AS_THEY_ARE: dict[str, Any] = {"unicode": "NFC", "whitespace": True, "mask_pii": None}


def chained(
    make_build: Callable[..., Build],
    store: Store,
    folder: Path,
    lines: str,
    validated: Callable[[Path], Path],
) -> tuple[Path, Path, Path, Path, dict[str, Any]]:
    """Content of raw, its trace, content of validated and of cleaned, and what cleaned measured."""
    columns = {"text": "text", "label": "label", "keep": []}
    build = make_build(externals={"source": observed(folder, {"a.csv": f"text,label\n{lines}".encode()})})
    given: dict[str, Any] = {"format": "auto", "names": None, "quoting": "auto", "encoding": "utf-8", "labels": None}
    read(build, **given, columns=columns, mode="mirror", frozen=None, sample=None)
    raw, trace = publish_anew(store, build.content), build.trace
    rows = validated(raw)
    build = make_build(inputs={"validated": rows})
    told = clean(build, **AS_THEY_ARE, near_duplicates=None, conflicts="quarantine", newest_by=None)
    return raw, trace, rows, publish_anew(store, build.content), told


@pytest.mark.parametrize(
    ("ruled", "mended", "came_from"),
    [
        (ruling("win now", "ham", "relabel", to="spam"), "win now,spam\nhello,ham\nwin now,spam\n", {2, 4}),
        (ruling("win now", "ham", "drop"), "hello,ham\nwin now,spam\n", {4}),
    ],
)
def test_a_ruling_resolves_conflicting_labels_as_the_source_would(
    make_build: Callable[..., Build],
    store: Store,
    tmp_path: Path,
    ruled: dict[str, Any],
    mended: str,
    came_from: set[int],
    validate_raw: Callable[..., Path],
) -> None:
    lines = "win now,ham\nhello,ham\nwin now,spam\n"
    *_, told = chained(make_build, store, tmp_path / "1", lines, validate_raw)
    assert (told["kept"], told["quarantined"]) == (1, 2)
    raw, trace, validated, cleaned, told = chained(
        make_build, store, tmp_path / "2", lines, lambda raw: validate_raw(raw, [ruled])
    )
    assert (told["kept"], told["quarantined"]) == (2, 0)
    assert {(row["text"], row["label"]) for row in cleaned_rows.read_rows(cleaned).to_pylist()} == {
        ("hello", "ham"),
        ("win now", "spam"),
    }
    *_, of_mended, _ = chained(make_build, store, tmp_path / "3", mended, validate_raw)
    assert digest_content(cleaned) == digest_content(of_mended)
    # Every row, also one that a ruling gave another label, is found where it came from.
    places = {(row["row_id"], row["line"]) for row in origins(validated, raw, trace).to_pylist()}
    spam = digest_json(["win now", "spam"])[:32]
    assert {line for row_id, line in places if row_id == spam} == came_from
    assert {(row["row_id"], row["line"]) for row in raw_rows.origins(raw, trace).to_pylist()} <= places


@pytest.fixture
def validate_raw(make_build: Callable[..., Build], store: Store) -> Callable[..., Path]:
    """Run the step on what raw made, with rulings."""

    def run(raw: Path, rulings: list[dict[str, Any]] | None = None) -> Path:
        build = make_build(inputs={"raw": raw})
        (build.work / FILE).write_text("".join(f"{json.dumps(each)}\n" for each in rulings or []))
        validate(
            replace(build, externals=observe(build.work, CONFIG)),
            labels=["ham", "spam"],
            text_length={"min": 1, "max": 20},
            expectations=[],
            language=None,
            columns={"text": "text", "label": "label", "keep": []},
        )
        return publish_anew(store, build.content)

    return run
