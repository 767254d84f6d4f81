"""The step's function over splits as they lie in a store."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.config.pipeline import Drift
from assets.drift import STEP
from assets.drift.compare import compare
from assets.store.step import Build, Measurements, Observation
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.drift.population import Rows, draw
from tests.tiny import make_splits

LABELS = ("ham", "spam", "odd")
Compare = Callable[..., tuple[Build, Measurements]]


def rows(drawn: Rows) -> list[tuple[str, str]]:
    return list(zip(drawn.texts, drawn.labels, strict=True))


def seen(*digests: str, lost: Sequence[str] = ()) -> Observation:
    return Observation("input", "promotion log", "digest", objects=digests, lost=tuple(lost))


@pytest.fixture
def run(make_build: MakeBuild, store: Store) -> Compare:
    """`run(old, new)` compares; with `lost` the champion's rows are gone, with `champion=False` there is none."""

    def compared(
        old: Rows,
        new: Rows,
        *,
        champion: bool = True,
        lost: bool = False,
        groups: Sequence[int] | None = None,
        **changed: Any,
    ) -> tuple[Build, Measurements]:
        before, now = (
            make_splits(store, rows(old)),
            make_splits(store, [*rows(old), *rows(new)], like=dict(enumerate(groups or ()))),
        )
        splits = seen(lost=[before.name]) if lost else seen(before.name)
        build = make_build(
            inputs={"splits": now},
            externals={
                "champion": seen("model") if champion else seen(),
                "champion_splits": splits if champion else seen(),
            },
            stored=lambda digest: store.open("objects", digest),
        )
        return build, compare(build, labels=LABELS, **{**Drift().model_dump(), **changed})

    return compared


def population(n: int, seed: int = 1, **changed: float) -> Rows:
    return draw(np.random.default_rng(seed), n, **changed)


def alarms(measured: Measurements) -> list[str]:
    return [name for name, found in measured["tests"].items() if found["alarm"]]


def messages(measured: Measurements) -> dict[str, str]:
    outcomes = {check.name: check.judge(measured, None) for check in STEP.checks}
    assert all(outcome.warning or outcome.passed for outcome in outcomes.values())
    return {name: f"{outcome.passed} {outcome.message}" for name, outcome in outcomes.items()}


def test_more_of_the_same_is_no_drift(run: Compare) -> None:
    build, measured = run(population(300), population(100, seed=2))
    assert alarms(measured) == []
    assert (measured["champion"], measured["new_rows"], measured["champion_rows"]) == ("model", 100, 300)
    assert sorted(path.name for path in build.trace.iterdir()) == ["labels.png", "lengths.png", "vocabulary.png"]
    found = json.loads((build.content / "drift.json").read_bytes())
    assert found.pop("words")
    assert found == json.loads(json.dumps(measured))
    assert messages(measured)["same_labels"].startswith("True share of new rows with another label than before: 0.0")


def test_another_vocabulary_alarms_and_its_words_are_written_down(run: Compare) -> None:
    build, measured = run(population(300), population(100, seed=2, slang=0.2))
    assert alarms(measured) == ["vocabulary", "separation"]
    words = json.loads((build.content / "drift.json").read_bytes())["words"]
    assert sum(word.startswith("v") for word, _ in words[:20]) >= 18
    assert messages(measured)["same_vocabulary"].startswith(
        "False further share of words that the champion was not trained on: 0.1"
    )


def test_other_labels_and_lengths_alarm(run: Compare) -> None:
    assert "labels" in alarms(run(population(300), population(100, seed=2, spam=0.6))[1])
    measured = run(population(300), population(100, seed=2, words=20))[1]
    assert "lengths" in alarms(measured)
    assert measured["text_lengths"][1]["new"] > 1.4 * measured["text_lengths"][1]["champion"]


def test_a_difference_that_does_not_matter_is_no_alarm_however_sure_it_is(run: Compare) -> None:
    planted = population(100, seed=2, spam=0.6)
    assert "labels" not in alarms(run(population(300), planted, label_shift=0.5)[1])
    assert alarms(run(population(300), planted, level=1e-9)[1]) == []


def test_near_duplicates_count_once(run: Compare) -> None:
    """A template that came in sixty times is one text, and one text is not enough to be compared."""
    _, measured = run(population(300), population(60, seed=2), groups=[*range(300), *[300] * 60])
    assert (
        measured["reason"] == "1 rows came in since the champion was made, near-duplicates counted once; 50 are needed"
    )
    assert messages(measured)["same_labels"] == f"True nothing to compare: {measured['reason']}"


def test_no_more_rows_are_looked_at_than_is_said(run: Compare) -> None:
    _, measured = run(population(300), population(150, seed=2), rows=100)
    assert measured["compared_rows"] == {"champion": 100, "new": 100}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"champion": False}, "no champion yet that was made from other rows"),
        ({"lost": True}, "the store has lost the rows that the champion was made from"),
    ],
)
def test_without_a_champion_or_its_rows_it_says_so_and_passes(run: Compare, state: dict[str, Any], reason: str) -> None:
    build, measured = run(population(30), population(5, seed=2), **state)
    assert measured["reason"] == reason
    assert set(messages(measured).values()) == {f"True nothing to compare: {reason}"}
    assert list(build.trace.iterdir()) == []
    assert json.loads((build.content / "drift.json").read_bytes())["reason"] == reason


def test_equal_input_gives_equal_bytes(run: Compare) -> None:
    def written(build: Build) -> dict[str, bytes]:
        return {
            path.name: path.read_bytes() for folder in (build.content, build.trace) for path in Path(folder).iterdir()
        }

    first, second = (run(population(200), population(60, seed=2))[0] for _ in range(2))
    assert written(first) == written(second)
