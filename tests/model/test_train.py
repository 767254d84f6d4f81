"""The training step on a tiny model: learns, keeps the best epoch, gives the same bytes again, fails clearly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch  # noqa: TID253 - this module tests torch code

from assets.errors import ConfigurationError, DataError, StoreError
from assets.model import STEP
from assets.model.base import observe
from assets.model.train import train
from assets.progress import Event, Progress
from assets.store.digests import digest_file, files_under
from assets.store.step import Build, Measurements, Observation
from assets.store.store import Store
from tests.conftest import MakeBuild
from tests.tiny import LABELS, make_base_model, make_rows, make_splits

ARGUMENTS: Mapping[str, Any] = {
    "labels": list(LABELS),
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 5e-3,
    "head_learning_rate": 5e-3,
    "warmup": 0.1,
    "weight_decay": 0.01,
    "max_tokens": 32,
    "max_gradient_norm": 1.0,
    "seed": 0,
    "select_by": "f1_macro",
    "precision": "float32",
}


class Index:
    """Digests without remembering."""

    def sha256(self, path: Path, *, strictly: bool = False) -> str:
        return digest_file(path)

    def sha256_at(self, url: str, facts: list[int | str], digest: Callable[[], str]) -> str:
        return digest()


def see(folder: Path) -> dict[str, Observation]:
    return observe(SimpleNamespace(base_model=SimpleNamespace(name=str(folder), sha256=None)), Index())


@pytest.fixture
def splits(store: Store) -> Path:
    return make_splits(store, make_rows(500, seed=0))


@pytest.fixture
def build(make_build: MakeBuild, splits: Path, base: Path) -> Build:
    return make_build({"splits": splits}, see(base))


def test_it_learns_and_writes_what_plain_transformers_loads(
    build: Build, events: list[Event], capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers import pipeline

    found = train(build, **ARGUMENTS)

    assert capfd.readouterr().out == ""
    assert found["validation"]["f1_macro"] > 0.97
    assert (found["epochs"], found["steps"], found["train_rows"]) == (3, 57, 300)
    assert found["constant"]["recall_macro"] == 0.5
    assert found["parameters"] == 22338
    assert all(found[name] > 0 for name in ("examples_per_second", "real_tokens", "memory_gb", "training_seconds"))
    assert found["precision"] == "float32"
    json.dumps(found)
    folder = build.content / "model"
    assert [path.relative_to(build.content).as_posix() for path in files_under(build.content)] == [
        "history.json",
        "model/config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
        "model/tokenizer_config.json",
    ]
    classify = pipeline("text-classification", model=str(folder), device="cpu")
    texts = ["claim your prize tanver urgent kisol", "dinner at home bamek sister"]
    assert [answer["label"] for answer in classify(texts)] == ["spam", "ham"]
    assert classify.tokenizer.model_max_length == 32
    assert (build.trace / "curve.png").read_bytes().startswith(b"\x89PNG")
    timing = json.loads((build.trace / "timing.json").read_text())
    assert timing["threads"] == torch.get_num_threads()
    assert timing["seconds_to_first_step"] > 0
    assert timing["memory_gb"] > 0.05

    bar = [event for event in events if event.get("description") == "training"]
    assert (bar[0]["kind"], bar[0]["total"], bar[-1]["kind"]) == ("start", 57, "end")
    assert bar[-2]["completed"] == 57
    pace = {"examples_per_second", "tokens_per_second", "real_tokens", "memory_gb"}
    assert bar[-2]["values"].keys() == {"loss", "validation_f1_macro", "seconds_left"} | pace
    assert bar[-2]["values"]["seconds_left"] == 0 < bar[1]["values"]["seconds_left"]
    points = [event for event in events if event["kind"] == "metrics"]
    assert {"loss", "learning_rate"} | pace in [event["values"].keys() for event in points]
    assert [event["at"] for event in points if "validation_f1_macro" in event["values"]] == [19, 38, 57]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    make_build: MakeBuild, splits: Path, base: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(base, moved)

    def content(folder: Path, seed: int) -> dict[str, bytes]:
        build = make_build({"splits": splits}, see(folder))
        train(build, **{**ARGUMENTS, "epochs": 1, "seed": seed})
        return {path.relative_to(build.content).as_posix(): path.read_bytes() for path in files_under(build.content)}

    first = content(base, seed=0)
    assert content(moved, seed=0) == first
    other = content(base, seed=1)
    assert other["model/model.safetensors"] != first["model/model.safetensors"]
    assert other["history.json"] != first["history.json"]
    assert not any(str(tmp_path).encode() in data or str(base).encode() in data for data in first.values())


def test_the_best_epoch_is_kept_and_the_earliest_of_equals(build: Build) -> None:
    from assets.model.examples import Examples
    from assets.model.memory import Parts
    from assets.model.validation import VALIDATION_TOKENS, validate
    from assets.tasks.classification import encode_targets, finetuned
    from assets.tasks.inputs import read_side
    from assets.tasks.loading import load_tokenizer
    from assets.tasks.tokens import tokenize
    from assets.tasks.unpadded import unpadded

    # Two epochs learn the toy task; at a rate that high, later ones are as good at most.
    train(build, **{**ARGUMENTS, "epochs": 4, "learning_rate": 1e-2, "head_learning_rate": 1e-2})

    history = json.loads((build.content / "history.json").read_text())
    scores = [epoch["f1_macro"] for epoch in history["epochs"]]
    assert history["best_epoch"] == scores.index(max(scores)) + 1 < 4
    model, _ = finetuned(build.content / "model")
    tokenizer = load_tokenizer(build.content / "model")
    side = read_side(build.inputs["splits"], "validation")
    examples = Examples(
        side.row_ids, side.labels, tokenize(tokenizer, side.texts, 32), encode_targets(side.labels, LABELS)
    )
    with unpadded(model, tokenizer.pad_token_id) as forward:
        parts = Parts(examples.tokens.lengths, Progress("model"), VALIDATION_TOKENS)
        found = validate(model, forward, examples, labels=LABELS, parts=parts)
    assert found == {name: history["epochs"][history["best_epoch"] - 1][name] for name in found}


def test_history_has_a_few_hundred_points_at_most_and_no_times(build: Build) -> None:
    train(build, **{**ARGUMENTS, "batch_size": 1, "epochs": 1})

    history = json.loads((build.content / "history.json").read_text())
    assert [point["step"] for point in history["steps"]] == list(range(2, 301, 2))
    assert history["steps"][0].keys() == {"step", "loss", "learning_rate"}
    assert history["epochs"][0].keys() == {
        "epoch",
        "step",
        "loss",
        "accuracy",
        "precision_macro",
        "recall_macro",
        "f1_macro",
    }


def test_lora_trains_little_and_leaves_a_plain_model_with_the_updates_in_it(
    build: Build, base: Path, events: list[Event]
) -> None:
    from safetensors.torch import load_file

    found = train(build, **{**ARGUMENTS, "epochs": 8, "lora_rank": 4})

    assert found["validation"]["f1_macro"] > 0.9
    assert found["parameters"] == 22338
    trained, before = load_file(build.content / "model" / "model.safetensors"), load_file(base / "model.safetensors")
    changed = {name for name, weight in before.items() if not torch.equal(trained[f"bert.{name}"], weight)}
    matrices = {f"encoder.layer.{layer}.{name}.weight" for layer in (0, 1) for name in (
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "intermediate.dense", "output.dense",
    )}  # fmt: skip
    assert changed - {"pooler.dense.weight", "pooler.dense.bias"} == matrices
    for name in matrices:
        assert int(torch.linalg.matrix_rank(trained[f"bert.{name}"] - before[name], rtol=1e-3)) <= 4


def test_deberta_is_padded_says_so_and_learns(
    make_build: MakeBuild, splits: Path, tmp_path: Path, events: list[Event]
) -> None:
    from transformers import DebertaV2Config, DebertaV2Model

    folder = make_base_model(tmp_path / "deberta")
    words = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    DebertaV2Model(
        DebertaV2Config(
            vocab_size=words,
            max_position_embeddings=64,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            type_vocab_size=0,
            **sizes,
        )
    ).save_pretrained(folder)
    arguments = {**ARGUMENTS, "learning_rate": 1e-2, "precision": "auto"}

    found = train(make_build({"splits": splits}, see(folder)), **arguments)

    said = [event["text"] for event in events if event["kind"] == "message"]
    padded = "batches are padded: deberta-v2 is not among the architectures that run without padding: bert"
    assert any(text.startswith(padded) for text in said)
    assert found["validation"]["f1_macro"] > 0.9
    shares = [event["values"]["real_tokens"] for event in events if event["kind"] == "advance" and event["values"]]
    # Texts of like length are together, so that little is padding all the same.
    assert 0.8 < shares[-1] < 1


def test_a_loss_that_is_not_finite_stops_training(build: Build) -> None:
    with pytest.raises(DataError, match=r"loss of step \d+ is nan.*rows of its batch: 0{20,}"):
        train(build, **{**ARGUMENTS, "learning_rate": 1e38, "head_learning_rate": 1e38})


def test_more_tokens_than_the_model_takes(build: Build) -> None:
    with pytest.raises(ConfigurationError, match=r"max_tokens: 65 is more tokens than .* \(accepted: 8 to 64\)"):
        train(build, **{**ARGUMENTS, "max_tokens": 65})


def test_an_architecture_that_transformers_does_not_know(make_build: MakeBuild, splits: Path, tmp_path: Path) -> None:
    make_base_model(tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps({**config, "model_type": "bertha"}))

    with pytest.raises(
        ConfigurationError, match=r"(?s)cannot load .* as a text classifier: .*bertha.*fix: use an arch"
    ):
        train(make_build({"splits": splits}, see(tmp_path / "base")), **ARGUMENTS)


def test_a_disk_that_is_full(build: Build) -> None:
    (build.content / "model").mkdir()
    (build.content / "model" / "config.json").symlink_to("/dev/full")

    with pytest.raises(StoreError, match=r"the model cannot be written: .*No space left.*\n  fix: free space"):
        train(build, **{**ARGUMENTS, "epochs": 1})


def measured(f1: float, constant: float) -> Measurements:
    return {"validation": {"f1_macro": f1}, "constant": {"f1_macro": constant}}


def test_the_check_compares_with_the_commonest_label() -> None:
    config = SimpleNamespace(training=SimpleNamespace(select_by="f1_macro"))
    (check,) = STEP.checks

    assert check.judge(measured(0.9, 0.45), config).passed
    outcome = check.judge(measured(0.45, 0.45), config)
    assert not outcome.passed
    assert outcome.message == "validation f1_macro is 0.4500; always answering the commonest label gives 0.4500"
    assert not check.blocking
