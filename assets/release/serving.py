"""What whoever serves the model gets: whether it loads without our code and answers as recorded, how large and fast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assets.release.gate import Comparison
from assets.store.digests import write_json
from assets.store.step import Build

ROWS = 200
"""Most test rows that are tried, evenly spread over the test side."""
TIMEOUT = 900.0
"""Seconds that loading and answering may take; libraries alone may take a minute on a cold disk."""
TOLERANCE = 1e-3
"""How far probabilities may be from the recorded ones: sums of float32 come out otherwise in batches."""
MEGABYTE = 1_000_000

PROGRAM = """
import json, sys, time
sys.modules["assets"] = None  # importing our code fails
given = json.load(sys.stdin)
from transformers import pipeline
classify = pipeline("text-classification", model=given["model"], trust_remote_code=False)
for _ in range(3):  # the first calls allocate
    classify(given["texts"][0], truncation=True, top_k=None)
scores, milliseconds = [], []
for text in given["texts"]:
    started = time.perf_counter()
    found = classify(text, truncation=True, top_k=None)
    milliseconds.append((time.perf_counter() - started) * 1000)
    scores.append({each["label"]: each["score"] for each in found})
print()
print(json.dumps({"scores": scores, "milliseconds": milliseconds, "device": str(classify.device)}))
"""
"""What a server does, with transformers alone."""


@dataclass(frozen=True)
class Served:
    """What came of loading the model in a clean process.

    Attributes:
        rows: test rows that were tried.
        problem: why it cannot be served or is not what was recorded, or "".
        median_ms: milliseconds for a single text, tokens included; half of the rows take less; None if it did not run.
        p95_ms: 95 % of the rows take less.
        device: where it ran, as torch calls it.
    """

    rows: int
    problem: str = ""
    median_ms: float | None = None
    p95_ms: float | None = None
    device: str = ""


def megabytes(folder: Path) -> float:
    """Size of all files of a folder in MB (10^6 bytes)."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MEGABYTE


def serve(
    folder: Path,
    texts: Sequence[str],
    recorded: Sequence[Mapping[str, float]],
    temperature: float = 1.0,
    timeout: float = TIMEOUT,
) -> Served:
    """Load a saved model in a clean Python process – offline, without our code – and compare what it answers.

    Args:
        folder: of the saved model.
        texts: at least one.
        recorded: what `evaluation` recorded of each: label → probability.
        temperature: by which the recorded probabilities were calibrated.
        timeout: seconds that it may take.
    """
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as elsewhere:
        try:
            # -I: neither the folder nor PYTHONPATH nor the user's own packages are looked at.
            done = subprocess.run(
                [sys.executable, "-I", "-c", PROGRAM],
                input=json.dumps({"model": str(folder), "texts": list(texts)}),
                capture_output=True,
                encoding="utf-8",
                env={**os.environ, **offline},
                cwd=elsewhere,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Served(len(texts), f"it did not load and answer {len(texts):,} rows within {timeout:,.0f} s")
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        return Served(len(texts), f"it cannot be loaded: {said[-1] if said else f'exit code {done.returncode}'}")
    found = json.loads(done.stdout.splitlines()[-1])
    median, p95 = np.percentile(found["milliseconds"], [50, 95]).tolist()
    return Served(len(texts), differing(found["scores"], recorded, temperature), median, p95, found["device"])


def differing(
    served: Sequence[Mapping[str, float]], recorded: Sequence[Mapping[str, float]], temperature: float = 1.0
) -> str:
    """How probabilities differ from the recorded ones, in words, or "" if they do not.

    Labels that the model does not know have been recorded with 0, and count as 0 here.
    """
    furthest, wrong = 0.0, 0
    for answer, known in zip(served, recorded, strict=True):
        raised = {label: float(score) ** (1 / temperature) for label, score in answer.items()}
        total = sum(raised.values())
        off = max(abs(raised.get(label, 0.0) / total - score) for label, score in known.items())
        # NaN is no probability, and not close to anything.
        wrong += not off <= TOLERANCE
        furthest = max(furthest, off) if off == off else float("nan")  # noqa: PLR0124 - NaN alone differs from itself
    if not wrong:
        return ""
    return f"{wrong:,} of {len(recorded):,} rows get other scores than recorded, by up to {furthest:.3g}"


def conditions(
    build: Build, *, servable: bool | None, max_size_mb: float | None, max_latency_ms: float | None
) -> list[Comparison]:
    """Conditions of the gate about serving; what was measured is in `serving.json` of the trace.

    Args:
        build: inputs `model`, `splits` and `evaluation`.
        servable: whether the model must load in a clean process and answer as recorded.
        max_size_mb: most MB of the saved model, or None.
        max_latency_ms: most milliseconds for a single row, in 95 % of the rows, or None.
    """
    folder, made = build.inputs["model"] / "model", []
    size = megabytes(folder)
    measured: dict[str, Any] = {"size_mb": size}
    if max_size_mb is not None:
        message = f"the saved model has {size:,.1f} MB; at most {max_size_mb:,.1f} MB are allowed"
        made.append(Comparison("size", size <= max_size_mb, size, max_size_mb, message))
    if servable or max_latency_ms is not None:
        build.progress.message("loading the model in a clean process")
        served = serve(folder, *_recorded(build))
        measured |= asdict(served)
        if servable or served.problem:
            good = f"loads without freshtune and answers {served.rows:,} test rows as recorded"
            made.append(Comparison("servable", not served.problem, None, None, served.problem or good))
        if max_latency_ms is not None and served.p95_ms is not None:
            message = (
                f"95 % of single rows take less than {served.p95_ms:,.1f} ms, half of them {served.median_ms:,.1f} ms, "
                f"on {served.device}; at most {max_latency_ms:,.1f} ms are allowed"
            )
            made.append(Comparison("latency", served.p95_ms <= max_latency_ms, served.p95_ms, max_latency_ms, message))
    write_json(build.trace / "serving.json", measured)
    return made


def _recorded(build: Build) -> tuple[list[str], list[dict[str, float]], float]:
    """Texts of some test rows, the scores recorded of them by label, and the temperature of these."""
    import pyarrow.parquet as pq

    from assets.splits.rows import read_side

    evaluated = build.inputs["evaluation"]
    found = pq.read_table(evaluated / "predictions.parquet", columns=["row_id", "scores"])
    labels = json.loads((evaluated / "metrics.json").read_text(encoding="utf-8"))["confusion"]["labels"]
    some = found.take(np.arange(0, len(found), -(-len(found) // ROWS)))
    rows = read_side(build.inputs["splits"], "test")
    texts = dict(zip(rows["row_id"].to_pylist(), rows["text"].to_pylist(), strict=True))
    calibration = evaluated / "calibration.json"
    temperature = json.loads(calibration.read_text(encoding="utf-8"))["temperature"] if calibration.is_file() else 1.0
    scores = [dict(zip(labels, row, strict=True)) for row in some["scores"].to_pylist()]
    return [texts[row_id] for row_id in some["row_id"].to_pylist()], scores, temperature
