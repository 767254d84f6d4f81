"""A test set that came with the data: it is the test set, all of it and nothing else, and nothing gives it away."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.cleaned.conflicts import choose
from assets.cleaned.overlay import find_equal, name_groups, resolve
from assets.errors import DataError
from assets.splits.frozen import set_apart
from assets.splits.groups import connected, values_of
from assets.splits.rows import read_side
from assets.splits.rule import position, sides_at, sides_of_groups
from assets.splits.sides import SIDES
from assets.splits.split import split
from assets.store.digests import digest_content
from assets.store.store import Store
from tests.cleaned import oracle
from tests.cleaned.test_overlay import keys_of
from tests.conftest import MakeBuild
from tests.splits.conftest import Clean, Row, row_id
from tests.splits.test_growth import PROPERTY, ROWS, SIMILARITY
from tests.splits.test_split import SETTINGS

LABELS = ["ham", "spam"]
FROZEN = "cid"
"""Source of the rows of the test set in the tests by property."""


def sides_of_texts(layout: list[Row], similarity: float | None, *, by_source: bool) -> dict[str, str | None]:
    """Side of every text that is kept, or None, of rows that lie in this order."""
    rows = sorted(set(layout), key=row_id)
    place = np.array([layout.index(row) for row in rows], np.intp)
    keys = keys_of([text for text, _, _ in rows])
    labels = np.array([LABELS.index(label) for _, label, _ in rows], np.int32)
    frozen = np.array([source == FROZEN for _, _, source in rows])

    def decide(equal: Any, labels: Any) -> tuple[int | None, str]:
        names, none = [LABELS[label] for label in labels], [None] * len(labels)
        label, why = choose("quarantine", names, none, [bool(frozen[row]) for row in equal])
        return None if label is None else LABELS.index(label), why

    overlay = resolve(find_equal(keys, labels, frozen), labels, decide)
    groups = overlay.texts
    if similarity is not None:
        alike = oracle.group([rows[row][0] for row in overlay.texts], similarity=similarity, ngram=1)
        groups = np.array(alike, np.intp)
    named, _ = name_groups(overlay, np.arange(len(groups)), groups, groups[:0])
    group = np.full(len(layout), -1, np.int32)
    some = np.flatnonzero(named >= 0)
    group[place[some]] = place[named[some]]
    stays = overlay.counts() > 0
    kept, others = place[np.flatnonzero(stays)], place[np.flatnonzero(~stays)]
    if by_source:
        values = values_of(pa.chunked_array([[source for _, _, source in layout]], pa.string()))
        keys_at = keys_of([text for text, _, _ in layout])
        group = connected(group, kept, others, keys=keys_at, values=values)
    at = np.array([position("", text) for text, _, _ in layout])
    side = sides_of_groups(sides_at(at, validation=0.4, test=0.0), group)
    set_apart(side, group, np.array([source == FROZEN for _, _, source in layout]))
    return {layout[row][0]: SIDES[side[row]] if side[row] >= 0 else None for row in kept.tolist()}


def frozen_texts(rows: list[Row]) -> dict[str, set[str]]:
    """Texts of the test set with their labels there."""
    found: dict[str, set[str]] = {}
    for text, label, source in rows:
        if source == FROZEN:
            found.setdefault(text, set()).add(label)
    return found


@PROPERTY
@given(ROWS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))), SIMILARITY, st.booleans())
def test_order_does_not_matter(case: tuple[list[Row], list[Row]], similarity: float | None, by_source: bool) -> None:
    one, other = (sides_of_texts(rows, similarity, by_source=by_source) for rows in case)
    assert one == other


@PROPERTY
@given(ROWS, SIMILARITY, st.booleans())
def test_the_test_set_is_the_test_side_and_nothing_else_is(
    rows: list[Row], similarity: float | None, by_source: bool
) -> None:
    sides = sides_of_texts(rows, similarity, by_source=by_source)
    clear = {text for text, labels in frozen_texts(rows).items() if len(labels) == 1}
    assert {text for text, side in sides.items() if side == "test"} == clear


@PROPERTY
@given(ROWS, SIMILARITY, st.booleans())
def test_nothing_that_is_like_the_test_set_is_on_a_side(
    rows: list[Row], similarity: float | None, by_source: bool
) -> None:
    sides = sides_of_texts(rows, similarity, by_source=by_source)
    frozen = frozen_texts(rows)
    for (one, _, value), (other, _, other_value) in combinations(rows, 2):
        near = one == other or (similarity is not None and oracle.similar(one, other, similarity, 1))
        together = by_source and value == other_value and bool((value or "").strip())
        if not (near or together):
            continue
        if one in frozen or other in frozen:
            assert sides.get(one) in {None, "test"}
            assert sides.get(other) in {None, "test"}
        elif one in sides and other in sides:
            assert sides[one] == sides[other]


@PROPERTY
@given(ROWS, ROWS, SIMILARITY, st.booleans())
def test_new_rows_move_no_row_of_the_test_set_and_others_only_towards_train_or_out(
    rows: list[Row], more: list[Row], similarity: float | None, by_source: bool
) -> None:
    more = [row for row in more if row[2] != FROZEN]
    before = sides_of_texts(rows, similarity, by_source=by_source)
    after = sides_of_texts(rows + more, similarity, by_source=by_source)
    assert {text for text, side in before.items() if side == "test"} == {
        text for text, side in after.items() if side == "test"
    }
    for text in before.keys() & after.keys():
        if before[text] == "train":
            assert after[text] in {"train", None}
        if before[text] is None:
            assert after[text] is None


# Words of one text only, so that texts are alike where the tests say so.
TEST: list[Row] = [(f"official{at} words{at} here{at}", LABELS[at % 2], "test") for at in range(6)]
OTHERS: list[Row] = [(f"own{at} text{at} it{at}", LABELS[at % 2], "train") for at in range(40)]
LIKE: list[Row] = [("official1 words1", "spam", "train"), ("official2 words2 here2", "ham", "train")]


@pytest.fixture
def run(make_build: MakeBuild, clean: Clean, store: Store) -> Any:
    """`run(batches)` runs the step; text → side, and what was measured."""

    def run(batches: Any, **settings: Any) -> Any:
        frozen = [row for batch in batches for row in batch if row[2] == "test"]
        build = make_build({"cleaned": clean(batches, frozen=frozen)})
        declared = {"files": None, "column": "source", "value": "test"}
        measured = split(build, **{**SETTINGS, "frozen": declared, "test": 0.2, **settings})
        folder = store.open("objects", store.publish("objects", build.content))
        return {text: side for side in SIDES for text in read_side(folder, side)["text"].to_pylist()}, measured

    return run


def test_what_is_left_out_is_counted(run: Any, events: Any) -> None:
    sides, measured = run([[*OTHERS, *LIKE], TEST])
    assert {text for text, side in sides.items() if side == "test"} == {text for text, _, _ in TEST}
    # The other one is equal to a row of the test set, and was merged into it.
    assert "official1 words1" not in sides
    assert measured["left_out"] == 1
    assert (measured["groups_across_sides"], measured["texts_across_sides"]) == (0, 0)
    assert measured["rows"]["test"] == 6
    assert sum(measured["rows"].values()) + measured["left_out"] == len(TEST) + len(OTHERS) + 1
    assert "1 rows are on no side: they are in one group with a row of the frozen test set" in str(events)


def test_the_share_for_validation_is_of_all_other_rows(run: Any) -> None:
    sides, _ = run([OTHERS, TEST], validation=0.5, min_rows_per_label=1)
    for text, _, _ in OTHERS:
        assert sides[text] == ("validation" if position("", text) < 0.5 else "train")


def test_batches_do_not_matter_and_the_test_set_does(make_build: MakeBuild, clean: Clean) -> None:
    def content(batches: Any, frozen: list[Row]) -> str:
        build = make_build({"cleaned": clean(batches, frozen=frozen)})
        split(build, **{**SETTINGS, "frozen": {}, "min_rows_per_label": 1})
        return digest_content(build.content)

    as_it_was = content([[*OTHERS, *LIKE], TEST], TEST)
    assert content([TEST[3:], LIKE, OTHERS[:7], [*TEST[:3], *OTHERS[7:]]], TEST) == as_it_was
    assert content([[*OTHERS, *LIKE], TEST], TEST[:5]) != as_it_was


def test_a_test_set_that_lacks_a_label(run: Any) -> None:
    with pytest.raises(DataError, match="spam has 0 in test") as caught:
        run([OTHERS, [row for row in TEST if row[1] == "ham"]])
    assert caught.value.fix == (
        "add rows of spam to the frozen test set, which alone is the test side, or change the share "
        "`splits.validation` (now 0.2)"
    )


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 2), st.booleans()), max_size=15))
def test_sides_around_a_test_set(rows: list[tuple[int, int, bool]]) -> None:
    name: dict[int, int] = {}
    for row, (group, _, _) in enumerate(rows):
        name.setdefault(group, row)
    named = np.array([name[group] if group >= 0 else -1 for group, _, _ in rows], np.int32)
    side = np.array([side if group >= 0 else -1 for group, side, _ in rows], np.int8)
    expected = [
        -1
        if group < 0
        else 2
        if frozen
        else -1
        if any(other == group and of_test for other, _, of_test in rows)
        else side
        for group, side, frozen in rows
    ]
    set_apart(side, named, np.array([frozen for _, _, frozen in rows], bool))
    assert side.tolist() == expected
