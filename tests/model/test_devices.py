"""Several processes that train one model: two come to what one comes to, and to nothing when one is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - this module tests torch code
from hypothesis import given
from hypothesis import strategies as st

from assets.errors import TransientError
from assets.model.devices import ALONE, LOST, Devices, devices_together
from tests.model import forked, pair
from tests.model.pair import STOPPED, TRAININGS, alike, trained


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40), count=st.integers(1, 5))
def test_every_row_is_one_processs_and_tokens_are_shared_evenly(lengths: list[int], count: int) -> None:
    batch = [100 + at for at in range(len(lengths))]

    shares = [Devices(rank, count).share(batch, lengths) for rank in range(count)]

    assert sorted(row for share in shares for row in share) == batch
    for share in shares:
        assert sum(lengths[row - 100] for row in share) <= sum(lengths) / count + max(lengths)


def test_processes_that_do_not_reach_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: str) -> None:
        raise RuntimeError("Connection refused")

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "init_process_group", refused)

    told = r"training.devices: the 2 processes that train together do not reach each other: Connection refused\n  fix"
    with pytest.raises(TransientError, match=told), devices_together():
        pass


def test_one_whose_others_are_gone_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(torch.distributed, "all_reduce", refused)

    with pytest.raises(SystemExit) as ended:
        Devices(0, 2).add([torch.zeros(3)])
    assert ended.value.code == LOST


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    trained(folder / "one then two", ALONE, stop_at=STOPPED)
    forked.pair(pair.main, folder)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    first, second = (json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(2))
    # Bit by bit: each of them could have written the result.
    assert {name: each["weights"] for name, each in first.items()} == {
        name: each["weights"] for name, each in second.items()
    }
    assert {name: each["epochs"] for name, each in first.items()} == {
        name: each["epochs"] for name, each in second.items()
    }
    found: dict[str, Any] = first
    return found


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_come_to_what_one_comes_to(found: dict[str, Any], tmp_path: Path, name: str) -> None:
    alone = trained(tmp_path, ALONE, **TRAININGS[name])

    alike(found[name], alone)


def test_one_that_runs_out_of_memory_tries_again_while_the_other_waits(found: dict[str, Any]) -> None:
    alike(found["one runs out of memory"], found["plain"])


def test_stopped_and_taken_up_again_two_come_to_the_same_bits(found: dict[str, Any]) -> None:
    assert found["two then two"]["weights"] == found["with dropout"]["weights"]
    assert found["two then two"]["steps"] == found["with dropout"]["steps"]


def test_those_that_see_different_checkpoints_are_refused(found: dict[str, Any]) -> None:
    assert found["apart"]["weights"].startswith(
        "training.devices: the processes that train together find different checkpoints: of steps 0, 3\n  fix: on"
    )


def test_each_draws_numbers_of_its_own(folder: Path) -> None:
    for name in ("plain", "with dropout", "one then two"):
        first, second = (json.loads((folder / f"found-{rank}.json").read_text())[name]["seed"] for rank in range(2))
        assert first == 0
        assert second != 0


@pytest.mark.parametrize("name", ["two then one", "one then two"])
def test_another_number_of_processes_takes_up_where_one_was_stopped(
    folder: Path, found: dict[str, Any], name: str
) -> None:
    taken_up = found[name] if name in found else trained(folder / name, ALONE)

    whole = found["plain"]
    assert taken_up["examples"] < whole["examples"]
    alike(taken_up, {**whole, "examples": taken_up["examples"], "tokens": taken_up["tokens"]})
