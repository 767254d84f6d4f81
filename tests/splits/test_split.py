from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from assets.errors import DataError
from assets.splits.rows import read_side, read_sides
from assets.splits.sides import SIDES
from assets.splits.split import split
from assets.store.digests import digest_content
from assets.store.step import Measurements
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.splits.conftest import Batch, Clean, Row, row_id
from tests.splits.plain import sides_of_groups

SETTINGS: dict[str, Any] = {
    "labels": ["spam", "ham"],
    "validation": 0.2,
    "test": 0.3,
    "salt": "",
    "min_rows_per_label": 2,
    "group_by": None,
    "by_time": None,
    "frozen": None,
}
# Pairs of near-duplicates: all of their words but one are the same.
ROWS: list[Row] = [
    (f"pair{at // 2} of this{at // 2} and that{at // 2} item{at}", ("ham", "spam")[at % 3 == 0], f"from {at % 7}")
    for at in range(60)
]


def group(row: Row) -> str:
    """Name of a row's group."""
    return min(row_id(other) for other in ROWS if other[0].split()[0] == row[0].split()[0])


def expected_sides(rows: Sequence[Row], **settings: Any) -> dict[str, str]:
    """From row id to side."""
    given = {name: {**SETTINGS, **settings}[name] for name in ("salt", "validation", "test")}
    groups = sides_of_groups(((row[0].split()[0], row[0]) for row in rows), **given)
    return {row_id(row): groups[row[0].split()[0]] for row in rows}


class Made(NamedTuple):
    folder: Path
    measurements: Measurements

    @property
    def sides(self) -> dict[str, str]:
        table = read_sides(self.folder)
        return dict(zip(table["row_id"].to_pylist(), table["side"].to_pylist(), strict=True))


@pytest.fixture
def make(make_build: MakeBuild, clean: Clean, store: Store) -> Any:
    """`make(rows)` runs the step on rows in two shards, or on `batches`, and publishes what it writes."""

    def run(
        rows: Sequence[Row] = ROWS,
        *,
        batches: Sequence[Batch] | None = None,
        frozen_rows: Sequence[Row] | None = None,
        **settings: Any,
    ) -> Made:
        batches = batches or [rows[len(rows) // 3 :], rows[: len(rows) // 3]]
        build = make_build({"cleaned": clean(batches, frozen=frozen_rows)})
        measurements = split(build, **{**SETTINGS, **settings})
        return Made(store.open("objects", store.publish("objects", build.content)), measurements)

    return run


def test_each_side_has_its_rows_in_the_order_of_their_identifiers(make: Any) -> None:
    made = make()
    expected = expected_sides(ROWS)
    for side in SIDES:
        rows = sorted((row for row in ROWS if expected[row_id(row)] == side), key=row_id)
        table = read_side(made.folder, side)
        assert {str(kind) for kind in table.schema.types} == {"string"}
        assert table.to_pylist() == [
            {"row_id": row_id(row), "text": row[0], "label": row[1], "group": group(row), "source": row[2]}
            for row in rows
        ]


def test_the_sides_of_all_rows(make: Any) -> None:
    expected = expected_sides(ROWS)
    assert read_sides(make().folder).to_pylist() == [
        {"row_id": row_id(row), "group": group(row), "side": expected[row_id(row)]} for row in sorted(ROWS, key=row_id)
    ]


def test_measurements(make: Any) -> None:
    expected = expected_sides(ROWS)
    rows = Counter(expected.values())
    labels = Counter((expected[row_id(row)], row[1]) for row in ROWS)
    assert make().measurements == {
        "rows": {side: rows[side] for side in SIDES},
        "shares": {side: rows[side] / 60 for side in SIDES},
        "labels": {side: {label: labels[side, label] for label in ("spam", "ham")} for side in SIDES},
        "effective_rows": 60**2 / (30 * 2**2),
        "groups_across_sides": 0,
        "texts_across_sides": 0,
    }


def test_what_is_digested(make_build: MakeBuild, clean: Clean) -> None:
    def content(batches: Sequence[Batch], similarity: float | None = 0.6, **settings: Any) -> str:
        build = make_build({"cleaned": clean(batches, similarity)})
        split(build, **{**SETTINGS, "min_rows_per_label": 1, **settings})
        assert json.loads((build.content / "rows.json").read_bytes())["rows"] == len(set().union(*batches))
        return digest_content(build.content)

    as_it_was = content([ROWS])
    assert content([ROWS[:20:-1], [], ROWS[10:21], ROWS[:15]]) == as_it_was
    swapped = [(text, {"ham": "spam", "spam": "ham"}[label], source) for text, label, source in ROWS]
    assert len({as_it_was, content([swapped]), content([ROWS], salt="pepper"), content([ROWS], test=0.4)}) == 4
    # Rows that are on the side of their group anyway.
    alone = [row for row in ROWS if expected_sides([row])[row_id(row)] == expected_sides(ROWS)[row_id(row)]]
    assert content([alone]) != content([alone], similarity=None)


def test_a_text_in_another_normal_form_is_another_row(make_build: MakeBuild, clean: Clean) -> None:
    def content(unicode: str | None) -> tuple[str, Measurements]:
        build = make_build({"cleaned": clean([rows], unicode=unicode)})
        measurements = split(build, **SETTINGS)
        return digest_content(build.content), measurements

    sides, alone = expected_sides(ROWS), {name: side for row in ROWS for name, side in expected_sides([row]).items()}
    # Another row holds its group in train, whatever its own position.
    text = next(row[0] for row in ROWS if (alone[row_id(row)], sides[row_id(row)]) == ("test", "train"))
    rows = [(found.replace("item", "ｉtem") if found == text else found, label, None) for found, label, _ in ROWS]
    (one, measured), (other, as_before) = content(None), content("NFKC")
    assert measured == as_before
    assert one != other


def test_positions_are_found_once_for_a_shard(make_build: MakeBuild, clean: Clean, store: Store) -> None:
    def records() -> set[Path]:
        return set((Path(store.url) / "records").rglob("*.json"))

    before, after = (make_build({"cleaned": clean(batches)}) for batches in ([ROWS], [ROWS[:5], ROWS]))
    split(before, **SETTINGS)
    known = records()
    split(after, **SETTINGS)
    assert len(records() - known) == 1


def test_sides_depend_on_salt_and_text_but_not_on_the_label(make: Any) -> None:
    swapped = [(text, {"ham": "spam", "spam": "ham"}[label], source) for text, label, source in ROWS]

    def sides(rows: Sequence[Row], salt: str) -> dict[str, str]:
        folder = make(rows, salt=salt, min_rows_per_label=1).folder
        return {text: side for side in SIDES for text in read_side(folder, side)["text"].to_pylist()}

    assert sides(ROWS, "") == sides(swapped, "") != sides(ROWS, "pepper")


def test_a_text_in_quarantine_still_counts_in_its_group(make: Any) -> None:
    expected = expected_sides(ROWS)
    row = next(row for row in ROWS if expected[row_id(row)] == "test")
    held = next(
        text
        for text in (f"{row[0]} {number}" for number in range(99))
        if sides_of_groups([("g", text)], salt="", validation=0.2, test=0.3) == {"g": "train"}
    )
    withheld: list[Row] = [(held, "ham", None), (held, "spam", None)]
    made = make(batches=[ROWS, withheld], min_rows_per_label=1)
    assert made.sides[row_id(row)] == "train"
    assert made.sides.keys() == set(map(row_id, ROWS))
    assert sum(made.measurements["rows"].values()) == len(ROWS)


def test_a_label_that_is_too_rare_on_a_side(make: Any) -> None:
    rows = [*ROWS, ("a rare one", "rare", None)]
    assert expected_sides(rows)[row_id(rows[-1])] == "train"
    with pytest.raises(DataError) as caught:
        make(rows, labels=["ham", "rare", "spam"])
    assert str(caught.value) == (
        "splits: too few rows to split: each side must have at least 2 of each label, but "
        "rare has 1 in train, 0 in validation, 0 in test\n"
        "    label       train  validation        test\n"
        "    ham            36           2           2\n"
        "    rare            1           0           0\n"
        "    spam           16           2           2\n"
        "    all            53           4           4\n"
        "  fix: add rows of rare until each has about 23 texts that are no near-duplicates (by the shares, so many "
        "have 2 on each side with 95% certainty), or take rare out of `task.labels`"
    )


def test_the_fix_names_the_limit_that_the_rows_would_meet(make: Any) -> None:
    with pytest.raises(DataError, match="at least 3 of each label, but spam has 2 in validation") as caught:
        make(min_rows_per_label=3)
    assert "lower `splits.min_rows_per_label` (now 3) to 2" in caught.value.fix
    # Two labels are the least that a classifier needs.
    assert "task.labels" not in caught.value.fix


def test_an_empty_side(make: Any) -> None:
    rows = [row for row in ROWS if expected_sides(ROWS)[row_id(row)] != "test"]
    with pytest.raises(DataError, match="spam has 0 in test; ham has 0 in test") as caught:
        make(rows, min_rows_per_label=1)
    assert caught.value.fix.startswith("add rows of spam, ham, or change the shares")
    assert "min_rows_per_label" not in caught.value.fix


def test_one_label_only(make_build: MakeBuild, clean: Clean) -> None:
    build = make_build({"cleaned": clean([[row for row in ROWS if row[1] == "ham"]])})
    with pytest.raises(DataError, match="only one label occurs, ham; a classifier needs two") as caught:
        split(build, **SETTINGS)
    assert "    spam            0           0           0\n" in str(caught.value)
    assert "`source.columns.label`" in caught.value.fix
    assert list(build.content.iterdir()) == []


TEST, TRAIN, HELD = "fern", "moss", "held"
"""Texts on the test side, in train, and anywhere."""


@pytest.mark.parametrize(
    ("rows", "side"),
    [
        ([(TEST, "ham", "ann"), (TRAIN, "ham", "bob")], "test"),
        ([(TEST, "ham", "ann"), (TRAIN, "ham", "ann")], "train"),
        ([(TEST, "ham", " "), (TRAIN, "ham", " ")], "test"),
        ([(TEST, "ham", None), (TRAIN, "ham", None)], "test"),
        ([(TEST, "ham", "ann"), (TEST, "ham", "bob"), (TRAIN, "ham", "bob")], "train"),
        ([(TEST, "ham", "ann"), (HELD, "ham", "ann"), (HELD, "spam", "bob"), (TRAIN, "ham", "bob")], "train"),
    ],
    ids=["two values", "one value", "blank", "none", "through a merged row", "through rows in quarantine"],
)
def test_rows_with_one_value_are_on_one_side(make: Any, rows: list[Row], side: str) -> None:
    unlike = [(text, label, None) for text, label, _ in ROWS]
    made = make(batches=[unlike[:30], rows[1:], [*rows[:1], *unlike[30:]]], group_by="source")
    found = {row["text"]: (side, row["group"]) for side in SIDES for row in read_side(made.folder, side).to_pylist()}
    assert (found[TEST][0], found[TRAIN][0]) == (side, "train")
    assert made.measurements["values_across_sides"] == 0
    if side == "train":
        kept = min(row_id(row) for row in rows if row[0] == TEST), row_id(rows[-1])
        assert {found[TEST][1], found[TRAIN][1]} == {min(kept)}


def test_a_column_that_holds_most_rows_together(make: Any) -> None:
    rows = [(text, label, "all") for text, label, _ in ROWS]
    with pytest.raises(DataError, match="spam has 0 in validation, 0 in test") as caught:
        make(rows, group_by="source")
    assert "leave out `splits.group_by` (now source)" in caught.value.fix
