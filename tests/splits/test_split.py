from __future__ import annotations

import json
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from assets.errors import DataError
from assets.splits.rule import SIDES, sides_of_groups
from assets.splits.split import split

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import MakeBuild
    from tests.splits.conftest import CleanedRow

SETTINGS: dict[str, Any] = {
    "labels": ["spam", "ham"],
    "validation": 0.2,
    "test": 0.3,
    "salt": "",
    "min_rows_per_label": 2,
}
ROWS: list[CleanedRow] = [
    (f"r{at:02}", f"message {at}", ("ham", "spam")[at % 3 == 0], f"r{at - at % 2:02}") for at in range(60)
]


def expected_sides(rows: list[CleanedRow]) -> dict[str, str]:
    groups = sides_of_groups(((group, text) for _, text, _, group in rows), salt="", validation=0.2, test=0.3)
    return {row_id: groups[group] for row_id, _, _, group in rows}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_dataset_holds_each_row_on_its_side(make_build: MakeBuild, cleaned: Callable[..., Path]) -> None:
    import datasets

    build = make_build(inputs={"cleaned": cleaned(ROWS)})
    split(build, **SETTINGS)
    loaded = datasets.load_from_disk(build.content / "dataset")
    assert list(loaded) == ["train", "validation", "test"]
    expected = expected_sides(ROWS)
    for side, dataset in loaded.items():
        assert dataset.column_names == ["row_id", "text", "label", "group", "source"]
        assert dataset.features["label"] == datasets.ClassLabel(names=["spam", "ham"])
        assert {dataset.features[name].dtype for name in ("row_id", "text", "group", "source")} == {"string"}
        rows = [
            (row["row_id"], row["text"], dataset.features["label"].int2str(row["label"]), row["group"])
            for row in dataset
        ]
        assert rows == [row for row in ROWS if expected[row[0]] == side]
        for row in dataset:
            assert row["source"] == (f"from {row['row_id']}" if int(row["row_id"][1:]) % 2 else None)
        assert dataset.split == side


def test_the_table_of_sides_agrees_with_the_dataset(make_build: MakeBuild, cleaned: Callable[..., Path]) -> None:
    build = make_build(inputs={"cleaned": cleaned(ROWS)})
    split(build, **SETTINGS)
    sides = pq.read_table(build.content / "sides.parquet")
    assert sides.column_names == ["row_id", "group", "side"]
    expected = expected_sides(ROWS)
    assert sides.to_pylist() == [
        {"row_id": row_id, "group": group, "side": expected[row_id]} for row_id, _, _, group in ROWS
    ]


def test_measurements(make_build: MakeBuild, cleaned: Callable[..., Path]) -> None:
    measurements = split(make_build(inputs={"cleaned": cleaned(ROWS)}), **SETTINGS)
    expected = expected_sides(ROWS)
    rows = Counter(expected.values())
    labels = Counter((expected[row_id], label) for row_id, _, label, _ in ROWS)
    assert measurements == {
        "rows": {side: rows[side] for side in SIDES},
        "shares": {side: rows[side] / 60 for side in SIDES},
        "labels": {side: {label: labels[side, label] for label in ("spam", "ham")} for side in SIDES},
        "groups_across_sides": 0,
        "texts_across_sides": 0,
    }


def test_builds_are_equal_byte_for_byte_however_the_rows_lie_in_the_file(
    make_build: MakeBuild, cleaned: Callable[..., Path]
) -> None:
    one = make_build(inputs={"cleaned": cleaned(ROWS)})
    other = make_build(inputs={"cleaned": cleaned(ROWS[:20:-1] + ROWS[:21])})
    table = pq.read_table(other.inputs["cleaned"] / "rows.parquet")
    pq.write_table(table, other.inputs["cleaned"] / "rows.parquet", row_group_size=7)
    assert split(one, **SETTINGS) == split(other, **SETTINGS)
    assert files(one.content) == files(other.content)
    assert {name for name in files(one.content) if name.startswith("dataset/test")} == {
        "dataset/test/data-00000-of-00001.arrow",
        "dataset/test/dataset_info.json",
        "dataset/test/state.json",
    }


def test_fingerprints_follow_the_values_alone(make_build: MakeBuild, cleaned: Callable[..., Path]) -> None:
    def fingerprint(rows: list[CleanedRow], **arguments: Any) -> str:
        build = make_build(inputs={"cleaned": cleaned(rows)})
        split(build, **{**SETTINGS, **arguments})
        state = json.loads((build.content / "dataset" / "train" / "state.json").read_bytes())
        return str(state["_fingerprint"])

    changed = [(*row[:2], "spam", row[3]) if row[0] == "r04" else row for row in ROWS]
    assert expected_sides(ROWS)["r04"] == "train"
    assert fingerprint(ROWS) == "53c0b1a1cec7fe88"
    assert len({fingerprint(ROWS), fingerprint(changed), fingerprint(ROWS, labels=["ham", "spam"])}) == 3


def test_sides_depend_on_salt_and_text_but_not_on_the_label(
    make_build: MakeBuild, cleaned: Callable[..., Path]
) -> None:
    swapped = [(row_id, text, {"ham": "spam", "spam": "ham"}[label], group) for row_id, text, label, group in ROWS]
    builds = [make_build(inputs={"cleaned": cleaned(rows)}) for rows in (ROWS, swapped, ROWS)]
    for build, salt in zip(builds, ("", "", "pepper"), strict=True):
        split(build, **{**SETTINGS, "salt": salt, "min_rows_per_label": 1})
    plain, relabelled, salted = (files(build.content)["sides.parquet"] for build in builds)
    assert plain == relabelled
    assert plain != salted


def test_a_text_in_quarantine_still_counts_in_its_group(make_build: MakeBuild, cleaned: Callable[..., Path]) -> None:
    expected = expected_sides(ROWS)
    row_id, _, _, group = next(row for row in ROWS if expected[row[0]] == "test")
    train_text = next(
        text
        for text in map(str, range(99))
        if sides_of_groups([("g", text)], salt="", validation=0.2, test=0.3) == {"g": "train"}
    )
    build = make_build(inputs={"cleaned": cleaned(ROWS, withheld=[("q", train_text, group)])})
    measurements = split(build, **{**SETTINGS, "min_rows_per_label": 1})
    sides = {row["row_id"]: row["side"] for row in pq.read_table(build.content / "sides.parquet").to_pylist()}
    assert sides[row_id] == "train"
    assert "q" not in sides
    assert sum(measurements["rows"].values()) == len(ROWS)


def test_it_is_quiet_and_needs_no_network(
    make_build: MakeBuild,
    cleaned: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from datasets.utils import are_progress_bars_disabled

    def refuse(*_: object) -> None:
        raise AssertionError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = are_progress_bars_disabled()
    split(make_build(inputs={"cleaned": cleaned(ROWS)}), **SETTINGS)
    assert capfd.readouterr() == ("", "")
    assert are_progress_bars_disabled() is before


def test_a_label_that_is_too_rare_on_a_side(make_build: MakeBuild, cleaned: Callable[..., Path]) -> None:
    rows = [*ROWS, ("r90", "a rare one", "rare", "r90")]
    assert expected_sides(rows)["r90"] == "train"
    with pytest.raises(DataError) as caught:
        split(make_build(inputs={"cleaned": cleaned(rows)}), **{**SETTINGS, "labels": ["ham", "rare", "spam"]})
    assert str(caught.value) == (
        "splits: too few rows to split: each side must have at least 2 of each label, but "
        "rare has 1 in train, 0 in validation, 0 in test\n"
        "    label       train  validation        test\n"
        "    ham            36           2           2\n"
        "    rare            1           0           0\n"
        "    spam           16           2           2\n"
        "    all            53           4           4\n"
        "  fix: add rows of rare, or take rare out of `task.labels`"
    )


def test_the_fix_names_the_limit_that_the_rows_would_meet(make_build: MakeBuild, cleaned: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="at least 3 of each label, but spam has 2 in validation") as caught:
        split(make_build(inputs={"cleaned": cleaned(ROWS)}), **{**SETTINGS, "min_rows_per_label": 3})
    assert "lower `splits.min_rows_per_label` (now 3) to 2" in caught.value.fix
    # Two labels are the least that a classifier needs.
    assert "task.labels" not in caught.value.fix


def test_an_empty_side(make_build: MakeBuild, cleaned: Callable[..., Path]) -> None:
    rows = [row for row in ROWS if expected_sides(ROWS)[row[0]] != "test"]
    with pytest.raises(DataError, match="spam has 0 in test; ham has 0 in test") as caught:
        split(make_build(inputs={"cleaned": cleaned(rows)}), **{**SETTINGS, "min_rows_per_label": 1})
    assert caught.value.fix.startswith("add rows of spam, ham, or change the shares")
    assert "min_rows_per_label" not in caught.value.fix


def test_one_label_only(make_build: MakeBuild, cleaned: Callable[..., Path]) -> None:
    rows = [row for row in ROWS if row[2] == "ham"]
    build = make_build(inputs={"cleaned": cleaned(rows)})
    with pytest.raises(DataError, match="only one label occurs, ham; a classifier needs two") as caught:
        split(build, **SETTINGS)
    assert "    spam            0           0           0\n" in str(caught.value)
    assert "`source.columns.label`" in caught.value.fix
    assert list(build.content.iterdir()) == []
