"""Planted label errors are found, whatever the order and the shards of the rows; nothing is left out unasked."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from assets.review.rows import quarantined
from assets.store.digests import digest_content
from assets.store.tables import as_ids, id_column
from tests.review.conftest import Review, Row, row_id
from tests.tiny import make_rows


def planted(rows: int, seed: int, share: float = 0.05) -> tuple[list[Row], set[str]]:
    """Rows of which some have the other label, and the texts of those."""
    generator = random.Random(seed)  # noqa: S311 - toy data
    made = make_rows(rows, seed)
    wrong = {text for text, _ in generator.sample(made, int(share * rows))}
    other = {"ham": "spam", "spam": "ham"}
    return [(text, other[label] if text in wrong else label) for text, label in made], wrong


ROWS, WRONG = planted(400, seed=1)


def test_what_a_person_confirmed_is_doubted_no_more(review_rows: Review) -> None:
    doubted = review_rows([ROWS], quarantine=True, min_confidence=0.0)
    first, second, *others = [(row["text"], row["label"]) for row in doubted.suspects]
    assert others
    # The second was confirmed as another row that is equal to it after normalising.
    as_it_came = (f"  {second[0]}", second[1])
    later = review_rows(
        [ROWS], quarantine=True, min_confidence=0.0, upheld=[first, as_it_came], equal={as_it_came: second}
    )
    assert [(row["text"], row["label"]) for row in later.suspects] == others
    assert {row["text"] for row in later.quarantine} == {text for text, _ in others}
    assert later.measurements["suspects"] == later.measurements["quarantined"] == len(others)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_errors_are_found(review_rows: Review, seed: int) -> None:
    rows, wrong = planted(600, seed)
    found = review_rows([rows])
    right = [text in wrong for text in found.texts]
    assert sum(right) / len(right) >= 0.9
    assert sum(right) / len(wrong) >= 0.8
    # The most doubtful ones come first.
    assert all(right[: len(wrong) // 2])
    other = {"ham": "spam", "spam": "ham"}
    labels = dict(rows)
    for row in found.suspects:
        assert row["label"] == labels[row["text"]]
        assert row["suggested"] == other[row["label"]]
        assert 0.0 <= row["confidence"] < row["suggested_confidence"] <= 1.0
        assert row["row_id"] == row_id((row["text"], row["label"]))
    assert found.measurements == {
        "rows": 600,
        "judged": 600,
        "unjudged": 0,
        "suspects": len(right),
        "share": len(right) / 600,
        "pairs": found.measurements["pairs"],
        "quarantined": 0,
    }
    assert {pair["label"]: pair["count"] for pair in found.measurements["pairs"]} == {
        label: sum(row["label"] == label for row in found.suspects) for label in ("ham", "spam")
    }
    counts = [pair["count"] for pair in found.measurements["pairs"]]
    assert counts == sorted(counts, reverse=True)


def test_labels_that_agree_give_no_list(review_rows: Review) -> None:
    assert len(review_rows([make_rows(400, seed=5)]).suspects) <= 2


def test_neither_the_order_of_rows_nor_the_shards_matter(review_rows: Review) -> None:
    shuffled = random.Random(4).sample(ROWS, len(ROWS))  # noqa: S311 - toy data
    one, other = review_rows([ROWS]), review_rows([shuffled[:90], [], shuffled[90:]])
    assert one.texts
    assert digest_content(one.folder) == digest_content(other.folder)
    assert one.suspects == other.suspects


def test_it_gives_equal_bytes_again(review_rows: Review) -> None:
    first = {path.name: path.read_bytes() for path in review_rows([ROWS], quarantine=True).folder.iterdir()}
    # The empty shard makes it another object, so nothing is reused.
    assert {path.name: path.read_bytes() for path in review_rows([ROWS, []], quarantine=True).folder.iterdir()} == first


def test_a_near_duplicate_with_the_same_error_does_not_hide_it(review_rows: Review) -> None:
    twins: list[Row] = [(f"prize urgent claim tan{at} / twins", "ham") for at in range(4)]
    found = review_rows([[*make_rows(300, seed=2), *twins]])
    assert {text for text, _ in twins} <= set(found.texts)


def test_nothing_is_left_out_unasked(review_rows: Review) -> None:
    assert review_rows([ROWS], min_confidence=0.0).quarantine == []


@pytest.mark.parametrize("least", [0.0, 0.8, 1.0])
def test_sure_suspects_are_left_out_if_asked(review_rows: Review, least: float) -> None:
    found = review_rows([ROWS], quarantine=True, min_confidence=least)
    expected = sorted(
        (row for row in found.suspects if row["suggested_confidence"] >= least), key=lambda row: row["row_id"]
    )
    assert found.measurements["quarantined"] == len(expected)
    assert found.quarantine == [
        {
            "row_id": row["row_id"],
            "text": row["text"],
            "label": row["label"],
            "expectation": "label_agrees_with_others",
            "detail": f"labelled {row['label']}; the other rows make {row['suggested']} likely, with a probability of "
            f"{row['suggested_confidence']:.2f} (that of {row['label']} is {row['confidence']:.2f})",
        }
        for row in expected
    ]


def test_what_is_left_out_changes_without_asking_the_classifier_again(
    review_rows: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = review_rows([ROWS])
    monkeypatch.setattr("assets.review.review.expect", None)
    after = review_rows([ROWS], quarantine=True, min_confidence=0.7)
    assert after.suspects == before.suspects
    assert after.quarantine


def test_rows_in_quarantine_are_told_by_their_identifiers(review_rows: Review) -> None:
    found = review_rows([ROWS], quarantine=True, min_confidence=0.7)
    names = [row_id(row) for row in [*ROWS, *ROWS[:3]]]
    ids = as_ids(pa.chunked_array([pa.array([bytes.fromhex(name) for name in names], pa.binary(16))]))
    assert id_column(ids).to_pylist() == [bytes.fromhex(name) for name in names]
    wanted = {row["row_id"] for row in found.quarantine}
    assert quarantined(found.folder, ids).tolist() == [name in wanted for name in names]
    assert not quarantined(review_rows([ROWS]).folder, ids).any()


def test_a_label_of_one_row_is_not_judged(review_rows: Review) -> None:
    found = review_rows([[*ROWS, ("something else", "rare")]])
    assert (found.measurements["judged"], found.measurements["unjudged"]) == (400, 1)
    assert "something else" not in found.texts


def test_one_label_alone_is_not_judged(review_rows: Review) -> None:
    found = review_rows([[(f"text {at}", "ham") for at in range(20)]])
    assert (found.suspects, found.measurements["judged"], found.measurements["share"]) == ([], 0, 0.0)


def test_it_learns_from_a_sample_and_judges_all(review_rows: Review) -> None:
    found = review_rows([ROWS], max_rows=200)
    assert found.measurements["judged"] == 400
    right = [text in WRONG for text in found.texts]
    assert sum(right) / len(right) >= 0.7
    assert sum(right) / len(WRONG) >= 0.7


def test_texts_that_have_nothing_in_common_are_not_judged(review_rows: Review) -> None:
    found = review_rows([[(text, ("ham", "spam")[at % 2]) for at, text in enumerate("abcdefghij")]])
    assert (found.suspects, found.measurements["unjudged"]) == ([], 10)
