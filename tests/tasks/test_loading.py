"""What is loaded from a model folder, and what never is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.tasks.classification import pretrained
from assets.tasks.loading import is_head, quiet
from tests.tiny import make_base_model


def test_quiet_leaves_the_settings_of_transformers_as_they_were() -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with quiet():
        assert not logging.is_progress_bar_enabled()
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_the_head_is_all_but_the_body_and_its_pooler(tmp_path: Path) -> None:
    model = pretrained(make_base_model(tmp_path), ["a", "b"])

    head = {name for name, _ in model.named_parameters() if is_head(model, name)}

    assert head == {"classifier.weight", "classifier.bias", "bert.pooler.dense.weight", "bert.pooler.dense.bias"}


def test_pickled_weights_are_not_loaded(tmp_path: Path) -> None:
    make_base_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")

    with pytest.raises(OSError, match="safetensors"):
        pretrained(tmp_path, ["a", "b"])


def test_code_in_a_model_folder_is_not_run(tmp_path: Path) -> None:
    make_base_model(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    code = {"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "evil", "auto_map": code}))
    (tmp_path / "evil.py").write_text("raise SystemExit('this code ran')")

    with pytest.raises(ValueError, match="trust_remote_code"):
        pretrained(tmp_path, ["a", "b"])
