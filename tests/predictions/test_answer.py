"""What a model is asked, and what is made of its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assets.predictions import answer as module
from assets.store.store import Store
from assets.store.tables import read_tables
from tests.conftest import MakeBuild
from tests.tiny import make_object

Answer = Callable[..., list[dict[str, Any]]]
asked: list[str] = []


@pytest.fixture
def answer(make_build: MakeBuild, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Answer:
    """`answer(["a", None])`: answers of a model that is 80 % sure of spam where a text has `prize`, else 30 %."""

    def predict(predictor: Any, texts: Sequence[str], progress: Any) -> Any:
        asked.extend(texts)
        spam = np.array([0.8 if "prize" in text else 0.3 for text in texts])
        return None, np.stack([1 - spam, spam], axis=1)

    monkeypatch.setattr(module, "loaded", lambda folder: SimpleNamespace(labels=("ham", "spam")))
    monkeypatch.setattr(module, "predict", predict)
    asked.clear()

    def answered(texts: Sequence[str | None], **changed: Any) -> list[dict[str, Any]]:
        shard = make_object(store, {"rows.feather": pa.table({"text": pa.array(texts, pa.string())})})
        decisions = changed.pop("decisions", {})
        given = {"unicode": "NFC", "whitespace": True, "mask_pii": None, **changed}
        build = make_build(inputs={"model": tmp_path, "shard": store.open("objects", shard)})
        module.answer(build, decisions=decisions, **given)
        digest = store.publish("objects", build.content)
        found: list[dict[str, Any]] = read_tables([store.open("objects", digest)], "answers.feather").to_pylist()
        return found

    return answered


def test_each_text_is_asked_once_in_its_normal_form(answer: Answer) -> None:
    found = answer(["a  prize", None, "dinner", " a prize ", "\u3000", ""])
    assert asked == ["a prize", "dinner"]
    assert [row["predicted"] for row in found] == ["spam", None, "ham", "spam", None, None]
    assert found[0] == {"predicted": "spam", "confidence": 0.8, "scores": [pytest.approx(0.2), 0.8]}
    assert found[1] == {"predicted": None, "confidence": None, "scores": None}


def test_without_any_text_no_model_is_asked(answer: Answer) -> None:
    assert [row["predicted"] for row in answer([None, " "])] == [None, None]
    assert asked == []
    assert answer([]) == []


def test_it_decides_as_the_evaluation_found(answer: Answer) -> None:
    low = {"temperature": 1.0, "label": "spam", "threshold": 0.25}
    (row,) = answer(["dinner"], decisions=low)
    assert (row["predicted"], row["confidence"]) == ("spam", 0.3)
    (row,) = answer(["dinner"], decisions={**low, "temperature": 2.0, "threshold": 0.5})
    even = np.sqrt(0.3) / (np.sqrt(0.3) + np.sqrt(0.7))
    assert (row["predicted"], row["scores"][1]) == ("ham", pytest.approx(even))


def test_personal_data_are_masked_as_in_training(answer: Answer) -> None:
    pytest.importorskip("presidio_analyzer")
    answer(["write to ada@example.org"], mask_pii=["email"])
    assert asked == ["write to <EMAIL>"]
