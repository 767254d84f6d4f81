"""Single-label text classification: every text has exactly one of a fixed, ordered set of labels."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.errors import DataError
from assets.tasks.loading import load_model

if TYPE_CHECKING:
    import torch


def pretrained(folder: Path, labels: Sequence[str]) -> Any:
    """Load the pretrained body and put a head with one output for each label on it.

    Weights that the folder lacks (the head's) are drawn from torch's global generator, so seed that first.

    Args:
        folder: local model folder with `config.json` and safetensors weights.
        labels: names of the classes, in the order of the model's outputs.

    Returns:
        A `PreTrainedModel` in float32; its logits have shape [batch, len(labels)].

    Raises:
        DataError: weights of the pretrained body are missing or do not fit `config.json`.
        OSError, ValueError, KeyError, safetensors.SafetensorError: transformers cannot load the folder.
    """
    from transformers import AutoModelForSequenceClassification

    model, _ = load_model(
        AutoModelForSequenceClassification,
        folder,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        # Said here: transformers would guess it from the dtype of the targets.
        problem_type="single_label_classification",
    )
    return model


def finetuned(folder: Path) -> tuple[Any, tuple[str, ...]]:
    """Load a model that `pretrained` made and training saved, and the names of its outputs in order.

    Raises:
        DataError: weights are missing or do not fit `config.json`.
        OSError, ValueError, KeyError, safetensors.SafetensorError: transformers cannot load the folder.
    """
    from transformers import AutoModelForSequenceClassification

    model, new = load_model(AutoModelForSequenceClassification, folder)
    if new:
        raise DataError(
            f"not a fine-tuned classifier: it has no weights for {', '.join(sorted(new))}",
            where=str(folder),
            fix="name the folder of a trained model, not of a pretrained one",
        )
    return model, tuple(model.config.id2label[index] for index in range(model.config.num_labels))


def inherit(model: Any, weights: Mapping[str, torch.Tensor], known: Sequence[str], labels: Sequence[str]) -> None:
    """Give a model the weights of a fine-tuned one of the same architecture, its outputs by the names of the labels.

    Args:
        model: from `pretrained`; changed in place. Outputs for labels that the other does not know stay as they are.
        weights: of the fine-tuned model, by their names.
        known: names of its outputs, in order.
        labels: names of the model's outputs, in order.
    """
    import torch

    outputs = _outputs(model)
    pairs = [(at, known.index(label)) for at, label in enumerate(labels) if label in known]
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            if name not in outputs:
                weight.copy_(weights[name])
            else:
                for at, before in pairs:
                    weight[at].copy_(weights[name][before])


def _outputs(model: Any) -> frozenset[str]:
    """Names of the weights with a row for each label: those that have one more in a model with one label more."""
    import torch

    config = copy.deepcopy(model.config)
    config.num_labels += 1
    with torch.device("meta"):
        wider = type(model)(config).state_dict()
    return frozenset(name for name, weight in model.state_dict().items() if weight.shape != wider[name].shape)


def encode_targets(values: Sequence[str], labels: Sequence[str]) -> torch.Tensor:
    """Class indices of label names, int64 of shape [len(values)]."""
    import torch

    index = {label: position for position, label in enumerate(labels)}
    return torch.tensor([index[value] for value in values], dtype=torch.int64)


def loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
    total: float | None = None,
) -> torch.Tensor:
    """Cross-entropy in float32, a scalar in nats.

    Args:
        logits: shape [batch, classes], any floating type.
        targets: class indices, shape [batch].
        weights: of the classes, shape [classes], or None for equal ones.
        smoothing: share of the target that is spread over all classes (Szegedy et al. 2016).
        total: what the sum is divided by; None: what these rows weigh, which gives their mean. Parts of a batch are
            given what the whole batch weighs.
    """
    import torch

    how = "mean" if total is None else "sum"
    found = torch.nn.functional.cross_entropy(
        logits.float(), targets, weight=weights, reduction=how, label_smoothing=smoothing
    )
    return found if total is None else found / total


def scores(logits: torch.Tensor) -> torch.Tensor:
    """Probabilities of the classes in float64, shape [batch, classes], from logits of the same shape."""
    import torch

    return torch.softmax(logits.double(), dim=-1)


def metrics(true: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Compare predicted with true labels, as scikit-learn defines the metrics; 0 where one is undefined (0 / 0).

    Args:
        true: the label of each row.
        predicted: what was predicted for each row.
        labels: every label, also those that do not occur; macro averages are over all of them.

    Returns:
        `accuracy`, `precision_macro`, `recall_macro`, `f1_macro`, `rows`, `per_class` (label → `precision`, `recall`,
        `f1`, `support`) and `confusion` (`labels`, `matrix` with a row for each true label).
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    names = list(labels)
    precision, recall, f1, support = precision_recall_fscore_support(
        true, predicted, labels=names, average=None, zero_division=0
    )
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "precision_macro": float(precision.mean()),
        "recall_macro": float(recall.mean()),
        "f1_macro": float(f1.mean()),
        "rows": len(true),
        "per_class": {
            name: {
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
                "support": int(support[index]),
            }
            for index, name in enumerate(names)
        },
        "confusion": {"labels": names, "matrix": confusion_matrix(true, predicted, labels=names).tolist()},
    }
