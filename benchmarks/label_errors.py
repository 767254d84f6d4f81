"""How well likely label errors are found: planted ones among the real labels of banking77 and sst2.

    python -m benchmarks.label_errors --data ../shared/data --json

5 % of the labels of each training set are replaced by another one, drawn at random with each of three seeds; the rest
are taken for right, although some of them are not. Figures are means of the three. The step `review` lists suspects;
its peer ranks all rows by the probability that the same kind of classifier gives their own label (lowest
self-confidence first), in the same run on the same rows, with folds drawn at random and nothing calibrated. Precision
at k: the share of planted errors among the first k rows, where k is how many were planted and half of that; what a list
does not have counts as missed. `rule_…` is what the rule alone would list that tells the step how many rows to list.
Seconds are those of the processor for the step's work and the peer's, on one core. A third set of 100,000 rows, made
from sst2 by replacing words, is for the seconds alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from assets.progress import Progress
from assets.review.confident import Indices, Probabilities, calibrated, find_suspects
from assets.review.expected import expect
from assets.review.folds import FOLDS, folds_of, hashes_of, sample_of

SHARE, SEEDS = 0.05, (0, 1, 2)
PRECISIONS = ("precision_at_half", "precision_at_planted")
MANY = 100_000
LEARNED = 50_000
"""`review.max_rows` as it is by default."""


Found = TypeVar("Found")


class Rows(NamedTuple):
    """Texts and labels, some of which were replaced.

    Attributes:
        texts: different ones.
        labels: numbers from 0 on.
        wrong: which labels were replaced.
    """

    texts: list[str]
    labels: Indices
    wrong: np.ndarray[Any, np.dtype[np.bool_]]


def banking77(data: Path) -> list[tuple[str, str]]:
    """77 intents, 10,003 rows."""
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def sst2(data: Path) -> list[tuple[str, str]]:
    """Two sentiments, 6,920 rows."""
    lines = (data / "sst2" / "stsa.binary.train").read_text("latin-1").splitlines()
    return [(text, label) for label, _, text in (line.partition(" ") for line in lines)]


def many(data: Path) -> list[tuple[str, str]]:
    """Rows of sst2 with a fifth of their words replaced."""
    generator = random.Random(0)  # noqa: S311 - data for a benchmark
    rows = sst2(data)
    words = [word for text, _ in rows for word in text.split()]
    made: dict[str, str] = {}
    while len(made) < MANY:
        text, label = generator.choice(rows)
        parts = text.split()
        for _ in range(max(2, len(parts) // 5)):
            parts[generator.randrange(len(parts))] = generator.choice(words)
        made[" ".join(parts)] = label
    return list(made.items())


def plant(rows: Sequence[tuple[str, str]], seed: int) -> Rows:
    """Replace labels."""
    generator = random.Random(seed)  # noqa: S311 - data for a benchmark
    rows = list(dict(rows).items())
    names = sorted({label for _, label in rows})
    labels = np.array([names.index(label) for _, label in rows])
    wrong = np.zeros(len(rows), bool)
    wrong[generator.sample(range(len(rows)), round(SHARE * len(rows)))] = True
    for row in np.flatnonzero(wrong).tolist():
        labels[row] = generator.choice([label for label in range(len(names)) if label != labels[row]])
    return Rows([text for text, _ in rows], labels, wrong)


def ours(rows: Rows) -> tuple[Indices, Probabilities]:
    """Suspects as the step `review` lists them, where every row is a group of its own, and what they come from."""
    hashes = hashes_of(rows.texts)
    sample = sample_of(hashes, rows.labels, at_most=LEARNED)
    probabilities, judged = expect(
        rows.texts,
        rows.labels,
        folds=folds_of(hashes, rows.labels, np.arange(len(hashes))),
        sample=sample,
        count=int(rows.labels.max()) + 1,
        progress=Progress("review", lambda event: None),
    )
    assert judged.all()
    probabilities = calibrated(probabilities, rows.labels, by=LEARNED)
    return find_suspects(probabilities, rows.labels).rows, probabilities


def by_the_rule(rows: Rows, probabilities: Probabilities) -> Indices:
    """Rows of which another label reaches the mean of those that have it, and is likelier than their own."""
    own = probabilities[np.arange(len(rows.labels)), rows.labels]
    means = [own[rows.labels == label].mean() for label in range(probabilities.shape[1])]
    reached = (probabilities >= means) & (probabilities > own[:, None])
    return np.flatnonzero(reached.any(axis=1))


def peer(rows: Rows) -> Indices:
    """All rows, those with the lowest self-confidence first, as scikit-learn's users would write it."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline, make_union

    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), min_df=3, sublinear_tf=True),
    )
    classifier = OneVsRestClassifier(LogisticRegression(solver="liblinear", C=3.0, tol=1e-2))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    probabilities = cross_val_predict(
        make_pipeline(features, classifier), rows.texts, rows.labels, cv=folds, method="predict_proba"
    )
    return np.argsort(probabilities[np.arange(len(rows.labels)), rows.labels], kind="stable")


def scores(rows: Rows, found: Indices) -> dict[str, float]:
    """Precision at two lengths of the list."""
    planted = int(rows.wrong.sum())
    return {
        "precision_at_half": float(rows.wrong[found[: planted // 2]].sum() / (planted // 2)),
        "precision_at_planted": float(rows.wrong[found[:planted]].sum() / planted),
    }


def timed(find: Callable[[Rows], Found], rows: Rows) -> tuple[Found, float]:
    """What is found, and seconds of the processor."""
    started = time.process_time()
    return find(rows), time.process_time() - started


def compare(rows: Rows) -> dict[str, float]:
    """Measure both on one set."""
    ((suspects, probabilities), seconds), (ranked, peer_seconds) = timed(ours, rows), timed(peer, rows)
    rule = by_the_rule(rows, probabilities)
    right, planted = int(rows.wrong[suspects].sum()), int(rows.wrong.sum())
    return {
        "rows": len(rows.texts),
        "labels": int(rows.labels.max()) + 1,
        "planted": planted,
        "suspects": len(suspects),
        "precision": right / len(suspects),
        "recall": right / planted,
        **scores(rows, suspects),
        "rule_precision": float(rows.wrong[rule].mean()),
        "rule_recall": int(rows.wrong[rule].sum()) / planted,
        "seconds": seconds,
        **{f"peer_{name}": value for name, value in scores(rows, ranked).items()},
        "peer_seconds": peer_seconds,
    }


def measure(data: Path) -> dict[str, Any]:
    """Measure all sets."""
    results: dict[str, Any] = {}
    for name, read in (("banking77", banking77), ("sst2", sst2)):
        found = [compare(plant(read(data), seed)) for seed in SEEDS]
        results[name] = {each: statistics.mean(of_seed[each] for of_seed in found) for each in found[0]}
    rows = plant(many(data), 0)
    (suspects, _), seconds = timed(ours, rows)
    results["many"] = {"rows": len(rows.texts), "labels": 2, "suspects": len(suspects), "seconds": seconds}
    banking, sst = results["banking77"], results["sst2"]
    lead = min(found[name] - found[f"peer_{name}"] for found in (banking, sst) for name in PRECISIONS)
    figures = (
        ("banking77: recall of planted errors", banking["recall"], 0.9, banking["recall"] >= 0.9),
        ("banking77: precision of the list", banking["precision"], 0.8, banking["precision"] >= 0.8),
        ("sst2: recall of planted errors", sst["recall"], 0.5, sst["recall"] >= 0.5),
        ("sst2: precision at half of the planted", sst["precision_at_half"], 0.45, sst["precision_at_half"] >= 0.45),
        ("precision at k, least lead over the peer", lead, -0.02, lead >= -0.02),
        ("100,000 rows of two labels, seconds", seconds, 30.0, seconds <= 30.0),
    )
    return {
        **results,
        "machine": {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "targets": [{"name": name, "value": value, "target": goal, "met": met} for name, value, goal, met in figures],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77 and sst2")
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
