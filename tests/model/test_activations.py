"""Activations: what is kept of each token is measured, and computed again to the same bits where memory is short."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.errors import ConfigurationError
from assets.model import activations, stepping
from assets.model.activations import free_memory, kept, plan, recomputed
from assets.model.devices import ALONE
from assets.model.lora import adapt
from assets.progress import Event
from assets.tasks import classification
from assets.tasks.classification import pretrained
from assets.tasks.unpadded import unpadded
from tests.model.pair import alike, trained
from tests.tiny import LABELS, make_base_model


@pytest.mark.parametrize(
    ("free", "wanted", "again", "most"),
    [
        (1000, None, False, None),
        (999, None, True, None),
        (199, None, True, 64),
        (999, False, False, 64),
        (1000, True, True, None),
        (-5, None, True, 1),
    ],
)
def test_what_is_done_with_so_much_memory(free: int, wanted: bool | None, again: bool, most: int | None) -> None:
    found = plan(10, 2, 100, free, wanted, possible=True)

    assert (found.again, found.most) == (again, most)
    assert found.needed == 1000


def test_a_model_whose_layers_cannot_be_run_again_is_run_in_parts() -> None:
    found = plan(10, 2, 100, 500, None, possible=False)

    assert (found.again, found.most) == (False, 32)


def running(model: Any, seen: list[int], again: bool) -> int:
    """Bytes that are saved for the backward pass of eight texts, counted where they are saved."""
    tokens = [[2, *range(5, 25), 3]] * 8
    held: dict[int, int] = {}

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    with unpadded(model, 0) as forward, recomputed(model) if again else nullcontext():
        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            logits = forward(tokens)
        seen.append(sum(map(len, tokens)))
        found = sum(size for address, size in held.items() if address not in weights)
        logits.sum().backward()  # type: ignore[no-untyped-call]
    return found


def test_what_is_kept_of_each_token_is_measured(tmp_path: Path) -> None:
    model = pretrained(make_base_model(tmp_path), LABELS).train()
    tokens: list[int] = []
    whole = running(model, tokens, again=False)

    with unpadded(model, 0) as forward:
        each, layer = kept(model, forward, [2, *range(5, 25), 3])

    assert each * tokens[0] == pytest.approx(whole, rel=0.05)
    assert running(model, tokens, again=True) < whole / 4
    assert 4 * 32 * 2 < layer < each


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_computed_again_it_comes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    whole = trained(tmp_path / "whole", ALONE, dropout=dropout)
    ran: list[int] = []
    checkpoint = torch.utils.checkpoint.checkpoint

    def counted(*given: Any, **settings: Any) -> Any:
        ran.append(1)
        return checkpoint(*given, **settings)

    monkeypatch.setattr(torch.utils.checkpoint, "checkpoint", counted)

    found = trained(tmp_path / "again", ALONE, dropout=dropout, recompute=True)

    assert ran
    assert {name: found[name] for name in ("weights", "steps", "epochs")} == {
        name: whole[name] for name in ("weights", "steps", "epochs")
    }


def test_where_memory_is_short_it_is_computed_again_and_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path / "whole", ALONE)
    said: list[Event] = []
    # Enough for some texts of a batch of sixteen, computed again.
    monkeypatch.setattr(stepping, "free_memory", lambda *_: 200_000.0)

    found = trained(tmp_path / "short", ALONE, sink=said.append)

    text = next(event["text"] for event in said if event["kind"] == "message")
    assert text.startswith("activations are computed again in the backward pass and batches run in parts of ")
    assert text.endswith(" GB, and 0.00 GB are free")
    alike(found, whole)


def test_a_model_without_such_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "layers_of", lambda _: [])

    with pytest.raises(ConfigurationError, match=r"training.activation_checkpointing: .*bert.*\n  fix: leave it out"):
        trained(tmp_path / "none", ALONE, recompute=True)


def test_a_containers_limit_counts_and_what_it_keeps_of_files_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limited(limit: str, stat: str) -> float:
        (tmp_path / "max").write_text(f"{limit}\n")
        (tmp_path / "current").write_text("700\n")
        (tmp_path / "memory.stat").write_text(stat)
        monkeypatch.setattr(activations, "CONTAINER", ((str(tmp_path / "max"), str(tmp_path / "current")),))
        return free_memory(torch.device("cpu"), trained=1, weights=2, processes=2)

    second = "anon 400\nfile 350\nactive_file 100\ninactive_file 200\n"
    first = "cache 9\nactive_file 1\ninactive_file 2\ntotal_active_file 100\ntotal_inactive_file 200\n"
    for stat in (first, second):
        assert limited("1000", stat) == pytest.approx(0.8 * (600 / 2 - 22 - 2 * 12))
    assert limited("max", second) > 1e6


@pytest.mark.parametrize("lora", [False, True])
def test_memory_is_reserved_for_what_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: bool) -> None:
    asked: list[tuple[int, int]] = []

    def free(_: torch.device, trained: int, weights: int, processes: int) -> float:
        asked.append((trained, weights))
        return 1e12

    def adapted(*given: Any, **settings: Any) -> Any:
        model = pretrained(*given, **settings)
        if lora:
            adapt(model, 2)
        seen.append(model)
        of_trained.append(sum(each.numel() for each in model.parameters() if each.requires_grad))
        return model

    seen: list[Any] = []
    of_trained: list[int] = []
    monkeypatch.setattr(stepping, "free_memory", free)
    monkeypatch.setattr(classification, "pretrained", adapted)

    trained(tmp_path / "whole", ALONE, epochs=1)

    (model,) = seen
    weights = sum(each.numel() for each in model.parameters())
    assert weights == asked[0][1]
    assert asked[0][0] == of_trained[0]
    assert (asked[0][0] < weights / 2) == lora
