"""Where training and prediction run, and in which precision."""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from assets.errors import ConfigurationError
from assets.store.program import THREADS, cores

if TYPE_CHECKING:
    import torch

Precision = Literal["bf16", "float32"]

PEAKS = MappingProxyType({"H200": 989e12, "H100": 989e12, "L40S": 362e12, "A100": 312e12, "A10": 125e12, "L4": 121e12})
"""Operations a second in bfloat16, dense, of GPUs by what their name has in it (data sheets of their maker, SXM)."""


def choose_device() -> torch.device:
    """Pick the GPU where there is one, else the CPU.

    A GPU is told to compute the same bits every time. On a CPU torch is told how many processors a container may use:
    of a quota it does not know.
    """
    import torch

    if not torch.cuda.is_available():
        if not os.environ.get(THREADS):
            torch.set_num_threads(min(torch.get_num_threads(), cores()))
        return torch.device("cpu")
    # cuBLAS is deterministic only with a workspace of a fixed size, which it reads when the first context is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Else memory that is about to be written is filled first, against errors in kernels: 600 operations more in a pass
    # over 6 layers of BERT (counted on a CPU).
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device("cuda")


def onto(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor on the CPU, on a device: copied to a GPU without waiting for what it is at."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def describe(device: torch.device) -> str:
    """Name of the device, for people."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({torch.get_num_threads()} threads)"


def peak(device: torch.device, precision: Precision) -> float | None:
    """Operations a second that the device can do at most in matrix products, or None if that is not known."""
    name = describe(device)
    known = device.type == "cuda" and precision == "bf16"
    return next((found for part, found in PEAKS.items() if part in name), None) if known else None


def memory_in_use(device: torch.device) -> float:
    """Most bytes that this process has had so far: of the GPU's memory, or of the machine's."""
    import torch

    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    # Told in kilobytes, and in bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def give_back(device: torch.device) -> None:
    """Give back the memory of a GPU that no tensor needs any more, so that it counts as free."""
    if device.type == "cuda":
        import torch

        gc.collect()
        torch.cuda.empty_cache()


def choose_precision(wanted: Literal["auto", "bf16", "float32"], device: torch.device) -> Precision:
    """Settle `auto`: bf16 where the device computes it natively, since emulation is slower than float32.

    Raises:
        ConfigurationError: bf16 is demanded of a device that only emulates it.
    """
    native = _native_bf16(device)
    if wanted == "bf16" and not native:
        raise ConfigurationError(
            f"'bf16' is not computed natively by {describe(device)}",
            where="training.precision",
            fix="use 'auto' or 'float32'",
        )
    return "bf16" if wanted != "float32" and native else "float32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Context in which matrix products run in the precision; weights and optimizer stay in float32."""
    import torch

    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def _native_bf16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older versions of torch cannot tell: float32 is right everywhere.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
