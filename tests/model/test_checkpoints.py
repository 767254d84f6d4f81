"""Checkpoints: what was saved comes back, a damaged or half-written one does not, a full disk stops nothing."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.model.checkpoints import Checkpoints
from assets.progress import Event, Progress


@pytest.fixture
def said() -> list[Event]:
    return []


@pytest.fixture
def checkpoints(tmp_path: Path, said: list[Event]) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", Progress("model", said.append), device="cpu", seconds=0)


def save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(step, {"epoch": step}, {"weights": torch.full((3,), float(step))}.items())
    checkpoints.wait()


def test_there_is_none_at_first(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest() is None


def test_the_newest_comes_back_and_the_last_two_are_kept(checkpoints: Checkpoints, tmp_path: Path) -> None:
    for step in (5, 10, 15):
        save(checkpoints, step)

    found = checkpoints.latest()
    assert found is not None
    assert (found.step, found.state) == (15, {"epoch": 15})
    assert found.tensors["weights"].tolist() == [15.0] * 3
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [f"step-0000000{step}.{kind}" for step in (10, 15) for kind in ("json", "safetensors")]


def test_what_changes_after_saving_is_not_saved(checkpoints: Checkpoints) -> None:
    weights = torch.zeros(1000)
    checkpoints.save(1, {}, {"weights": weights}.items())
    weights += 1
    checkpoints.wait()

    found = checkpoints.latest()
    assert found is not None
    assert float(found.tensors["weights"].sum()) == 0


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "manifest", "state"])
def test_a_damaged_one_is_passed_over_for_the_one_before(
    checkpoints: Checkpoints, tmp_path: Path, said: list[Event], damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The file has several pieces: damage to the last one counts as well.
    monkeypatch.setattr("assets.model.checkpoints.PIECE", 16)
    save(checkpoints, 5)
    save(checkpoints, 10)
    path = tmp_path / "checkpoints" / "step-000000010.safetensors"
    data = path.read_bytes()
    if damage == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "cut":
        path.write_bytes(data[:-4])
    elif damage == "gone":
        path.unlink()
    elif damage == "manifest":
        path.with_suffix(".json").write_text("{", encoding="utf-8")
    else:
        manifest = path.with_suffix(".json")
        manifest.write_text(manifest.read_text().replace('"epoch": 10', '"epoch": 18'))

    found = checkpoints.latest()

    assert found is not None
    assert found.step == 5
    assert "step-000000010.safetensors is damaged, and passed over" in said[-1]["text"]


def test_a_file_whose_manifest_was_never_written_does_not_count(checkpoints: Checkpoints, tmp_path: Path) -> None:
    save(checkpoints, 5)
    whole = tmp_path / "checkpoints" / "step-000000005.safetensors"
    whole.with_name("step-000000010.safetensors").write_bytes(whole.read_bytes())

    found = checkpoints.latest()
    assert found is not None
    assert found.step == 5


def test_a_disk_that_takes_no_more_is_said_and_an_earlier_one_kept(
    checkpoints: Checkpoints, tmp_path: Path, said: list[Event]
) -> None:
    save(checkpoints, 5)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        save(checkpoints, 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "no checkpoint at step 10: " in said[-1]["text"]
    assert said[-1]["text"].endswith("training goes on, and that of step 5 is kept")
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    found = checkpoints.latest()
    assert found is not None
    assert found.step == 5


def test_one_is_due_when_its_time_has_come(tmp_path: Path) -> None:
    patient = Checkpoints(tmp_path, Progress("model"), device="cpu", seconds=3600)
    assert not patient.due()
    assert Checkpoints(tmp_path, Progress("model"), device="cpu", seconds=0).due()


def test_of_several_processes_one_writes_and_all_read(checkpoints: Checkpoints, tmp_path: Path) -> None:
    other = Checkpoints(tmp_path / "checkpoints", Progress("model"), device="cpu", seconds=0, writes=False)
    assert not other.due()
    save(other, 5)
    assert not (tmp_path / "checkpoints").exists()

    save(checkpoints, 5)

    found = other.latest()
    assert found is not None
    assert found.step == 5


def test_one_of_another_device_is_passed_over(checkpoints: Checkpoints, tmp_path: Path, said: list[Event]) -> None:
    save(checkpoints, 5)

    other = Checkpoints(tmp_path / "checkpoints", Progress("model", said.append), device="cuda")

    assert other.latest() is None
    assert said[-1]["text"] == "checkpoint step-000000005.safetensors is of another device (cpu), and passed over"


def test_what_a_killed_process_left_is_removed_with_the_next(checkpoints: Checkpoints, tmp_path: Path) -> None:
    for step in (5, 10):
        save(checkpoints, step)
    for left in ("step-000000007.safetensors.part", "step-000000008.safetensors", "step-000000011.json.part"):
        (tmp_path / "checkpoints" / left).touch()

    save(checkpoints, 15)

    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        f"step-0000000{step}.{kind}" for step in (10, 15) for kind in ("json", "safetensors")
    ]


def steps(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in folder.glob("*.safetensors"))


def test_those_of_another_device_that_are_newer_take_no_place_and_stay(tmp_path: Path) -> None:
    gpu = Checkpoints(tmp_path, Progress("model"), device="cuda")
    for step in (480, 500):
        save(gpu, step)
    cpu = Checkpoints(tmp_path, Progress("model"), device="cpu")
    assert cpu.latest() is None
    for step in (40, 60, 80):
        save(cpu, step)

    assert steps(tmp_path) == [60, 80, 480, 500]
    for device, newest in (("cpu", 80), ("cuda", 500)):
        found = Checkpoints(tmp_path, Progress("model"), device=device).latest()
        assert found is not None
        assert found.step == newest
    save(cpu, 490)
    assert steps(tmp_path) == [80, 490, 500], "what is behind is of no use to anybody"


def test_a_damaged_one_that_is_newer_takes_no_place(checkpoints: Checkpoints, tmp_path: Path) -> None:
    for step in (480, 500):
        save(checkpoints, step)
    folder = tmp_path / "checkpoints"
    for step in (480, 500):
        (folder / f"step-000000{step}.safetensors").write_bytes(b"damaged")
    again = Checkpoints(folder, Progress("model"), device="cpu")
    assert again.latest() is None

    save(again, 40)

    assert steps(folder) == [40]
    found = again.latest()
    assert found is not None
    assert found.step == 40
