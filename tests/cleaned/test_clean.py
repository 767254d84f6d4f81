from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.cleaned import shard
from assets.cleaned.rows import read_rows, read_withheld
from assets.errors import DataError
from assets.store.step import Build, Measurements
from tests.cleaned.conftest import Clean, Row
from tests.cleaned.oracle import resolve

ROWS: list[Row] = [
    (0, "Call now to claim your free prize today", "spam"),
    (1, "see you  at home", "ham"),
    (2, "see you at home ", "ham"),
    (3, "win cash", "spam"),
    (4, "call NOW to claim your free prize tonight", "ham"),
    (5, " win cash", "ham"),
    (6, "see you at home", "ham"),
    (7, "win\u00a0cash", "spam"),
    (8, "lunch?", "ham"),
]
LABELLED = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcde"), min_size=1, max_size=6).map(" ".join), st.sampled_from(["ham", "spam"])
    ),
    min_size=1,
    max_size=20,
)
NEAR = st.one_of(
    st.none(), st.fixed_dictionaries({"similarity": st.sampled_from([0.3, 0.6, 1.0]), "ngram": st.integers(1, 3)})
)
WHOLE_STEP = settings(
    deadline=None, derandomize=True, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_equal_texts_are_merged_into_the_lowest_row(clean_rows: Clean) -> None:
    cleaned = clean_rows([ROWS])
    rows = {row["row_id"]: row for row in cleaned.rows}
    assert list(rows) == [0, 1, 4, 8]
    assert rows[1] == {
        "row_id": 1,
        "text": "see you at home",
        "label": "ham",
        "count": 3,
        "group": 1,
        "source": "from 1",
    }
    assert cleaned.merged == [{"row_id": 2, "kept": 1}, {"row_id": 6, "kept": 1}]


def test_conflicting_labels_go_to_quarantine_as_they_came(clean_rows: Clean) -> None:
    detail = "the same text has the labels ham: 1 row, spam: 2 rows"
    assert clean_rows([ROWS[4:], ROWS[:4]]).quarantine == [
        {"row_id": row_id, "text": text, "label": label, "expectation": "conflicting_labels", "detail": detail}
        for row_id, text, label in ROWS
        if row_id in {3, 5, 7}
    ]


def test_near_duplicates_with_different_labels_are_grouped(clean_rows: Clean) -> None:
    rows = {row["row_id"]: row for row in clean_rows([ROWS]).rows}
    assert [(rows[at]["group"], rows[at]["label"]) for at in (0, 4)] == [(0, "spam"), (0, "ham")]


def test_measurements(clean_rows: Clean) -> None:
    assert clean_rows([ROWS]).measurements == {
        "rows_in": 9,
        "kept": 4,
        "merged": 2,
        "quarantined": 3,
        "superseded": 0,
        "groups": 1,
        "near_duplicates": 2,
        "largest_group": 2,
        "labels": {"ham": 3, "spam": 1},
    }


def test_settings_are_obeyed(clean_rows: Clean) -> None:
    alone = clean_rows([ROWS], near_duplicates=None).measurements
    assert (alone["groups"], alone["near_duplicates"], alone["largest_group"]) == (0, 0, 1)
    as_they_came = clean_rows([ROWS], whitespace=False)
    assert (as_they_came.measurements["merged"], as_they_came.measurements["quarantined"]) == (0, 0)
    assert [row["text"] for row in as_they_came.rows] == [text for _, text, _ in ROWS]
    assert as_they_came.groups[1] == as_they_came.groups[2] == 1
    rows = [(0, "cafe\u0301", "a"), (1, "caf\u00e9", "a")]
    assert clean_rows([rows]).measurements["kept"] == 1
    assert clean_rows([rows], unicode=None).measurements["kept"] == 2


def test_only_accepted_rows_count(clean_rows: Clean) -> None:
    nothing: Row = (9, None, None)
    cleaned = clean_rows([[*ROWS[:3], nothing], [], [ROWS[1], *ROWS[3:]]], refused=[3, 4, 5, 9])
    assert [(row["row_id"], row["text"], row["count"]) for row in cleaned.rows] == [
        (0, "Call now to claim your free prize today", 1),
        (1, "see you at home", 3),
        (7, "win cash", 1),
        (8, "lunch?", 1),
    ]
    assert cleaned.groups == {0: 0, 1: 1, 7: 7, 8: 8}
    assert cleaned.measurements["rows_in"] == 6


def test_a_conflict_that_turns_up_later_does_not_take_its_group_apart(clean_rows: Clean) -> None:
    # 1 holds 0 and 2 together; 4 and 5 conflict too, but no kept row is like them.
    rows = [(0, "a b c d", "x"), (1, "b c d e", "x"), (2, "c d e f", "x"), (4, "alone", "x"), (5, "alone", "y")]
    near = {"similarity": 0.6, "ngram": 1}
    cleaned = clean_rows([rows, [(3, "b c d e", "y")]], near_duplicates=near)
    assert cleaned.groups == {0: 0, 2: 0}
    assert cleaned.withheld == [{"row_id": 1, "text": "b c d e", "group": 0}]
    # The kept rows are as they would be without it, and yet what was made of them is not the same.
    without = clean_rows([[(0, "a b c d", "x"), (1, "z", "x"), (3, "z", "y")]], near_duplicates=near)
    with_it = clean_rows([[(0, "a b c d", "x"), (1, "z", "x"), (3, "z", "y")]], near_duplicates=None)
    assert without.digest == with_it.digest
    held = [(0, "a b c d", "x"), (1, "a b c", "x"), (3, "a b c", "y")]
    assert (
        clean_rows([held], near_duplicates=near).digest
        != clean_rows([held], near_duplicates={**near, "similarity": 0.9}).digest
    )


def test_the_group_is_named_after_its_lowest_kept_row(clean_rows: Clean) -> None:
    rows = [(0, "a b c d", "x"), (1, "a b c d", "y"), (2, "b c d e", "x"), (3, "a b c d e", "x")]
    cleaned = clean_rows([rows[::-1]], near_duplicates={"similarity": 0.6, "ngram": 1})
    assert cleaned.groups == {2: 2, 3: 2}
    assert cleaned.withheld == [{"row_id": 0, "text": "a b c d", "group": 2}]


def test_most_rows_decide_where_that_is_wanted(clean_rows: Clean) -> None:
    rows = [*ROWS, (9, "tie", "ham"), (10, "tie", "spam"), (11, "ham", "ham"), (12, "ham", "ham"), (13, "ham", "spam")]
    cleaned = clean_rows([rows], conflicts="majority")
    found = {row["row_id"]: (row["label"], row["count"]) for row in cleaned.rows}
    assert (found[3], found[11]) == (("spam", 2), ("ham", 2))
    assert cleaned.merged == [{"row_id": row, "kept": kept} for row, kept in ((2, 1), (6, 1), (7, 3), (12, 11))]
    told = "the same text has the labels ham: 1 row, spam: "
    assert [(row["row_id"], row["detail"]) for row in cleaned.quarantine] == [
        (5, f"{told}2 rows; spam stays, as in most rows"),
        (9, f"{told}1 row; none stays as in most rows"),
        (10, f"{told}1 row; none stays as in most rows"),
        (13, "the same text has the labels ham: 2 rows, spam: 1 row; ham stays, as in most rows"),
    ]
    assert cleaned.measurements["quarantined"] == 4


def test_the_row_that_stays_need_not_be_the_lowest_of_its_text(clean_rows: Clean) -> None:
    rows = [(0, "a b c d", "x"), (1, "a b c d", "y"), (2, "b c d e", "x"), (3, "a b c d", "y")]
    cleaned = clean_rows([rows], conflicts="majority", near_duplicates={"similarity": 0.6, "ngram": 1})
    assert cleaned.groups == {1: 1, 2: 1}
    assert cleaned.withheld == []


def test_the_newest_row_decides_where_that_is_wanted(clean_rows: Clean) -> None:
    times = {1: "2026-01-02", 2: "2026-01-01T23:30:00-01:00", 3: None, 4: "2025", 5: "2026-01-02T00:29:00Z"}
    rows = [(number, "when", label) for number, label in ((1, "a"), (2, "b"), (3, "c"), (5, "a"))]
    cleaned = clean_rows([rows[:2], rows[2:]], conflicts="newest", newest_by="source", source=times)
    assert [(row["row_id"], row["label"], row["count"]) for row in cleaned.rows] == [(2, "b", 1)]
    assert {row["detail"].partition("; ")[2] for row in cleaned.quarantine} == {"b stays, as in the newest"}
    with pytest.raises(DataError, match="source of row 0{31}4 is no time: 'soon'"):
        clean_rows([[*rows, (4, "when", "b")]], conflicts="newest", newest_by="source", source={**times, 4: "soon"})


def test_empty_tables_have_their_columns(clean_rows: Clean) -> None:
    cleaned = clean_rows([[(0, "a", "x"), (1, "b", "y")]])
    expected = {
        "merged": ["row_id", "kept"],
        "quarantine": ["row_id", "label", "expectation", "detail"],
    }
    for name, columns in expected.items():
        table = pq.read_table(cleaned.folder / f"{name}.parquet")
        assert len(table) == 0
        assert table.schema == pa.schema([(column, pa.string()) for column in columns])
    schema = read_rows(cleaned.folder).schema
    assert schema.names == ["row_id", "text", "label", "count", "group", "source"]
    assert schema.field("count").type == pa.int64()
    assert read_withheld(cleaned.folder).schema == pa.schema(
        [(name, pa.string()) for name in ("row_id", "text", "group")]
    )


def test_nothing_left(clean_rows: Clean) -> None:
    with pytest.raises(DataError, match="no row is left: each of the 2 rows") as caught:
        clean_rows([[(0, "win cash", "spam"), (1, "win  cash", "ham")]])
    assert "for instance 'win cash': the same text has the labels ham: 1 row, spam: 1 row" in str(caught.value)
    assert "`source.columns.label`" in caught.value.fix
    no_rows: list[Row] = []
    for rows in (no_rows, ROWS):
        with pytest.raises(DataError, match="no row to clean: validation accepted none"):
            clean_rows([rows], refused=range(9))


@WHOLE_STEP
@given(LABELLED.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(range(len(rows))))), NEAR, st.data())
def test_whatever_the_shards_the_result_is_that_of_the_rows(
    clean_rows: Clean,
    case: tuple[list[tuple[str, str]], list[int]],
    near_duplicates: dict[str, Any] | None,
    data: st.DataObject,
) -> None:
    labelled, order = case
    expected = resolve([text for text, _ in labelled], [label for _, label in labelled], near_duplicates)
    if not expected.kept:
        return
    rows: list[Row] = [(number, *row) for number, row in enumerate(labelled)]
    cut = data.draw(st.integers(0, len(rows)))
    again = data.draw(st.lists(st.sampled_from(rows), max_size=3))
    shuffled = [rows[at] for at in order]
    one = clean_rows([rows], near_duplicates=near_duplicates)
    other = clean_rows([[*shuffled[:cut]], [*shuffled[cut:], *again]], near_duplicates=near_duplicates)
    assert (other.digest, other.measurements) == (one.digest, one.measurements)
    for cleaned in (one, other):
        assert {row["row_id"]: row["count"] for row in cleaned.rows} == expected.kept
        assert {row["row_id"]: row["kept"] for row in cleaned.merged} == expected.merged
        assert {row["row_id"] for row in cleaned.quarantine} == expected.conflicting
        assert {row["row_id"]: row["group"] for row in [*cleaned.rows, *cleaned.withheld]} == expected.group


def test_a_new_shard_is_all_that_is_prepared(clean_rows: Clean, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[int] = []

    def counting(prepare: Callable[..., Measurements]) -> Callable[..., Measurements]:
        def count(build: Build, **arguments: Any) -> Measurements:
            measured = prepare(build, **arguments)
            prepared.append(measured["rows"])
            return measured

        return count

    monkeypatch.setattr(shard, "prepare", counting(shard.prepare))
    clean_rows([ROWS[:5], ROWS[5:]])
    clean_rows([ROWS[5:], [(10, "new", "ham")], ROWS[:5]])
    assert sorted(prepared[:2]) == [4, 5], "two are prepared at the same time"
    assert prepared[2:] == [1]
    # What is decided in the global pass prepares nothing.
    clean_rows([ROWS[:5], ROWS[5:]], conflicts="majority", refused=[1])
    assert sorted(prepared[:2]) == [4, 5], "two are prepared at the same time"
    assert prepared[2:] == [1]
    clean_rows([ROWS[:5]], unicode=None)
    assert prepared[2:] == [1, 5]


def test_of_rows_with_one_id_the_newest_counts(clean_rows: Clean) -> None:
    rows: list[Row] = [
        (0, "the lamp is dim", "ham"),
        (1, "the lamp is bright now", "spam"),
        (2, "a text of its own", "ham"),
        (3, "another one", "ham"),
    ]
    times = {0: "2026-01-01", 1: "2026-02-01", 2: "2026-01-01", 3: "2026-01-01"}
    number = {0: "17", 1: " 17", 2: "18"}
    given: dict[str, Any] = {"id": "number", "newest_by": "source", "source": times, "number": number}
    cleaned = clean_rows([rows], **given)
    assert [row["row_id"] for row in cleaned.rows] == [1, 2, 3]
    (lost,) = cleaned.quarantine
    assert (lost["row_id"], lost["text"], lost["label"]) == (0, "the lamp is dim", "ham")
    assert lost["expectation"] == "newest_of_its_id"
    assert lost["detail"] == "2 rows have the id 17; that of 2026-02-01T00:00:00+00:00 counts"
    measured = cleaned.measurements
    assert [measured[name] for name in ("rows_in", "kept", "merged", "quarantined", "superseded")] == [4, 3, 0, 1, 1]
    # Where the rows lie does not matter, and a row of the frozen test set is superseded by none.
    assert clean_rows([rows[:1], rows[1:]], **given).rows == cleaned.rows
    assert [row["row_id"] for row in clean_rows([rows], frozen=[0], **given).rows] == [0, 1, 2, 3]


def test_a_text_that_was_superseded_still_holds_its_near_duplicates_together(clean_rows: Clean) -> None:
    # The first text is near the second and the third, which are not near each other.
    rows: list[Row] = [
        (0, "a b c d e f", "ham"),
        (1, "a b c d e g h", "ham"),
        (2, "z y c d e f", "ham"),
        (3, "q", "ham"),
    ]
    near = {"similarity": 0.5, "ngram": 1}
    together = clean_rows([rows], near_duplicates=near)
    times = {row[0]: f"2026-01-0{row[0] + 1}" for row in rows}
    corrected = clean_rows(
        [rows], near_duplicates=near, id="number", newest_by="source", source=times, number={0: "1", 3: "1"}
    )
    assert together.groups[1] == together.groups[2]
    assert [row["row_id"] for row in corrected.rows] == [1, 2, 3]
    assert corrected.groups[1] == corrected.groups[2] == 1


def test_the_normal_form_of_a_text_in_quarantine_that_holds_others_together_is_content(clean_rows: Clean) -> None:
    words = "one two three four five six seven"
    rows = [(1, words, "a"), (2, f"{words} cafe\u0301", "a"), (3, f"{words} cafe\u0301", "b")]
    composed, as_it_came = (clean_rows([rows], unicode=unicode) for unicode in ("NFC", None))
    assert [row["text"] for row in composed.rows] == [row["text"] for row in as_it_came.rows] == [words]
    assert composed.withheld[0]["text"] != as_it_came.withheld[0]["text"]
    assert composed.digest != as_it_came.digest
