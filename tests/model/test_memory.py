"""A device that runs out of memory: the same rows in smaller parts, to the same result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.errors import ConfigurationError
from assets.model import stepping
from assets.model.devices import ALONE
from assets.model.memory import Parts
from assets.model.stepping import Training
from assets.progress import Event, Progress
from tests.model.pair import STOPPED, RunsOut, alike, trained


@pytest.fixture
def said() -> list[Event]:
    return []


@pytest.fixture
def parts(said: list[Event]) -> Parts:
    return Parts((8, 4, 4, 2, 2), Progress("model", said.append))


def holding(most: int, seen: list[list[list[int]]]) -> Callable[[list[list[int]], int], str]:
    """Something that runs out of memory where a part has more tokens."""
    tokens = (8, 4, 4, 2, 2)

    def compute(parts: list[list[int]], idle: int) -> str:
        assert idle == 0
        seen.append(parts)
        if any(sum(tokens[at] for at in part) > most for part in parts):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
        return "done"

    return compute


def test_rows_are_tried_in_smaller_parts_until_they_fit(parts: Parts, said: list[Event]) -> None:
    seen: list[list[list[int]]] = []
    undone: list[int] = []

    assert parts.run(list(range(5)), holding(8, seen), lambda: undone.append(len(seen))) == "done"

    assert seen == [[[0, 1, 2, 3, 4]], [[3, 4, 1], [2], [0]]]
    assert undone == [1]
    assert [event["text"] for event in said] == [
        "memory ran out: batches run in parts of 10 tokens from here on, which comes to the same"
    ]
    # What was learned is remembered.
    assert parts.run([1, 2, 3, 4], holding(8, seen)) == "done"
    assert seen[2:] == [[[3, 4, 1], [2]]]


def test_one_text_that_is_too_much(parts: Parts) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"training.max_tokens: the device has too little memory for one text of 8 tokens: CUDA out of memory. "
        r"Tried to allocate 2 GiB.\n  fix: lower it",
    ):
        parts.run(list(range(5)), holding(7, []))


@pytest.mark.parametrize("where", ["before the first step", "in the optimizer"])
def test_what_is_no_part_of_a_batch_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")

    if where == "before the first step":
        monkeypatch.setattr(stepping, "kept", full)
    else:
        monkeypatch.setattr(torch.optim.AdamW, "step", full)

    with pytest.raises(
        ConfigurationError,
        match=r"training.max_tokens: the device has too little memory for the model, what its optimizer keeps, and "
        r"two of the longest texts: CUDA out of memory. Tried to allocate 2 GiB.\n  fix: lower it",
    ):
        trained(tmp_path / "whole", ALONE)


def test_training_comes_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(tmp_path / "whole", ALONE)
    runs_out = RunsOut(monkeypatch.setattr)

    found = trained(tmp_path / "short", ALONE)

    assert runs_out.times > 1
    alike(found, whole)


def test_taken_up_again_it_keeps_to_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        RunsOut(patch.setattr)
        whole = trained(tmp_path / "whole", ALONE, dropout=0.1)
        trained(tmp_path / "stopped", ALONE, dropout=0.1, stop_at=STOPPED)

    found = trained(tmp_path / "stopped", ALONE, dropout=0.1)

    assert found["weights"] == whole["weights"]
    assert found["steps"] == whole["steps"]


@pytest.mark.parametrize("short_at_first", [False, True])
def test_taken_up_again_with_more_or_less_memory_it_keeps_to_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_at_first: bool
) -> None:
    def short(patch: pytest.MonkeyPatch, is_so: bool) -> None:
        if is_so:
            patch.setattr(stepping, "free_memory", lambda *_: 200_000.0)

    with monkeypatch.context() as patch:
        short(patch, short_at_first)
        whole = trained(tmp_path / "whole", ALONE, dropout=0.1)
        trained(tmp_path / "stopped", ALONE, dropout=0.1, stop_at=STOPPED)
    with monkeypatch.context() as patch:
        short(patch, not short_at_first)
        found = trained(tmp_path / "stopped", ALONE, dropout=0.1)

    assert found["weights"] == whole["weights"]
    assert found["steps"] == whole["steps"]


def test_what_a_failed_try_drew_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first part fails after it has drawn its dropout, and is tried again as it was.
    whole = trained(tmp_path / "whole", ALONE, dropout=0.1)
    computed = Training._gradients_of
    failed: list[int] = []

    def once(self: Training, parts: Sequence[tuple[list[int], float]]) -> Any:
        loss = computed(self, parts)
        if self.curve.step == 3 and not failed:
            failed.append(len(parts))
            raise torch.OutOfMemoryError("once")
        return loss

    monkeypatch.setattr(Training, "_gradients_of", once)
    monkeypatch.setattr(Parts, "run", lambda self, rows, compute, again=lambda: None: _twice(rows, compute, again))

    found = trained(tmp_path / "again", ALONE, dropout=0.1)

    assert failed
    assert found["weights"] == whole["weights"]


def _twice(rows: list[int], compute: Callable[[list[list[int]], int], Any], again: Callable[[], None]) -> Any:
    try:
        return compute([rows], 0)
    except torch.OutOfMemoryError:
        again()
        return compute([rows], 0)
