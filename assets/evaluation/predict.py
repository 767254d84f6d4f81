"""Predictions of a trained model for any texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from assets.errors import DataError
from assets.progress import Progress
from assets.tasks import classification as task
from assets.tasks.device import Precision, choose_device, choose_precision
from assets.tasks.inputs import infer
from assets.tasks.loading import load_tokenizer
from assets.tasks.tokens import Tokens, tokenize

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Predictor:
    """A trained model, ready to predict.

    Attributes:
        model: a `PreTrainedModel`, on its device.
        tokenizer: cuts texts off where training did.
        labels: names of the model's outputs, in their order.
        precision: of the model's matrix products.
    """

    model: Any
    tokenizer: Any
    labels: tuple[str, ...]
    precision: Precision = "float32"


def load(folder: Path, precision: Literal["auto", "float32"] = "float32") -> Predictor:
    """Load a trained model from the folder that training wrote.

    Args:
        folder: holds weights, configuration and tokenizer.
        precision: float32 for what is recorded: the batch that a text is in hardly matters then, and the device
            neither. `auto` is faster where the device has bf16; about one row in a thousand gets another label.

    Raises:
        DataError: the folder holds no trained classifier, or it is damaged.
    """
    from safetensors import SafetensorError

    try:
        model, labels = task.finetuned(folder)
        tokenizer = load_tokenizer(folder)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise DataError(
            f"no trained model can be loaded: {error}", where=str(folder), fix="name the folder of a trained model"
        ) from error
    device = choose_device()
    return Predictor(model.to(device), tokenizer, labels, choose_precision(precision, device))


def predict(
    predictor: Predictor, texts: Sequence[str], progress: Progress
) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Predict a label for each text.

    Returns:
        The most probable label of each text, and the probabilities, shape [texts, predictor.labels].
    """
    scores = score(predictor, tokenize(predictor.tokenizer, texts, predictor.tokenizer.model_max_length), progress)
    return [predictor.labels[at] for at in scores.argmax(axis=-1).tolist()], scores


def score(predictor: Predictor, tokens: Tokens, progress: Progress) -> npt.NDArray[np.float64]:
    """Probabilities of each label for tokenised texts, shape [texts, predictor.labels]."""
    with progress.bar("predicting", total=len(tokens)) as advance:
        logits = infer(
            predictor.model,
            tokens,
            pad_token_id=predictor.tokenizer.pad_token_id,
            precision=predictor.precision,
            advance=advance,
        )
    return task.scores(logits).numpy()
