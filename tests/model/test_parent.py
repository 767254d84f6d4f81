"""Which champion a training starts from, and what speaks against it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets.errors import DamagedError
from assets.model.parent import BEGUN, candidate, choose
from assets.release import log
from assets.store.step import Beginning, LogEntry, Observation
from assets.store.store import Record, Store
from tests.release.material import WHEN, entry
from tests.tiny import make_object, make_rows, make_splits

ROWS = make_rows(40, seed=0)
SIGNED = {"by": "ada", "when": WHEN, "why": "it misbehaved"}

Begin = Callable[..., Beginning]


def model(store: Store, name: str, ancestors: Sequence[dict[str, Any]] = ()) -> str:
    return make_object(store, {"history.json": {"name": name, "ancestors": list(ancestors)}})


def decided(number: int, made: str, splits: Path, champion: str | None = None) -> LogEntry:
    """The gate promoted a model."""
    return entry(
        number, made, champion or made, inputs={"splits": splits.name, "model": made}, keys=[["model", "key-of-model"]]
    )


@pytest.fixture
def splits(store: Store) -> Path:
    return make_splits(store, ROWS)


@pytest.fixture
def begin(store: Store, splits: Path, tmp_path: Path) -> Begin:
    """What is known when a training begins; models are made from the base model `base`."""

    def make(*entries: LogEntry, base: str = "base", **more: Any) -> Beginning:
        made = {"inputs": {"base_model": "base", "splits": splits.name}}
        record = Record("key-of-model", "", "", made, {}, 0.0, 0.0, "ada")
        given = Beginning(
            inputs={"splits": splits},
            externals={"base_model": Observation("input", "base", base)},
            entries=entries,
            stored=lambda digest: store.open("objects", digest),
            record={"key-of-model": record}.get,
            before=None,
            work=tmp_path,
        )
        return replace(given, **more)

    return make


def why(beginning: Beginning) -> str:
    found = choose(beginning, start="champion")
    assert found.keys() == {"champion"}
    assert found["champion"].objects == ()
    (said,) = found["champion"].values
    return said


def test_nothing_is_looked_for_where_training_starts_from_the_base_model(begin: Begin) -> None:
    assert choose(begin(), start=None, epochs=3) == {}


def test_the_champion_with_the_splits_that_it_was_made_from(begin: Begin, store: Store, splits: Path) -> None:
    first = model(store, "first")
    found = choose(begin(decided(0, first, splits)), start="either")
    assert found["champion"] == Observation("input", "promotion log", first, objects=(first,))
    assert [json.loads(each) for each in found["champion_ancestors"].values] == [
        {"model": first, "splits": [splits.name]}
    ]


def test_the_models_that_it_was_started_from_come_with_it(begin: Begin, store: Store, splits: Path) -> None:
    older = make_splits(store, ROWS[:24], ["train"] * 24)
    newer = make_splits(store, ROWS[:23], ["train"] * 23)
    first = {"model": "first", "splits": [older.name]}
    second = model(store, "second", [first])
    forgotten = log.forget(
        (decided(0, second, splits),), request=0, marked=(), replaced={older.name: newer.name}, removed=(), **SIGNED
    )
    found = choose(begin(decided(0, second, splits), LogEntry(1, forgotten)), start="champion")
    assert [json.loads(each) for each in found["champion_ancestors"].values] == [
        {"model": second, "splits": [splits.name]},
        {"model": "first", "splits": [newer.name]},
    ]


def test_there_is_no_champion(begin: Begin, store: Store, splits: Path) -> None:
    assert why(begin()) == "there is no champion yet"
    refused = replace(decided(0, model(store, "first"), splits), fields={**entry(0, "first", None).fields})
    assert why(begin(refused)) == "there is no champion yet"


def test_of_a_model_from_elsewhere_nobody_knows_what_it_has_seen(begin: Begin) -> None:
    adopted = log.adopt((), "m", release="r", origin="elsewhere", **SIGNED)
    assert why(begin(LogEntry(0, adopted))) == (
        "the champion was trained elsewhere, and may have seen rows that validate or test"
    )


def test_another_base_model(begin: Begin, store: Store, splits: Path) -> None:
    champion = decided(0, model(store, "first"), splits)
    assert why(begin(champion, base="another")) == "the champion was made from another base model"
    assert why(begin(champion, record=lambda _: None)) == "how the champion was made is not known any more"
    early = LogEntry(0, {name: value for name, value in champion.fields.items() if name != "keys"})
    assert why(begin(early)) == "how the champion was made is not known any more"


@pytest.mark.parametrize("lost", ["model", "splits"])
def test_one_that_the_store_has_lost(begin: Begin, store: Store, splits: Path, lost: str) -> None:
    first, older = model(store, "first"), make_splits(store, ROWS[:20], ["train"] * 20)
    gone = {"model": first, "splits": older.name}[lost]

    def stored(digest: str) -> Path:
        if digest == gone:
            raise DamagedError(f"object {digest[:12]} is not in the store", where="the store")
        return store.open("objects", digest)

    assert why(begin(decided(0, first, older), stored=stored)) == (
        f"the store has lost what belongs to the champion: object {gone[:12]} is not in the store"
    )


@pytest.mark.parametrize(("side", "refused"), [("train", True), ("validation", True), ("test", False)])
def test_rows_that_it_was_trained_on_are_forgotten(
    begin: Begin, store: Store, splits: Path, side: str, refused: bool
) -> None:
    first = model(store, "first")
    entries = (decided(0, first, splits),)
    marked = [{"model": first, "rows": {side: 2}}]
    forgotten = LogEntry(1, log.forget(entries, request=0, marked=marked, replaced={}, removed=(), **SIGNED))
    if refused:
        said = "the champion was trained on or chosen by rows that are forgotten: 2"
        assert why(begin(*entries, forgotten)) == said
    else:
        assert choose(begin(*entries, forgotten), start="champion")["champion"].objects == (first,)


@pytest.mark.parametrize(
    ("then", "now", "rows"),
    [
        ("train", "test", 1),
        ("validation", "test", 1),
        ("train", "validation", 1),
        # As rows move when more come in.
        ("validation", "train", 0),
        ("test", "train", 0),
        ("test", "validation", 0),
        ("validation", "validation", 0),
    ],
)
@pytest.mark.parametrize("itself", [True, False])
def test_law_6_neither_it_nor_those_before_may_have_seen_what_is_held_out(
    begin: Begin, store: Store, splits: Path, then: str, now: str, rows: int, itself: bool
) -> None:
    others = ["train"] * 5
    before = make_splits(store, ROWS[:6], [*others, then])
    held_out = make_splits(store, ROWS[:6], [*others, now])
    if itself:
        champion = decided(0, model(store, "first"), before)
    else:
        first = {"model": "first", "splits": [before.name]}
        champion = decided(0, model(store, "second", [first]), make_splits(store, ROWS[:5], others))
    beginning = begin(champion, inputs={"splits": held_out})
    if rows:
        assert why(beginning) == "the champion has seen rows that validate or test now: 1"
    else:
        assert choose(beginning, start="champion")["champion"].objects


def test_a_text_and_a_near_duplicate_count_whatever_the_row_is_called(begin: Begin, store: Store) -> None:
    champion = decided(0, model(store, "first"), make_splits(store, ROWS[:4], ["train"] * 4, first=100))
    held_out = make_splits(store, ROWS[3:6], ["test", "train", "train"])
    assert (
        why(begin(champion, inputs={"splits": held_out})) == "the champion has seen rows that validate or test now: 1"
    )


def test_a_training_that_was_killed_goes_on_with_the_champion_that_it_began_with(
    begin: Begin, store: Store, splits: Path
) -> None:
    first, second = (decided(at, model(store, name), splits) for at, name in enumerate(("first", "second")))
    began = choose(begin(first), start="champion")
    assert choose(begin(first, second), start="champion") == began
    back = LogEntry(2, log.rollback((first, second), **SIGNED))
    assert choose(begin(first, second, back), start="champion") == began


def test_one_that_was_rolled_back_meanwhile_does_not_come_back_through_another(
    begin: Begin, store: Store, splits: Path
) -> None:
    first, second = (decided(at, model(store, name), splits) for at, name in enumerate(("first", "second")))
    choose(begin(first, second), start="champion")
    back = LogEntry(2, log.rollback((first, second), **SIGNED))
    found = choose(begin(first, second, back), start="champion")["champion"]
    assert found.objects == (first.fields["challenger"],)


def test_without_a_champion_when_it_began_it_stays_so(begin: Begin, store: Store, splits: Path) -> None:
    assert why(begin()) == "there is no champion yet"
    assert why(begin(decided(0, model(store, "first"), splits))) == "there is no champion yet"


def test_what_is_trained_again_starts_where_it_did(begin: Begin, store: Store, splits: Path, tmp_path: Path) -> None:
    first, second = (decided(at, model(store, name), splits) for at, name in enumerate(("first", "second")))
    old, new = first.fields["challenger"], second.fields["challenger"]
    measured = {"start": {"champion": old}}
    assert candidate((first, second), tmp_path, measured) == old
    assert candidate((first, second), tmp_path, {"epochs": 3}) == new
    # It was built in an environment whose log is another one.
    assert candidate((second,), tmp_path, measured) == new
    (tmp_path / BEGUN).write_text(json.dumps({"champion": old}))
    assert candidate((second,), tmp_path) == new
