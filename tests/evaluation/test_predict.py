"""Predictions of a trained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assets.errors import DataError
from assets.evaluation.predict import load, predict
from assets.progress import Event, Progress
from assets.tasks.classification import pretrained
from assets.tasks.device import choose_device, choose_precision
from assets.tasks.loading import load_tokenizer
from tests.tiny import LABELS, make_base_model, make_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base, folder = (tmp_path_factory.mktemp(name) for name in ("base", "model"))
    pretrained(make_base_model(base), LABELS).save_pretrained(folder)
    load_tokenizer(base).save_pretrained(folder)
    return folder


def test_each_text_gets_a_label_and_probabilities_whatever_stands_beside_it(folder: Path, events: list[Event]) -> None:
    predictor = load(folder)
    texts = [text for text, _ in make_rows(70, seed=3)] + ["home " * 500]

    labels, scores = predict(predictor, texts, Progress("predict", events.append))

    assert predictor.labels == LABELS
    assert scores.shape == (71, 2)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert labels == [LABELS[at] for at in scores.argmax(axis=1)]
    for at in (0, 35, 70):
        np.testing.assert_allclose(predict(predictor, [texts[at]], Progress("predict"))[1][0], scores[at], atol=1e-6)
    assert [event["completed"] for event in events if event["kind"] == "advance"] == [16, 71]


def test_no_texts(folder: Path) -> None:
    labels, scores = predict(load(folder), [], Progress("predict"))
    assert (labels, scores.shape) == ([], (0, 2))


def test_a_folder_that_holds_no_trained_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no trained model can be loaded: .*\n  fix: name the folder"):
        load(tmp_path)
    with pytest.raises(DataError, match="not a fine-tuned classifier"):
        load(make_base_model(tmp_path))


def test_damaged_weights(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="no trained model can be loaded"):
        load(tmp_path)


def test_what_is_recorded_is_float32_and_only_who_asks_gets_what_is_fast(folder: Path) -> None:
    assert load(folder).precision == "float32"
    assert load(folder, "auto").precision == choose_precision("auto", choose_device())
