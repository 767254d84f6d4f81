"""One training as the search sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assets.progress import Event
from assets.search.trial import Training, kept_epoch


class Judge:
    """Stands for the search: takes reports, and stops at a score."""

    def __init__(self, stops_above: float = 9.0) -> None:
        self.reports: list[tuple[int, float]] = []
        self.told: list[Event] = []
        self.over = False
        self.stops_above = stops_above

    def report(self, epoch: int, score: float) -> bool:
        self.reports.append((epoch, score))
        return score > self.stops_above

    def training(self) -> Training:
        return Training(
            "loss",
            report=self.report,
            told=self.told.append,
            over=lambda: self.over,
            worth_keeping=lambda score: score < 0.3,
        )


def epoch_of(number: int, loss: float) -> Event:
    return {"kind": "metrics", "at": 10 * number, "values": {"validation_loss": loss, "validation_accuracy": 0.5}}


def test_each_epoch_is_reported_once_and_what_else_is_said_is_passed_on() -> None:
    judge = Judge()
    training = judge.training()
    said: list[Event] = [
        {"kind": "message", "text": "going"},
        epoch_of(1, 0.5),
        {"kind": "metrics", "at": 15, "values": {"loss": 0.7}},
        epoch_of(2, 0.25),
    ]
    assert [training.see(event) for event in said] == [False] * 4
    assert judge.told == said
    assert judge.reports == [(1, 0.5), (2, 0.25)]
    assert training.ran
    training.replay({"epochs": [{"loss": 0.5}, {"loss": 0.25}, {"loss": 0.125}], "finished": True})
    assert judge.reports == [(1, 0.5), (2, 0.25), (3, 0.125)]


def test_it_is_stopped_when_the_report_says_so_and_asks_no_further() -> None:
    judge = Judge(stops_above=0.4)
    training = judge.training()
    assert training.see(epoch_of(1, 0.5))
    assert training.see(epoch_of(2, 0.1)), "what it still says before it ends changes nothing"
    assert (training.enough, judge.reports) == (True, [(1, 0.5)])
    assert training.summary(None) == {"epochs": [{"step": 10, "loss": 0.5, "accuracy": 0.5}], "finished": False}
    assert not training.worth_keeping({"epochs": [{"loss": 0.1}], "finished": True})


def test_what_was_found_is_judged_as_what_is_seen() -> None:
    judge = Judge(stops_above=0.4)
    training = judge.training()
    training.replay({"epochs": [{"loss": 0.3}, {"loss": 0.5}, {"loss": 0.1}], "finished": True})
    assert (training.enough, judge.reports, training.ran) == (True, [(1, 0.3), (2, 0.5)], False)


def test_it_is_stopped_with_the_search_without_being_judged() -> None:
    judge = Judge()
    training = judge.training()
    judge.over = True
    assert training.see({"kind": "message", "text": "going"})
    assert not training.enough


def test_of_a_training_that_ended_the_history_counts(tmp_path: Path) -> None:
    epochs = [{"epoch": 1, "step": 10, "loss": 0.5}, {"epoch": 2, "step": 20, "loss": 0.25}]
    (tmp_path / "history.json").write_text(json.dumps({"steps": [], "epochs": epochs, "best_epoch": 2}))
    training = Judge().training()
    summary = training.summary(tmp_path)
    assert summary == {"epochs": epochs, "finished": True}
    assert training.worth_keeping(summary)
    assert not training.worth_keeping({"epochs": [{"loss": 0.3}], "finished": True})


def test_of_a_training_from_two_starts_all_epochs_count_in_their_order(tmp_path: Path) -> None:
    """They are what it told while it ran."""
    first, second = ([{"epoch": 1, "step": 10, "loss": loss}] for loss in (0.5, 0.25))
    trainings = [{"epochs": first}, {"epochs": second}]
    (tmp_path / "history.json").write_text(json.dumps({"epochs": first, "trainings": trainings}))
    assert Judge().training().summary(tmp_path) == {"epochs": [*first, *second], "finished": True}


@pytest.mark.parametrize(("select_by", "expected"), [("loss", 1), ("accuracy", 0)])
def test_the_kept_epoch_is_the_earliest_of_the_best(select_by: str, expected: int) -> None:
    epochs: list[dict[str, Any]] = [
        {"loss": 0.5, "accuracy": 0.9},
        {"loss": 0.25, "accuracy": 0.8},
        {"loss": 0.25, "accuracy": 0.9},
    ]
    assert kept_epoch(epochs, select_by) is epochs[expected]
