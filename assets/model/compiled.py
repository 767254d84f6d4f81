"""A model's body as one compiled function, for a GPU that would wait for the CPU to start its many small operations.

`torch.compile` traces the body, forwards and backwards, with the number of texts and tokens as symbols: what it makes
for the first batch serves every other one as it is, without padding. Layer by layer, what comes around each compiled
call takes as long as what is saved. The head stays as it is: texts are rows there, and of one row torch makes a case of
its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from assets.errors import ConfigurationError
from assets.tasks.unpadded import body_of

if TYPE_CHECKING:
    import torch

FIELD = "training.compile"
_CONFIGS: Mapping[str, Mapping[str, bool]] = MappingProxyType(
    {
        # Else two numbers that happen to be equal in the first batch, such as of tokens and of a row's width, would be
        # taken for one, and the next batch compiled anew.
        "torch.fx.experimental._config": {"use_duck_shape": False},
        # Else sums would be cut up by what was quicker in a trial; and here and below, what other processes compiled be
        # loaded, from pickles.
        "torch._inductor.config": {"deterministic": True, "fx_graph_cache": False, "autotune_local_cache": False},
        # These settings are those of one thread: left to the first backward pass, its compilation would be in another.
        "torch._functorch.config": {"enable_autograd_cache": False, "force_non_lazy_backward_lowering": True},
        "torch._dynamo.config": {"automatic_dynamic_local_pgo": False},
    }
)


def why_not_compiled(device: torch.device, *, padded: bool, sharded: bool) -> str | None:
    """Why a training is not compiled although that is asked for, in words, or None if it can be."""
    if device.type != "cuda":
        return "there is no GPU, which alone would be faster for it"
    if padded:
        return "batches are padded"
    return "the model is shared out among devices" if sharded else None


@contextmanager
def compiled(model: Any) -> Iterator[None]:
    """Let a model that runs unpadded, by offsets, run compiled for a while where it is in training mode.

    In evaluation mode it runs as it will when it is released, and nothing is compiled for that.

    Raises:
        ConfigurationError: torch cannot compile it.
    """
    import torch
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    body = body_of(model)
    plain = body.forward
    fast = torch.compile(plain, fullgraph=True, dynamic=True)

    def forward(*given: Any, **named: Any) -> Any:
        return (fast if body.training else plain)(*given, **named)

    body.forward = forward
    try:
        with ExitStack() as stack:
            for config, changes in _CONFIGS.items():
                stack.enter_context(import_module(config).patch(**changes))
            yield
    except (TorchDynamoException, FailOnRecompileLimitHit) as error:
        # Behind it stand how to see more, and where in transformers it was.
        first, _, _ = str(error).partition("\n\n")
        why = f"torch {torch.__version__} cannot compile this {model.config.model_type}: {' '.join(first.split())}"
        if isinstance(error, FailOnRecompileLimitHit):
            why = f"batches of this {model.config.model_type} fit none of the bodies that were compiled for others"
        raise ConfigurationError(
            why, where=FIELD, fix="leave it out: training goes on without, to the same model within rounding"
        ) from error
    finally:
        del body.forward
