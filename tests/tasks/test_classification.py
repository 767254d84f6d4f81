"""Single-label classification: metrics as defined, and only models that fit are loaded."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch  # noqa: TID253 - this module tests torch code
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import DataError
from assets.tasks import classification as task
from tests.tiny import make_base_model

LABELS = ("ham", "spam", "other")
PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40)


@pytest.mark.parametrize("architecture", ["Bert", "Roberta", "DistilBert", "Electra", "DebertaV2", "ModernBert"])
def test_outputs_are_told_from_other_weights_with_as_many_rows(architecture: str) -> None:
    """As many labels as the body is wide: only the last layer has a row for each of them."""
    import transformers

    width = 16
    as_wide = ("hidden_size", "embedding_size", "intermediate_size", "dim", "hidden_dim", "pooler_hidden_size")
    small = {"num_hidden_layers": 1, "n_layers": 1, "num_attention_heads": 2, "n_heads": 2, "vocab_size": 8}
    config = getattr(transformers, f"{architecture}Config")(pad_token_id=0)
    for name, value in {**dict.fromkeys(as_wide, width), **small}.items():
        if hasattr(config, name):
            setattr(config, name, value)
    config.num_labels = width
    torch.manual_seed(0)
    other, model = (getattr(transformers, f"{architecture}ForSequenceClassification")(config) for _ in range(2))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    known = [str(at) for at in range(width)]
    labels = ["new", *reversed(known[1:])]

    task.inherit(model, other.state_dict(), known, labels)

    own = other.state_dict()
    turned = [name for name, weight in model.state_dict().items() if not torch.equal(weight, own[name])]
    assert [name for name in turned if own[name].ndim > 1] == [turned[0]]
    assert 1 <= len(turned) <= 2
    for name in turned:
        found = model.state_dict()[name]
        assert torch.equal(found[0], before[name][0]), "a label that it never learned"
        assert torch.equal(found[1:], own[name].flip(0)[:-1])


def test_metrics_of_an_example_computed_by_hand() -> None:
    true = ["ham", "ham", "ham", "spam", "spam"]
    predicted = ["ham", "ham", "spam", "spam", "ham"]

    found = task.metrics(true, predicted, ["ham", "spam"])

    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["per_class"]["ham"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3})
    assert found["per_class"]["spam"] == pytest.approx({"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2})
    assert found["f1_macro"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["confusion"] == {"labels": ["ham", "spam"], "matrix": [[2, 1], [1, 1]]}
    assert found["rows"] == 5
    json.dumps(found)


def test_a_label_that_never_occurs_counts_as_zero_without_a_warning() -> None:
    found = task.metrics(["ham", "ham"], ["ham", "ham"], LABELS)

    assert found["per_class"]["other"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert found["f1_macro"] == pytest.approx(1 / 3)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(pairs=PAIRS, random=st.randoms(use_true_random=False))
def test_metrics_agree_with_the_confusion_matrix_and_ignore_the_order_of_rows(
    pairs: list[tuple[str, str]], random: object
) -> None:
    found = task.metrics([true for true, _ in pairs], [predicted for _, predicted in pairs], LABELS)
    matrix = found["confusion"]["matrix"]

    assert sum(map(sum, matrix)) == found["rows"] == len(pairs)
    assert found["accuracy"] == pytest.approx(sum(matrix[at][at] for at in range(3)) / len(pairs))
    assert [found["per_class"][label]["support"] for label in LABELS] == [sum(row) for row in matrix]
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert task.metrics([true for true, _ in shuffled], [guess for _, guess in shuffled], LABELS) == found


def test_loss_is_the_mean_of_the_negative_log_scores() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5]])
    targets = task.encode_targets(["ham", "other"], LABELS)
    scores = task.scores(logits)

    assert targets.tolist() == [0, 2]
    assert scores.sum(dim=-1).tolist() == pytest.approx([1, 1])
    expected = -(math.log(scores[0, 0]) + math.log(scores[1, 2])) / 2
    assert float(task.loss(logits.bfloat16(), targets)) == pytest.approx(expected, rel=1e-2)
    assert float(task.loss(logits, targets)) == pytest.approx(expected, rel=1e-6)


def test_pretrained_has_a_head_for_the_labels_in_float32(
    base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModel

    AutoModel.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(tmp_path)
    capfd.readouterr()

    model = task.pretrained(tmp_path, LABELS)

    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.classifier.weight.shape == (3, 32)
    assert model.config.id2label == dict(enumerate(LABELS))
    assert model.config.label2id == {"ham": 0, "spam": 1, "other": 2}
    assert model.config.problem_type == "single_label_classification"
    assert capfd.readouterr() == ("", "")


def test_a_head_of_another_size_is_replaced(base: Path, tmp_path: Path) -> None:
    task.pretrained(base, ["a", "b"]).save_pretrained(tmp_path)

    assert task.pretrained(tmp_path, LABELS).classifier.weight.shape == (3, 32)


def test_weights_that_do_not_fit_the_configuration_are_refused(base: Path, tmp_path: Path) -> None:
    make_base_model(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 96}))

    with pytest.raises(
        DataError, match=r"do not fit its config.json: 6 of the pretrained body .* bert.encoder.layer.0"
    ):
        task.pretrained(tmp_path, LABELS)


def test_a_pretrained_model_is_not_taken_for_a_fine_tuned_one(base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a fine-tuned classifier: it has no weights for classifier.bias"):
        task.finetuned(base)

    task.pretrained(base, LABELS).save_pretrained(tmp_path)
    assert task.finetuned(tmp_path)[1] == LABELS
