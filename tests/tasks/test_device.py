"""Precision follows what the device computes natively."""

from __future__ import annotations

import os

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.errors import ConfigurationError
from assets.tasks import device as where

CPU = torch.device("cpu")


@pytest.mark.parametrize("flag", ["amx_bf16", "avx512_bf16"])
def test_auto_is_bf16_where_it_is_native(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {flag: True})
    assert where.choose_precision("auto", CPU) == "bf16"
    assert where.choose_precision("bf16", CPU) == "bf16"
    assert where.choose_precision("float32", CPU) == "float32"
    with where.autocast(CPU, "bf16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_auto_is_float32_elsewhere_and_bf16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert where.choose_precision("auto", CPU) == "float32"
    with where.autocast(CPU, "float32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with pytest.raises(ConfigurationError, match=r"'bf16' is not computed natively by CPU .*\n  fix: use 'auto'"):
        where.choose_precision("bf16", CPU)


def test_a_gpu_is_told_to_compute_the_same_bits_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", told.append)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "put back after the test")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")

    assert where.choose_device() == torch.device("cuda")

    assert told == [True]
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_torch_that_cannot_tell_gives_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert where.choose_precision("auto", CPU) == "float32"
