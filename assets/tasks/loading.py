"""Models and tokenizers from local folders: safetensors only, no code from the folder, nothing downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assets.errors import DataError


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bar and load report off standard error: what matters in them is checked in `load_model`."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a model folder.

    Raises:
        OSError, ValueError: the folder holds none that transformers knows.
    """
    from transformers import AutoTokenizer

    with quiet():
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def load_model(auto_class: Any, folder: Path, **changes: Any) -> tuple[Any, frozenset[str]]:
    """Load a model in float32.

    Args:
        auto_class: one of transformers' `AutoModelFor…` classes.
        folder: local model folder with `config.json` and safetensors weights.
        changes: configuration that replaces the folder's.

    Returns:
        The model, and the names of the weights that were drawn at random because the folder has none that fit.

    Raises:
        DataError: weights of the pretrained body are missing or do not fit `config.json`.
        OSError, ValueError, KeyError, safetensors.SafetensorError: transformers cannot load the folder.
    """
    import torch

    with quiet():
        model, found = auto_class.from_pretrained(
            folder,
            # A bfloat16 checkpoint would otherwise give bfloat16 master weights.
            dtype=torch.float32,
            # A head of another size is replaced; anything else that does not fit is refused below.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            **changes,
        )
    new = frozenset(found["missing_keys"]) | {mismatch[0] for mismatch in found["mismatched_keys"]}
    lost = sorted(name for name in new if not is_head(model, name))
    if lost:
        raise DataError(
            f"its weights do not fit its config.json: {len(lost)} of the pretrained body are missing or of "
            f"another shape, the first is {lost[0]}",
            where=str(folder),
            fix="take config.json and the safetensors files from the same model",
        )
    return model, new


def is_head(model: Any, name: str) -> bool:
    """Whether the parameter `name` belongs to the head: all that is not the pretrained body, and the body's pooler.

    The pooler counts because many checkpoints have none, and few have one that was trained for the task at hand.
    """
    return not name.startswith(f"{model.base_model_prefix}.") or ".pooler." in name
