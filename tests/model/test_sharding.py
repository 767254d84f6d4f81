"""A model that is shared out: two come to what one comes to that has it whole, and each keeps half of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.errors import ConfigurationError
from assets.model import STEP, sharding
from assets.model.devices import ALONE, LOST, Devices
from assets.model.sharding import shard, too_large
from assets.store.digests import files_under
from assets.store.program import run_program
from assets.store.store import Store
from assets.tasks.classification import finetuned, pretrained
from tests.conftest import MakeBuild
from tests.model import forked, sharded_pair
from tests.model.pair import STOPPED, alike, trained
from tests.model.sharded_pair import SETTINGS, every_word
from tests.model.test_train import ARGUMENTS, see
from tests.tiny import LABELS, make_base_model, make_rows, make_splits

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    with every_word():
        trained(folder / "one then shared", ALONE, stop_at=STOPPED)
    forked.pair(sharded_pair.main, folder)
    return folder


@pytest.fixture(scope="module")
def both(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def found(both: list[dict[str, Any]]) -> dict[str, Any]:
    first, second = both
    assert first["plain"]["steps"] == second["plain"]["steps"]
    assert first["plain"]["epochs"] == second["plain"]["epochs"]
    # The result is the first one's to write.
    assert second["plain"]["weights"] == {}
    return first


@pytest.mark.parametrize("name", SETTINGS)
def test_two_come_to_what_one_comes_to(found: dict[str, Any], tmp_path: Path, name: str) -> None:
    with every_word():
        alone = trained(tmp_path, ALONE, **SETTINGS[name])

    alike(found[name], alone)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> int:
    model = pretrained(make_base_model(tmp_path_factory.mktemp("whole")), LABELS)
    return sum(weight.numel() for weight in model.parameters())


def test_each_keeps_half_of_weights_and_moments(both: list[dict[str, Any]], weights: int) -> None:
    for each in both:
        # What has an odd number of rows is a row more on one of them.
        assert each["plain"]["kept"] == [
            pytest.approx(4 * weights / 2, rel=0.02),
            pytest.approx(8 * weights / 2, rel=0.02),
        ]


def test_padded_it_comes_to_the_same(found: dict[str, Any]) -> None:
    alike(found["padded"], found["one epoch"])


def test_in_bfloat16_what_is_kept_is_float32(both: list[dict[str, Any]], found: dict[str, Any]) -> None:
    assert found["bf16"]["steps"] != found["one epoch"]["steps"]
    for one, other in zip(found["bf16"]["epochs"], found["one epoch"]["epochs"], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.05)
    weights = torch.tensor(found["bf16"]["weights"]["classifier.weight"])
    assert not torch.equal(weights, weights.bfloat16().float())


def test_both_run_a_batch_in_as_many_parts(both: list[dict[str, Any]], found: dict[str, Any], weights: int) -> None:
    alike(found["in parts"], found["one epoch"])
    assert both[0]["in parts"]["asked"] == both[1]["in parts"]["asked"] == [-(-weights // 2)] * 2 + [2]
    first, second = (each["in parts"]["said"] for each in both)
    assert first == second
    assert first[0] == "weights, gradients and moments are shared out among 2 devices"
    assert "batches run in parts of " in first[1]


@pytest.mark.parametrize("where", [", forward", ", backward", " after a part"])
def test_where_one_runs_out_of_memory_both_try_again(found: dict[str, Any], where: str) -> None:
    alike(found[f"one runs out of memory{where}"], found["one epoch"])


def test_where_one_has_too_little_for_a_text_both_say_so(both: list[dict[str, Any]]) -> None:
    told = "training.max_tokens: the device has too little memory for one text of "
    assert all(each["too little"].startswith(told) for each in both)
    assert "it ran out on another device\n" in both[0]["too little"]
    assert "tried to allocate 2 GiB\n" in both[1]["too little"]


def test_stopped_and_taken_up_again_two_come_to_the_same_bits(found: dict[str, Any]) -> None:
    assert found["two then two"]["weights"] == found["with dropout"]["weights"]
    assert found["two then two"]["steps"] == found["with dropout"]["steps"]


@pytest.mark.parametrize("name", ["shared then one", "one then shared", "shared then whole", "whole then shared"])
def test_what_was_shared_out_is_taken_up_by_those_that_have_it_whole_and_back(
    folder: Path, found: dict[str, Any], name: str
) -> None:
    if name in found:
        taken_up = found[name]
    else:
        with every_word():
            taken_up = trained(folder / name, ALONE)

    whole = found["plain"]
    assert taken_up["examples"] < whole["examples"]
    alike(taken_up, {**whole, "examples": taken_up["examples"], "tokens": taken_up["tokens"]})


def test_what_is_released_is_the_model_as_it_always_is(make_build: MakeBuild, store: Store, tmp_path: Path) -> None:
    splits, base = make_splits(store, make_rows(200, seed=0)), make_base_model(tmp_path / "base")
    arguments = {**ARGUMENTS, "epochs": 1, "devices": 2, "lora_rank": 4}
    whole, shared = (make_build({"splits": splits}, see(base)) for _ in range(2))
    for build, shared_out in ((whole, None), (shared, True)):
        run_program(STEP, build, {**arguments, "sharding": shared_out}, [STEP.function], forked.launch_pair)

    first, second = (build.content / "model" for build in (whole, shared))
    assert [path.name for path in files_under(first)] == [path.name for path in files_under(second)]
    assert (first / "config.json").read_bytes() == (second / "config.json").read_bytes()
    alone, together = (finetuned(folder)[0].state_dict() for folder in (first, second))
    assert alone.keys() == together.keys()
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, rtol=1e-4, atol=1e-5)
    timings = [json.loads((build.trace / "timing.json").read_text()) for build in (whole, shared)]
    assert [timing["sharding"] for timing in timings] == [False, True]


@pytest.mark.parametrize("devices", [ALONE, Devices(0, 2)])
def test_by_itself_it_is_shared_out_where_it_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: Devices
) -> None:
    model = pretrained(make_base_model(tmp_path), LABELS)
    needed = 16 * sum(weight.numel() for weight in model.parameters())
    monkeypatch.setattr(Devices, "most", lambda _, *numbers: numbers)

    def fits(free: float, device: torch.device = GPU) -> bool:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 0))
        return not too_large(model, device, devices)

    assert fits(1.3 * needed)
    assert not fits(1.2 * needed)
    assert fits(0, CPU)
    for name, weight in model.named_parameters():
        weight.requires_grad_(name.startswith("classifier"))
    assert fits(1.2 * needed / 3)


def test_an_earlier_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pretrained(make_base_model(tmp_path), LABELS)
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.12.1"))

    with pytest.raises(ConfigurationError, match=r"training.sharding: needs torch 2.13 or later, and this is 2.12.1\n"):
        shard(model, CPU, "float32", Devices(0, 2))


def test_a_model_without_such_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pretrained(make_base_model(tmp_path), LABELS)
    monkeypatch.setattr(sharding, "layers_of", lambda _: [])

    with pytest.raises(ConfigurationError, match=r"training.sharding: bert of this .* shared out\n  fix: leave it out"):
        shard(model, CPU, "float32", Devices(0, 2))


def test_one_whose_others_are_gone_ends_without_a_word() -> None:
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("Connection closed by peer")

    gather = sharding._Collective(refused, lambda: None)
    with pytest.raises(SystemExit) as ended:
        gather(output_tensor=torch.zeros(2), input_tensor=torch.zeros(1), group=None)
    assert ended.value.code == LOST
