"""Predictions of a trained model for any texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.errors import DataError
from assets.progress import Progress
from assets.tasks import classification as task
from assets.tasks.device import choose_device
from assets.tasks.inputs import infer, tokenize
from assets.tasks.loading import load_tokenizer

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
    """

    model: Any
    tokenizer: Any
    labels: tuple[str, ...]


def load(folder: Path) -> Predictor:
    """Load a trained model from the folder that training wrote.

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
    return Predictor(model.to(choose_device()), tokenizer, labels)


def predict(
    predictor: Predictor, texts: Sequence[str], progress: Progress
) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Predict a label for each text, in float32 so that the batch a text is in hardly matters.

    Returns:
        The most probable label of each text, and the probabilities, shape [texts, predictor.labels].
    """
    tokens = tokenize(predictor.tokenizer, texts, predictor.tokenizer.model_max_length)
    with progress.bar("predicting", total=len(texts)) as advance:
        logits = infer(predictor.model, tokens, pad_token_id=predictor.tokenizer.pad_token_id, advance=advance)
    scores = task.scores(logits)
    return [predictor.labels[at] for at in scores.argmax(dim=-1).tolist()], scores.numpy()
