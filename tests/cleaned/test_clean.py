from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.cleaned.clean import clean, resolve
from assets.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from assets.store.step import Build, Measurements
    from tests.conftest import MakeBuild

Row = tuple[str, str, str]
DEFAULTS: dict[str, Any] = {
    "unicode": "NFC",
    "whitespace": True,
    "near_duplicates": {"similarity": 0.6, "ngram": 3},
}
ROWS: list[Row] = [
    ("r0", "Call now to claim your free prize today", "spam"),
    ("r1", "see you  at home", "ham"),
    ("r2", "see you at home ", "ham"),
    ("r3", "win cash", "spam"),
    ("r4", "call NOW to claim your free prize tonight", "ham"),
    ("r5", " win cash", "ham"),
    ("r6", "see you at home", "ham"),
    ("r7", "win\u00a0cash", "spam"),
    ("r8", "lunch?", "ham"),
]

LABELLED = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcde"), min_size=1, max_size=6).map(" ".join), st.sampled_from(["ham", "spam"])
    ),
    max_size=20,
)
NEAR = st.one_of(
    st.none(), st.fixed_dictionaries({"similarity": st.sampled_from([0.3, 0.6, 1.0]), "ngram": st.integers(1, 3)})
)


@pytest.fixture
def run(make_build: MakeBuild, tmp_path: Path) -> Callable[..., tuple[Build, Measurements]]:
    """Clean rows that are given as (row_id, text, label); with a further column `source`."""

    def clean_rows(rows: list[Row], **arguments: Any) -> tuple[Build, Measurements]:
        folder = tmp_path / "validated"
        folder.mkdir(exist_ok=True)
        columns = {
            "row_id": [row[0] for row in rows],
            "text": [row[1] for row in rows],
            "label": [row[2] for row in rows],
            "source": [f"from {row[0]}" for row in rows],
        }
        pq.write_table(
            pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}),
            folder / "rows.parquet",
        )
        build = make_build(inputs={"validated": folder})
        return build, clean(build, **{**DEFAULTS, **arguments})

    return clean_rows


def read(build: Build, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(build.content / f"{name}.parquet").to_pylist()
    return rows


def test_equal_texts_are_merged_into_the_lowest_row(run: Callable[..., tuple[Build, Measurements]]) -> None:
    build, _ = run(ROWS)
    rows = {row["row_id"]: row for row in read(build, "rows")}
    assert list(rows) == ["r0", "r1", "r4", "r8"]
    assert rows["r1"] == {
        "row_id": "r1",
        "text": "see you at home",
        "label": "ham",
        "count": 3,
        "group": "r1",
        "source": "from r1",
    }
    assert read(build, "merged") == [{"row_id": "r2", "kept": "r1"}, {"row_id": "r6", "kept": "r1"}]


def test_conflicting_labels_go_to_quarantine_as_they_came(run: Callable[..., tuple[Build, Measurements]]) -> None:
    build, _ = run(ROWS)
    detail = "the same text has the labels ham: 1 row, spam: 2 rows"
    assert read(build, "quarantine") == [
        {"row_id": row_id, "text": text, "label": label, "expectation": "conflicting_labels", "detail": detail}
        for row_id, text, label in ROWS
        if row_id in {"r3", "r5", "r7"}
    ]


def test_near_duplicates_with_different_labels_are_grouped(run: Callable[..., tuple[Build, Measurements]]) -> None:
    build, _ = run(ROWS)
    groups = {row["row_id"]: (row["group"], row["label"]) for row in read(build, "rows")}
    assert groups["r0"] == ("r0", "spam")
    assert groups["r4"] == ("r0", "ham")


def test_measurements(run: Callable[..., tuple[Build, Measurements]]) -> None:
    _, measurements = run(ROWS)
    assert measurements == {
        "rows_in": 9,
        "kept": 4,
        "merged": 2,
        "quarantined": 3,
        "groups": 1,
        "near_duplicates": 2,
        "largest_group": 2,
        "labels": {"ham": 3, "spam": 1},
    }


def test_settings_are_obeyed(run: Callable[..., tuple[Build, Measurements]]) -> None:
    _, measurements = run(ROWS, near_duplicates=None)
    assert (measurements["groups"], measurements["near_duplicates"], measurements["largest_group"]) == (0, 0, 1)
    build, measurements = run(ROWS, whitespace=False)
    assert (measurements["merged"], measurements["quarantined"]) == (0, 0)
    assert [row["text"] for row in read(build, "rows")] == [text for _, text, _ in ROWS]
    rows = [("r0", "cafe\u0301", "a"), ("r1", "caf\u00e9", "a")]
    assert run(rows)[1]["kept"] == 1
    assert run(rows, unicode=None)[1]["kept"] == 2


def test_a_conflict_that_turns_up_later_does_not_take_its_group_apart(
    run: Callable[..., tuple[Build, Measurements]],
) -> None:
    # r1 holds r0 and r2 together; r4 and r5 conflict too, but no kept row is like them.
    rows = [
        ("r0", "a b c d", "x"),
        ("r1", "b c d e", "x"),
        ("r2", "c d e f", "x"),
        ("r4", "alone", "x"),
        ("r5", "alone", "y"),
    ]
    near = {"similarity": 0.6, "ngram": 1}
    build, _ = run([*rows, ("r3", "b c d e", "y")], near_duplicates=near)
    assert {row["row_id"]: row["group"] for row in read(build, "rows")} == {"r0": "r0", "r2": "r0"}
    assert read(build, "withheld") == [{"row_id": "r1", "text": "b c d e", "group": "r0"}]


def test_the_group_is_named_after_its_lowest_kept_row(run: Callable[..., tuple[Build, Measurements]]) -> None:
    rows = [("r0", "a b c d", "x"), ("r1", "a b c d", "y"), ("r2", "b c d e", "x"), ("r3", "a b c d e", "x")]
    build, _ = run(rows, near_duplicates={"similarity": 0.6, "ngram": 1})
    assert [(row["row_id"], row["group"]) for row in read(build, "rows")] == [("r2", "r2"), ("r3", "r2")]
    assert read(build, "withheld") == [{"row_id": "r0", "text": "a b c d", "group": "r2"}]


def test_empty_tables_have_their_columns(run: Callable[..., tuple[Build, Measurements]]) -> None:
    build, _ = run([("r0", "a", "x"), ("r1", "b", "y")])
    expected = {
        "merged": ["row_id", "kept"],
        "quarantine": ["row_id", "text", "label", "expectation", "detail"],
        "withheld": ["row_id", "text", "group"],
    }
    for name, columns in expected.items():
        table = pq.read_table(build.content / f"{name}.parquet")
        assert len(table) == 0
        assert table.schema == pa.schema([(column, pa.string()) for column in columns])
    schema = pq.read_schema(build.content / "rows.parquet")
    assert schema.names == ["row_id", "text", "label", "count", "group", "source"]
    assert schema.field("count").type == pa.int64()


def test_the_order_of_the_rows_does_not_change_a_byte(run: Callable[..., tuple[Build, Measurements]]) -> None:
    (one, first), (other, second) = run(ROWS), run(ROWS[:3:-1] + ROWS[:4])
    assert first == second
    names = sorted(path.name for path in one.content.iterdir())
    assert names == ["merged.parquet", "quarantine.parquet", "rows.parquet", "withheld.parquet"]
    for name in names:
        assert (one.content / name).read_bytes() == (other.content / name).read_bytes()


def test_nothing_left(run: Callable[..., tuple[Build, Measurements]]) -> None:
    rows = [("r0", "win cash", "spam"), ("r1", "win  cash", "ham")]
    with pytest.raises(DataError, match="no row is left: each of the 2 rows") as caught:
        run(rows)
    assert "for instance 'win cash': the same text has the labels ham: 1 row, spam: 1 row" in str(caught.value)
    assert "`source.columns.label`" in caught.value.fix
    with pytest.raises(DataError, match="no row to clean: validation accepted none"):
        run([])


@settings(deadline=None, derandomize=True)
@given(LABELLED, NEAR)
def test_every_row_is_kept_or_merged_or_quarantined(
    rows: list[tuple[str, str]], near_duplicates: dict[str, Any] | None
) -> None:
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    overlay = resolve(texts, labels, near_duplicates)
    everyone = [*overlay.kept, *overlay.merged, *overlay.conflicting]
    assert sorted(everyone) == list(range(len(rows)))
    assert sum(overlay.kept.values()) == len(overlay.kept) + len(overlay.merged)
    labels_of = {text: {label for one, label in rows if one == text} for text in texts}
    assert all((len(labels_of[text]) > 1) == (row in overlay.conflicting) for row, text in enumerate(texts))
    for row, kept in overlay.merged.items():
        assert (texts[row], labels[row]) == (texts[kept], labels[kept])
        assert kept == texts.index(texts[row])


@settings(deadline=None, derandomize=True)
@given(LABELLED, NEAR)
def test_a_group_is_named_after_its_lowest_row(
    rows: list[tuple[str, str]], near_duplicates: dict[str, Any] | None
) -> None:
    overlay = resolve([text for text, _ in rows], [label for _, label in rows], near_duplicates)
    assert set(overlay.kept) <= set(overlay.group)
    sizes = Counter(overlay.group[row] for row in overlay.kept)
    for name in sizes:
        assert min(row for row in overlay.kept if overlay.group[row] == name) == name
    assert set(overlay.group.values()) == set(sizes)
