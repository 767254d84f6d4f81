"""What a model is asked, and what is made of its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assets.predictions import scoring as module
from assets.store.store import Store
from assets.store.tables import read_tables
from tests.conftest import MakeBuild
from tests.tiny import make_object

Score = Callable[..., list[list[float] | None]]
asked: list[str] = []


@pytest.fixture
def score(make_build: MakeBuild, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Score:
    """`score(["a", None])`: scores of a model that is 80 % sure of spam where a text has `prize`, else 30 %."""

    def predict(predictor: Any, texts: Sequence[str], progress: Any) -> Any:
        asked.extend(texts)
        spam = np.array([0.8 if "prize" in text else 0.3 for text in texts])
        return None, np.stack([1 - spam, spam], axis=1)

    monkeypatch.setattr(module, "loaded", lambda folder: SimpleNamespace(labels=("ham", "spam")))
    monkeypatch.setattr(module, "predict", predict)
    asked.clear()

    def scored(texts: Sequence[str | None], **changed: Any) -> list[list[float] | None]:
        shard = make_object(store, {"rows.feather": pa.table({"text": pa.array(texts, pa.string())})})
        given = {"unicode": "NFC", "whitespace": True, "mask_pii": None, **changed}
        build = make_build(inputs={"model": tmp_path, "shard": store.open("objects", shard)})
        module.score(build, **given)
        digest = store.publish("objects", build.content)
        found = read_tables([store.open("objects", digest)], "scores.feather")["scores"]
        rows: list[list[float] | None] = found.to_pylist()
        return rows

    return scored


def test_each_text_is_asked_once_in_its_normal_form(score: Score) -> None:
    found = score(["a  prize", None, "dinner", " a prize ", "\u3000", ""])
    assert asked == ["a prize", "dinner"]
    prize, dinner = [pytest.approx(0.2), 0.8], [0.7, 0.3]
    assert found == [prize, None, dinner, prize, None, None]


def test_without_any_text_no_model_is_asked(score: Score) -> None:
    assert score([None, " "]) == [None, None]
    assert asked == []
    assert score([]) == []


def test_personal_data_are_masked_as_in_training(score: Score) -> None:
    pytest.importorskip("presidio_analyzer")
    score(["write to ada@example.org"], mask_pii=["email"])
    assert asked == ["write to <EMAIL>"]
