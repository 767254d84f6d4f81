from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.cleaned.conflicts import Rule, choose
from assets.cleaned.ngrams import Indices
from assets.cleaned.overlay import Overlay, find_equal, name_groups, resolve
from assets.store.tables import Ids
from tests.cleaned import oracle
from tests.cleaned.search import group

NAMES = ["ham", "spam", "other"]
ROWS = st.lists(
    st.tuples(st.lists(st.sampled_from("abcde"), min_size=1, max_size=6).map(" ".join), st.sampled_from(NAMES)),
    max_size=25,
)
NEAR = st.one_of(
    st.none(), st.fixed_dictionaries({"similarity": st.sampled_from([0.3, 0.6, 1.0]), "ngram": st.integers(1, 3)})
)
RULES: st.SearchStrategy[Rule] = st.sampled_from(["quarantine", "majority"])


def keys_of(texts: Sequence[str]) -> Ids:
    digests = b"".join(hashlib.sha256(text.encode()).digest()[:16] for text in texts)
    return np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 2)


def company(groups: Indices) -> tuple[Indices, Indices]:
    """Where there is more than one text of a group, and these groups."""
    together = np.flatnonzero(np.bincount(groups)[groups] > 1)
    return together, groups[together]


def overlay_of(
    rows: Sequence[tuple[str, str]], near_duplicates: dict[str, Any] | None, rule: Rule
) -> tuple[Overlay, dict[int, int]]:
    """The overlay of rows in the order of row_id, and the row that names the group of each that has one."""
    texts = [text for text, _ in rows]
    labels = np.array([NAMES.index(label) for _, label in rows], np.int32)

    def decide(_rows: Sequence[int], labels: Sequence[int]) -> tuple[int | None, str]:
        label, why = choose(rule, [NAMES[label] for label in labels], [None] * len(labels))
        return None if label is None else NAMES.index(label), why

    overlay = resolve(find_equal(keys_of(texts), labels), labels, decide)
    groups = overlay.texts
    if near_duplicates is not None:
        groups = groups[group([texts[row] for row in overlay.texts], **near_duplicates)]
    named, _ = name_groups(overlay, *company(groups), groups[:0])
    return overlay, {row: name for row, name in enumerate(named.tolist()) if name >= 0}


@settings(deadline=None, derandomize=True)
@given(ROWS, NEAR)
def test_it_is_what_one_finds_row_by_row(rows: list[tuple[str, str]], near_duplicates: dict[str, Any] | None) -> None:
    overlay, named = overlay_of(rows, near_duplicates, "quarantine")
    expected = oracle.resolve([text for text, _ in rows], [label for _, label in rows], near_duplicates)
    into = dict(enumerate(overlay.into.tolist()))
    assert {row: count for row, count in enumerate(overlay.counts().tolist()) if count} == expected.kept
    assert {row: other for row, other in into.items() if other not in {row, -1}} == expected.merged
    assert set(overlay.conflicting) == {row for row, other in into.items() if other == -1} == expected.conflicting
    assert named == expected.group


@settings(deadline=None, derandomize=True)
@given(ROWS, NEAR, RULES)
def test_every_row_goes_into_one_of_its_label_or_to_quarantine(
    rows: list[tuple[str, str]], near_duplicates: dict[str, Any] | None, rule: Rule
) -> None:
    overlay, named = overlay_of(rows, near_duplicates, rule)
    for row, other in enumerate(overlay.into.tolist()):
        assert (other == -1) == (row in overlay.conflicting)
        # The lowest of those with the same text and label.
        assert other in {-1, rows.index(rows[row])}
    kept = overlay.kept[overlay.kept >= 0].tolist()
    assert sorted(kept) == np.flatnonzero(overlay.counts()).tolist()
    assert len({rows[row][0] for row in kept}) == len(kept)
    assert set(kept) <= set(named)
    for name in named.values():
        assert name == min(row for row in kept if named[row] == name)


@settings(deadline=None, derandomize=True)
@given(ROWS)
def test_the_label_of_most_rows_stays(rows: list[tuple[str, str]]) -> None:
    overlay, _ = overlay_of(rows, None, "majority")
    for text, kept in zip(overlay.texts.tolist(), overlay.kept.tolist(), strict=True):
        labels = Counter(label for one, label in rows if one == rows[text][0])
        most = [label for label in labels if labels[label] == max(labels.values())]
        assert (kept == -1) == (len(most) > 1)
        if kept != -1:
            assert rows[kept][1] == most[0]
            assert overlay.counts()[kept] == labels[most[0]]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(ROWS, ROWS, NEAR, RULES)
def test_what_comes_in_later_never_takes_a_group_apart(
    rows: list[tuple[str, str]], more: list[tuple[str, str]], near_duplicates: dict[str, Any] | None, rule: Rule
) -> None:
    def groups(rows: list[tuple[str, str]]) -> dict[str, int]:
        overlay, named = overlay_of(rows, near_duplicates, rule)
        held = np.where(overlay.kept >= 0, overlay.kept, overlay.texts).tolist()
        return {rows[row][0]: named[row] for row in held if row in named}

    before, after = groups(rows), groups(rows + more)
    for one, group_before in before.items():
        for other in before:
            if group_before == before[other] and one in after:
                assert after[one] == after.get(other, after[one])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("quarantine", (None, "the same text has the labels a: 2 rows, b: 1 row")),
        ("majority", ("a", "the same text has the labels a: 2 rows, b: 1 row; a stays, as in most rows")),
        ("newest", (None, "the same text has the labels a: 2 rows, b: 1 row; none stays as in the newest")),
    ],
)
def test_it_is_said_why(rule: Rule, expected: tuple[str | None, str]) -> None:
    assert choose(rule, ["a", "b", "a"], [None, None, None]) == expected
