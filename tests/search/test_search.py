"""The step's function with a training that is a formula: what is tried, stopped, kept, and taken up again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from assets.errors import DataError, StoreError, TransientError
from assets.progress import Event, Progress
from assets.store.step import Attempt, Summary
from tests.search.trainer import BUDGET, EPOCHS, SPACE, Trainer, run

ROOT = Path(__file__).parents[2]


def settings(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "content" / "settings.json").read_bytes())
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trainer, dict[str, Any]]:
    """A search that nothing disturbed."""
    folder, trainer = tmp_path_factory.mktemp("whole"), Trainer()
    return folder, trainer, run(folder, trainer)


def test_the_best_settings_are_found_and_the_first_are_those_of_the_configuration(
    whole: tuple[Path, Trainer, dict[str, Any]],
) -> None:
    folder, trainer, found = whole
    assert trainer.ran[0] == {"training.learning_rate": 1e-3, "training.batch_size": 16, "training.seed": 3}
    assert found["trials"] == len(trainer.ran) == BUDGET["trials"]
    finished = {name: each for name, each in trainer.found.items() if each["finished"]}
    best = min(finished, key=lambda name: finished[name]["epochs"][-1]["loss"])
    assert str(sorted({**settings(folder), "training.seed": 3}.items())) == best
    assert found["score"] == finished[best]["epochs"][-1]["loss"]
    assert found["settings"] == settings(folder)
    assert found["score"] < trainer.found[str(sorted(trainer.ran[0].items()))]["epochs"][-1]["loss"]


def test_a_trial_that_is_worse_than_half_of_the_others_is_stopped(whole: tuple[Path, Trainer, dict[str, Any]]) -> None:
    _, trainer, found = whole
    stopped = [each for each in trainer.found.values() if not each["finished"]]
    assert found["stopped_early"] == len(stopped) > 0
    assert all(len(each["epochs"]) < EPOCHS for each in stopped)


def test_only_models_that_are_the_best_so_far_are_kept(whole: tuple[Path, Trainer, dict[str, Any]]) -> None:
    folder, trainer, _ = whole
    scores = [trainer.found[str(sorted(each.items()))]["epochs"][-1]["loss"] for each in trainer.kept]
    assert scores == sorted(scores, reverse=True)
    assert trainer.kept[0] == trainer.ran[0]
    assert trainer.kept[-1] == {**settings(folder), "training.seed": 3}
    assert len(trainer.kept) < len(trainer.ran)


def test_equal_searches_try_the_same_and_give_the_same_bytes(
    whole: tuple[Path, Trainer, dict[str, Any]], tmp_path: Path
) -> None:
    trainer = Trainer()
    # The order in which the YAML names settings counts for nothing.
    run(tmp_path, trainer, space=dict(reversed(list(SPACE.items()))))
    assert trainer.ran == whole[1].ran
    assert (tmp_path / "content/settings.json").read_bytes() == (whole[0] / "content/settings.json").read_bytes()
    other = Trainer()
    run(tmp_path / "other", other, seed=4)
    assert [each["training.learning_rate"] for each in other.ran[1:]] != [
        each["training.learning_rate"] for each in trainer.ran[1:]
    ]


def test_a_search_with_more_trials_begins_with_those_that_are_known(
    whole: tuple[Path, Trainer, dict[str, Any]], tmp_path: Path
) -> None:
    _, before, _ = whole
    trainer = Trainer()
    trainer.found = dict(before.found)
    found = run(tmp_path, trainer, trials=15)
    assert found["trials"] == 15
    assert len(trainer.ran) == 3
    assert not [each for each in trainer.ran if each in before.ran]


def test_what_one_search_stopped_another_may_train_to_the_end(
    whole: tuple[Path, Trainer, dict[str, Any]], tmp_path: Path
) -> None:
    _, before, _ = whole
    trainer = Trainer()
    trainer.found = dict(before.found)
    found = run(tmp_path, trainer, pruner=None)
    assert found["stopped_early"] == 0
    assert all(each["finished"] and len(each["epochs"]) == EPOCHS for name, each in trainer.found.items())
    first = next(at for at, each in enumerate(before.ran) if not before.found[str(sorted(each.items()))]["finished"])
    assert trainer.ran[0] == before.ran[first], "the first that had been stopped is trained anew, and no other before"


@pytest.mark.parametrize("epochs", [2, 5, 23])
def test_killed_anywhere_it_goes_on_to_the_same_result(
    whole: tuple[Path, Trainer, dict[str, Any]], tmp_path: Path, epochs: int
) -> None:
    command = [sys.executable, "-m", "tests.search.trainer", str(tmp_path), str(epochs)]
    killed = subprocess.run(command, cwd=ROOT, check=False, timeout=100)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "content" / "settings.json").exists()
    # Nothing is in the store here: what is not tried again is in the search's own memory.
    trainer = Trainer()
    found = run(tmp_path, trainer)
    assert trainer.ran == whole[1].ran[-len(trainer.ran) :]
    assert len(trainer.ran) < len(whole[1].ran) or epochs < EPOCHS
    assert (tmp_path / "content/settings.json").read_bytes() == (whole[0] / "content/settings.json").read_bytes()
    # Which of them were known before is another matter.
    assert {**found, "known": 0} == {**whole[2], "known": 0}


def test_each_trial_is_the_mean_over_seeds(tmp_path: Path) -> None:
    trainer = Trainer()
    found = run(tmp_path, trainer, trials=4, seeds=2, pruner=None)
    assert [each["training.seed"] for each in trainer.ran] == [4, 3] * 4
    assert trainer.kept[-1] == {**settings(tmp_path), "training.seed": 3}, "the model that would be made with them"
    assert all(each["training.seed"] == 3 for each in trainer.kept)
    assert len(trainer.kept) < 4
    of_best = [
        each["epochs"][-1]["loss"]
        for name, each in trainer.found.items()
        if all(str(item) in name for item in settings(tmp_path).items())
    ]
    assert found["score"] == pytest.approx(sum(of_best) / 2)
    assert len(of_best) == 2


def test_a_higher_score_is_better_but_for_the_loss(tmp_path: Path) -> None:
    found = run(tmp_path, Trainer(), select_by="f1_macro", trials=4)
    assert found["score"] == max(
        each["epochs"][-1]["f1_macro"] for each in _trained(tmp_path / "again", select_by="f1_macro", trials=4)
    )


def _trained(folder: Path, **changed: Any) -> list[Summary]:
    trainer = Trainer()
    run(folder, trainer, **changed)
    return list(trainer.found.values())


def test_no_trial_begins_when_the_minutes_are_spent(tmp_path: Path) -> None:
    events: list[Event] = []
    trainer = Trainer()
    found = run(tmp_path, trainer, Progress("search", events.append), minutes=1e-9)
    assert found["trials"] == len(trainer.ran) == 1
    assert "the minutes are spent after 1 of 12 trials" in [event.get("text") for event in events]


class Diverging(Trainer):
    """A training whose loss is not finite above some learning rate."""

    def __init__(self, above: float) -> None:
        super().__init__()
        self._above = above

    def __call__(self, settings: Any, attempt: Attempt, **given: Any) -> Summary:
        if settings["training.learning_rate"] > self._above:
            self.ran.append(dict(settings))
            raise DataError("the loss of step 3 is nan", where="training", fix="lower it")
        return super().__call__(settings, attempt, **given)


def test_a_training_that_fails_ends_its_trial_alone(tmp_path: Path) -> None:
    events: list[Event] = []
    trainer = Diverging(above=5e-3)
    found = run(tmp_path, trainer, Progress("search", events.append), seeds=1, trials=6)
    assert len(trainer.ran) == found["trials"] == 6
    assert found["failed"] == sum(each["training.learning_rate"] > 5e-3 for each in trainer.ran) > 0
    assert settings(tmp_path)["training.learning_rate"] <= 5e-3
    assert any("failed, the loss of step 3 is nan" in event.get("text", "") for event in events)


def test_without_any_trial_that_could_be_trained_it_fails(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 3 trials could be trained .* the loss of step 3 is nan\n  fix: look"):
        run(tmp_path, Diverging(above=0.0), trials=3)
    assert not (tmp_path / "content" / "settings.json").exists()


class Unplugged(Trainer):
    """A training that cannot go on in the third trial."""

    def __call__(self, settings: Any, attempt: Attempt, **given: Any) -> Summary:
        if len(self.ran) == 2:
            raise TransientError("the hub cannot be reached")
        return super().__call__(settings, attempt, **given)


def test_any_other_error_stops_the_search_which_goes_on_later(
    whole: tuple[Path, Trainer, dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(TransientError, match="the hub cannot be reached"):
        run(tmp_path, Unplugged())
    trainer = Trainer()
    assert run(tmp_path, trainer) == whole[2]
    assert trainer.ran == whole[1].ran[2:]


def test_what_is_going_on_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    run(tmp_path, Trainer(), Progress("search", events.append), trials=2)
    texts = [event["text"] for event in events if event["kind"] == "message"]
    assert texts[:2] == ["trial 1 of 2: batch_size 16, learning_rate 0.001", "trial 1 of 2: training"]
    assert texts[2].startswith("trial 1 of 2: trained, loss ")
    bars = [event for event in events if event["kind"] == "advance"]
    assert (bars[-1]["completed"], bars[-1]["total"]) == (2, 2)
    assert bars[-1]["values"]["best"] == min(each["values"]["best"] for each in bars if "best" in each["values"])


class Meeting(Trainer):
    """A training that goes on only while another one is under way."""

    def __init__(self) -> None:
        super().__init__()
        self._met = threading.Barrier(2, timeout=20)

    def __call__(self, settings: Any, attempt: Attempt, **given: Any) -> Summary:
        assert given["at_once"] == 2
        self._met.wait()
        return super().__call__(settings, attempt, **given)


def test_workers_train_at_the_same_time(tmp_path: Path) -> None:
    trainer = Meeting()
    found = run(tmp_path, trainer, trials=6, workers=2)
    assert found["trials"] == len(trainer.ran) == 6
    assert len({str(each) for each in trainer.ran}) == 6, "none tries what another is trying"
    finished = [each["epochs"][-1]["loss"] for each in trainer.found.values() if each["finished"]]
    assert found["score"] == min(finished)


class Failing(Trainer):
    """One training fails while another goes on until it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self._met = threading.Barrier(2, timeout=20)
        self.stopped = False

    def __call__(self, settings: Any, attempt: Attempt, **given: Any) -> Summary:
        if self._met.wait() == 0:
            raise StoreError("the program was killed")
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            if attempt.see({"kind": "advance", "values": {}}):
                self.stopped = not attempt.enough
                raise TransientError("stopped from outside")
        raise AssertionError("nobody told it to stop")


def test_an_error_of_one_worker_stops_the_others_and_is_raised(tmp_path: Path) -> None:
    trainer = Failing()
    with pytest.raises(StoreError, match="the program was killed"):
        run(tmp_path, trainer, workers=2)
    assert trainer.stopped
    assert run(tmp_path, Trainer())["trials"] == BUDGET["trials"]
