"""The step's function, with a champion whose answers are made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.evaluation import batch as evaluation
from assets.quality import CHECK, STEP
from assets.quality.measure import measure
from assets.store.step import Build, Measurements, Observation
from assets.store.store import Store
from assets.store.tables import read_tables, write_table
from tests.conftest import MakeBuild
from tests.release.material import write_model
from tests.tiny import make_object, make_splits

LABELS = ("ham", "spam")
Measure = Callable[..., tuple[Build, Measurements]]
asked: list[list[str]] = []


def answer(build: Build, *, labels: Sequence[str]) -> Measurements:
    """A model that is wrong about every text that says so."""
    rows = read_tables([build.inputs["rows"]], "rows.feather")
    assert (build.inputs["evaluation"] / "calibration.json").is_file(), "it answers as its evaluation did"
    asked.append(rows["text"].to_pylist())
    said = [
        labels[1 - labels.index(label)] if text.startswith("hard") else label
        for text, label in zip(rows["text"].to_pylist(), rows["label"].to_pylist(), strict=True)
    ]
    table = pa.table({"row_id": rows["row_id"], "label": rows["label"], "predicted": said})
    write_table(build.content / "answers.feather", table)
    return {}


def texts(hard: Sequence[float], rows: int = 20) -> list[tuple[str, str]]:
    """Batches of texts, a share of each of which is too hard for the champion."""
    return [
        (f"{'hard' if at < share * rows else 'easy'} {number} {at}", LABELS[at % 2])
        for number, share in enumerate(hard)
        for at in range(rows)
    ]


@pytest.fixture
def run(make_build: MakeBuild, store: Store, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """`run([0.1, 0.5])`: in two batches of 20 rows so many are too hard for the champion, which had 20 others."""
    monkeypatch.setattr(evaluation, "answer", answer)
    asked.clear()

    def seen(digests: Sequence[Path], *, lost: bool = False) -> Observation:
        names = tuple(path.name for path in digests)
        return Observation("input", "", "", objects=() if lost else names, lost=names if lost else ())

    def measured(
        hard: Sequence[float], *, champion: bool = True, lost: str = "", knows: Sequence[str] = LABELS, **changed: Any
    ) -> tuple[Build, Measurements]:
        rows = texts([0, *hard])
        all_splits = [make_splits(store, rows[:end]) for end in range(20, len(rows) + 1, 20)]
        with store.staged() as folder:
            model = store.open("objects", store.publish("objects", write_model(folder, knows)))
        named = {
            "champion": [model],
            "champion_evaluation": [
                store.open("objects", make_object(store, {"calibration.json": {"temperature": 2.0}}))
            ],
            "champion_splits": all_splits[:1],
            "later_splits": all_splits[1:-1],
        }
        build = make_build(
            inputs={"splits": all_splits[-1]},
            externals={name: seen(found if champion else [], lost=name == lost) for name, found in named.items()},
            stored=lambda digest: store.open("objects", digest),
        )
        given = {"metric": "accuracy", "floor": 0.8, "batches": 5, "failing": 3, "min_rows": 10, **changed}
        return build, measure(build, labels=LABELS, **given)

    return measured


def values(measured: Measurements) -> list[float]:
    return [each["value"] for each in measured["batches"]]


def test_each_batch_is_scored_with_its_interval(run: Measure) -> None:
    build, measured = run([0.1, 0.5])
    assert values(measured) == [0.9, 0.5]
    newest = measured["batches"][-1]
    assert (newest["rows"], newest["scored"], newest["below"]) == (20, 20, True)
    assert newest["low"] < 0.5 < newest["high"]
    assert (measured["below"], measured["alarm"]) == (1, False)
    assert json.loads((build.content / "quality.json").read_bytes()) == measured
    later, now = build.externals["later_splits"].objects, build.digests["splits"]
    assert measured["seen"] == {"splits": now, "before": [*later], "after": [*later, now]}
    assert (build.trace / "quality.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("hard", "alarm"),
    [
        ([0.5, 0.5, 0.5], True),
        # The newest batch is well again.
        ([0.5, 0.5, 0.5, 0.0], False),
        ([0.5, 0.0, 0.5, 0.0, 0.5], True),
        ([0.5, 0.5], False),
        # Of the last five only two.
        ([0.5, 0.5, 0.0, 0.0, 0.0, 0.5, 0.5], False),
        # At the floor is not below it.
        ([0.2, 0.2, 0.2], False),
    ],
)
def test_the_alarm_stands_when_enough_of_the_last_batches_fail_with_the_newest_among_them(
    hard: list[float], *, alarm: bool, run: Measure
) -> None:
    _, measured = run(hard)
    assert measured["alarm"] is alarm
    (check,) = STEP.checks
    outcome = check.judge(measured, None)
    assert (check.name, check.blocking) == (CHECK, False)
    assert (outcome.passed, outcome.warning) == (not alarm, True)
    assert f"below 0.8000 are {measured['below']} of the last {len(measured['batches'])} batches" in outcome.message


def test_what_was_scored_once_is_found_again(run: Measure) -> None:
    run([0.1, 0.5])
    assert [len(each) for each in asked] == [20, 20]
    _, measured = run([0.1, 0.5, 0.0], floor=0.95)
    assert values(measured) == [0.9, 0.5, 1.0]
    assert [each[0] for each in asked] == ["hard 1 0", "hard 2 0", "easy 3 0"]


def test_macro_f1_is_that_of_the_gate(run: Measure) -> None:
    _, measured = run([0.5], metric="f1_macro")
    assert measured["metric"] == "f1_macro"
    assert values(measured) == [pytest.approx(0.5)]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"champion": False}, "no champion yet that was made from other rows"),
        ({"lost": "champion"}, "the store has lost the champion"),
        (
            {"lost": "champion_evaluation"},
            "the store has lost the champion's evaluation, which says how it answers",
        ),
        ({"lost": "champion_splits"}, "the store has lost the rows that the champion was made from"),
        ({"knows": ("ham", "junk")}, "the champion answers with other labels (ham, junk)"),
        ({"min_rows": 21}, "fewer than 21 rows came in since the champion was made"),
    ],
)
def test_where_nothing_can_be_measured_it_says_so_and_passes(state: dict[str, Any], reason: str, run: Measure) -> None:
    build, measured = run([0.5], **state)
    assert (measured["reason"], measured["alarm"], measured["batches"]) == (reason, False, [])
    assert STEP.checks[0].judge(measured, None).message == f"nothing to measure: {reason}"
    assert list(build.trace.iterdir()) == []


def test_a_batch_of_splits_that_the_store_lost_is_part_of_the_next(run: Measure) -> None:
    build, measured = run([0.0, 0.5], lost="later_splits")
    assert [each["rows"] for each in measured["batches"]] == [40]
    now = build.digests["splits"]
    assert measured["seen"] == {"splits": now, "before": [*build.externals["later_splits"].lost], "after": [now]}


def test_splits_that_end_no_batch_are_not_read_again(run: Measure) -> None:
    build, measured = run([0.0, 0.0, 0.0, 0.0, 0.0], batches=1, min_rows=40)
    second, fourth = (build.externals["later_splits"].objects[at] for at in (1, 3))
    assert measured["seen"]["after"] == [second, fourth]
    assert len(measured["seen"]["before"]) == 4
