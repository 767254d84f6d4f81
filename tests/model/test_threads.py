"""The number of threads that a CPU trains with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.model import loop
from assets.model.devices import ALONE
from assets.model.threads import TRIES, settle_threads, take_up
from assets.progress import Event
from assets.store.program import THREADS
from assets.tasks.device import Precision, choose_device
from tests.model.pair import trained


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(THREADS, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


class Machine:
    """Takes so many seconds for a batch with each number of threads."""

    def __init__(self, seconds: Mapping[int, float]) -> None:
        torch.set_num_threads(32)
        self.seconds, self.now, self.tried = seconds, 0.0, list[int]()

    def clock(self) -> float:
        return self.now

    def attempt(self) -> None:
        threads = torch.get_num_threads()
        # The first batch with a number of threads prepares kernels.
        self.now += self.seconds[threads] * (5 if threads not in self.tried else 1)
        self.tried.append(threads)


@pytest.mark.parametrize(
    ("seconds", "settled"),
    [
        ({32: 1.0, 16: 1.1}, 32),
        ({32: 1.0, 16: 0.95}, 32),
        ({32: 1.0, 16: 0.5, 8: 0.6}, 16),
        ({32: 1.0, 16: 0.8, 8: 0.6, 4: 0.5}, 4),
    ],
    ids=["more are faster", "within chance", "half of them", "the fewest"],
)
def test_fewer_threads_are_taken_as_long_as_they_are_faster(seconds: dict[int, float], settled: int) -> None:
    machine = Machine(seconds)
    settle_threads(machine.attempt, 1_000_000, machine.clock)
    assert torch.get_num_threads() == settled
    assert machine.tried == [threads for threads in seconds for _ in range(TRIES)]


@pytest.mark.parametrize(
    ("steps", "tried"), [(599, []), (600, [32] * 3 + [16] * 3), (900, [32] * 3 + [16] * 3 + [8] * 3)]
)
def test_measuring_computes_a_hundredth_of_the_batches_at_most(steps: int, tried: list[int]) -> None:
    machine = Machine({32: 1.0, 16: 0.9, 8: 0.8, 4: 0.7})
    settle_threads(machine.attempt, steps, machine.clock)
    assert machine.tried == tried


def test_fewer_than_four_are_never_tried() -> None:
    machine = Machine({7: 1.0, 3: 0.1})
    torch.set_num_threads(7)
    settle_threads(machine.attempt, 1_000_000, machine.clock)
    assert (machine.tried, torch.get_num_threads()) == ([], 7)


def test_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS, "32")
    machine = Machine({32: 1.0, 16: 0.1})
    settle_threads(machine.attempt, 1_000_000, machine.clock)
    take_up(4)
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    choose_device()
    assert (machine.tried, torch.get_num_threads()) == ([], 32)


def test_what_is_taken_up_again_has_as_many_threads_as_before_but_no_more_than_there_are() -> None:
    torch.set_num_threads(8)
    take_up(16)
    assert torch.get_num_threads() == 8
    take_up(4)
    assert torch.get_num_threads() == 4


def test_the_quota_of_a_container_limits_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 3)
    torch.set_num_threads(8)
    choose_device()
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_what_is_tried_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision) -> None:
    tried: list[int] = []

    def twice(attempt: Callable[[], None], steps: int) -> None:
        attempt()
        attempt()
        tried.append(steps)

    (tmp_path / "plain").mkdir()
    monkeypatch.setattr(loop, "settle_threads", lambda *_: None)
    plain = trained(tmp_path / "plain" / "checkpoints", ALONE, dropout=0.1, precision=precision)
    monkeypatch.setattr(loop, "settle_threads", twice)
    (tmp_path / "tried").mkdir()
    measured = trained(tmp_path / "tried" / "checkpoints", ALONE, dropout=0.1, precision=precision)

    assert tried == [10]
    assert measured["weights"] == plain["weights"]
    assert measured["places"] == plain["places"]


def test_a_training_that_goes_on_measures_nothing_and_keeps_to_its_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "settle_threads", lambda *_: torch.set_num_threads(1))
    trained(tmp_path / "checkpoints", ALONE, stop_at=5)
    torch.set_num_threads(2)

    def never(*_: object) -> None:
        raise AssertionError("what goes on is not measured")

    monkeypatch.setattr(loop, "settle_threads", never)
    said: list[Event] = []
    trained(tmp_path / "checkpoints", ALONE, sink=said.append)
    assert torch.get_num_threads() == 1
    assert "1 of 2 threads are used" in [event.get("text") for event in said]
