"""Labelled data in at a million rows: ingest → validate → clean → split, and what one per cent more rows costs.

    python -m benchmarks.data --data ../shared/data --json

The rows are made from the real texts of banking77, sst2 and goemotions by seeded perturbation, with a known number of
duplicates, near-duplicates, conflicting labels and bad rows, in twenty CSV files. freshtune runs its steps raw,
validated, cleaned and splits in a new process and an empty store; then a file with one per cent more rows arrives. The
peer does what its users would write with `datasets` (loading, filter, map, two processes) and rensa (MinHash and LSH in
Rust, the fastest of those on PyPI that were tried), in the same run over the same files: it drops what LSH flags, and
splits at random. Seconds are without process start and imports, which are given apart; memory is the largest resident
size of the process and its children.

Recall and precision of near-duplicates are those of freshtune's groups against the exact Jaccard similarity: of the
planted pairs that reach the threshold, how many are in one group; of the rows in a group with others, how many reach
the threshold with another row of the group.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
ROWS, FILES, MORE = 1_000_000, 20, 0.01
SIMILARITY, NGRAM = 0.6, 3
LABELS = ("billing", "praise", "complaint", "question", "other")
STEPS = ("raw", "validated", "cleaned", "splits")
PLANTED = {"duplicate": 0.03, "near": 0.08, "conflict": 0.005, "empty": 0.005, "label": 0.005}
"""Shares of the rows that are made wrong or alike on purpose; the others are new texts."""


def real_texts(data: Path) -> list[str]:
    """Texts of the data sets, each once, at least eight words."""
    found: dict[str, None] = {}
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        found |= dict.fromkeys(row["text"] for row in csv.DictReader(file))
    for path in sorted((data / "sst2").iterdir()):
        if path.is_file() and "train" in path.name:
            found |= dict.fromkeys(line.partition(" ")[2] for line in path.read_text("latin-1").splitlines())
    for path in sorted((data / "goemotions").iterdir()):
        if path.is_file() and "train" in path.name:
            found |= dict.fromkeys(line.split("\t")[0] for line in path.read_text("utf-8").splitlines())
    texts = [" ".join(text.replace('"', "'").split()) for text in found]
    return [text for text in texts if len(text.split()) >= 8]


def make_rows(texts: list[str], count: int, seed: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Make rows.

    Returns:
        (text, label) of each; and the planted pairs of near-duplicates.
    """
    generator = random.Random(seed)  # noqa: S311 - data for a benchmark
    words = [word for text in texts for word in text.split()]
    kinds = generator.choices([*PLANTED, "new"], [*PLANTED.values(), 1 - sum(PLANTED.values())], k=count)
    rows: list[tuple[str, str]] = []
    fresh: list[tuple[str, str]] = []
    pairs = []
    for kind in kinds:
        text, label = generator.choice(fresh) if fresh else ("", "")
        if kind == "new" or not fresh:
            parts = generator.choice(texts).split()
            for _ in range(max(3, len(parts) // 2)):
                parts[generator.randrange(len(parts))] = generator.choice(words)
            row = (" ".join(parts), generator.choice(LABELS))
            fresh.append(row)
        elif kind == "near":
            parts = text.split()
            parts[-1] = generator.choice(words)
            row = (" ".join(parts), label)
            pairs.append((text, row[0]))
        else:
            row = {
                "duplicate": (text, label),
                "conflict": (text, LABELS[LABELS.index(label) - 1]),
                "empty": ("  ", label),
                "label": (text, "unknown"),
            }[kind]
        rows.append(row)
    generator.shuffle(rows)
    return rows, pairs


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("text", "label"), *rows])


def make_project(folder: Path, data: Path) -> tuple[Path, list[tuple[str, str]]]:
    """A project over the rows, and the file that comes later, `more.csv`; and the planted pairs."""
    rows, pairs = make_rows(real_texts(data), int(ROWS * (1 + MORE)), seed=1)
    project = folder / "project"
    (project / "data").mkdir(parents=True)
    (project / "pipelines" / "rows").mkdir(parents=True)
    for at in range(FILES):
        write(project / "data" / f"{at:02d}.csv", rows[:ROWS][at::FILES])
    write(folder / "more.csv", rows[ROWS:])
    for name in ("pyproject.toml", "workspace.yaml"):
        (project / name).write_bytes((ROOT / name).read_bytes())
    declared = {
        "type": "assets.orchestration.FineTuningPipeline",
        "attributes": {
            "task": {"labels": list(LABELS)},
            "source": {"files": ["data/*.csv"]},
            "base_model": {"name": "base"},
            "cleaning": {"near_duplicates": {"similarity": SIMILARITY, "ngram": NGRAM}},
        },
    }
    (project / "pipelines" / "rows" / "defs.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    return project, pairs


OURS = """
import json, resource, sys, time
started = time.perf_counter()
from assets.session import open_runner
import assets.raw.read, assets.raw.shard, assets.validated.validate, assets.validated.shard
import assets.cleaned.clean, assets.cleaned.shard, assets.splits.split, assets.splits.shard
imports = time.perf_counter() - started
runner = open_runner("rows")
steps = {}
for step in ("raw", "validated", "cleaned", "splits"):
    began = time.perf_counter()
    result = runner.run_step(step)
    steps[step] = time.perf_counter() - began
    assert all(outcome.passed or outcome.warning for outcome in result.outcomes.values()), result.outcomes
peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
measured = {step: runner.standing(step).measurements for step in steps}
print(json.dumps({"seconds": sum(steps.values()), "steps": steps, "imports": imports, "peak_gb": peak / 2**20,
                  "measurements": measured}))
"""

PEER = """
import json, re, resource, sys, time, unicodedata
started = time.perf_counter()
import datasets, rensa
imports = time.perf_counter() - started
files, cache, labels, ngram, similarity = json.loads(sys.argv[1])
datasets.disable_progress_bars()
labels, damage = set(labels), re.compile(r"[\\x00-\\x08\\x0e-\\x1f\\x7f-\\x9f\\ufffd]")

def valid(batch):
    return [bool(text and text.strip()) and len(text) <= 20000 and label in labels and not damage.search(text)
            for text, label in zip(batch["text"], batch["label"])]

def normalised(batch):
    return {"text": [" ".join(unicodedata.normalize("NFC", text).split()) for text in batch["text"]]}

def tokens(text):
    words = text.lower().split()
    return {" ".join(words[at : at + ngram]) for at in range(len(words) - ngram + 1)} or {" ".join(words)}

began = time.perf_counter()
laps = {}
def lap(name):
    laps[name] = time.perf_counter() - began - sum(laps.values())
rows = datasets.load_dataset("csv", data_files=files, split="train", cache_dir=cache, keep_default_na=False)
lap("load")
rows = rows.filter(valid, batched=True, num_proc=2)
lap("filter")
rows = rows.map(normalised, batched=True, num_proc=2)
lap("map")
seen, firsts = set(), []
for at, text in enumerate(rows["text"][:]):
    if text not in seen:
        seen.add(text)
        firsts.append(at)
rows = rows.select(firsts)
lap("exact duplicates")
index = rensa.RMinHashLSH(threshold=similarity, num_perm=64, num_bands=16)
texts, flags = rows["text"][:], []
for at in range(0, len(texts), 100_000):
    matrix = rensa.RMinHash.digest_matrix_from_token_sets([tokens(text) for text in texts[at : at + 100_000]], 64, 42)
    flags += index.insert_matrix_and_query_duplicate_flags(matrix, at)
rows = rows.select([at for at, flag in enumerate(flags) if not flag])
lap("near-duplicates")
sides = rows.train_test_split(test_size=0.2, seed=0)
rest = sides["train"].train_test_split(test_size=0.125, seed=0)
lap("split")
peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"seconds": sum(laps.values()), "steps": laps, "imports": imports, "peak_gb": peak / 2**20,
                  "rows": len(rows), "datasets": datasets.__version__}))
"""


def child(program: str, *arguments: str, folder: Path) -> dict[str, Any]:
    """Run a program in a new process; what it printed last."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FRESHTUNE_HOME": str(folder.parent / "home"),
        "HF_HOME": str(folder.parent / "hf"),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


GROUPS = """
import json, sys
from assets.session import open_runner
from assets.cleaned.rows import read_rows
runner = open_runner("rows")
table = read_rows(runner.store.open("objects", runner.standing("cleaned").record.content))
json.dump({"text": table["text"].to_pylist(), "group": table["group"].to_pylist()}, open(sys.argv[1], "w"))
print("{}")
"""


def quality(project: Path, pairs: list[tuple[str, str]]) -> dict[str, float]:
    """Recall and precision of the groups against exact Jaccard similarity."""
    path = project.parent / "groups.json"
    child(GROUPS, str(path), folder=project)
    found = json.loads(path.read_bytes())
    group_of = dict(zip(found["text"], found["group"], strict=True))
    true = [pair for pair in pairs if pair[0] in group_of and pair[1] in group_of and jaccard(*pair) >= SIMILARITY]
    together = sum(group_of[one] == group_of[other] for one, other in true)
    members: defaultdict[str, list[str]] = defaultdict(list)
    for text, group in group_of.items():
        members[group].append(text)
    grouped = [texts for texts in members.values() if len(texts) > 1]
    right = rows = 0
    for texts in grouped:
        sets = [ngrams(text) for text in texts[:200]]
        rows += len(sets)
        right += sum(
            any(similar(one, other) for at, other in enumerate(sets) if at != own) for own, one in enumerate(sets)
        )
    return {"pairs": len(true), "recall": together / len(true), "grouped_rows": rows, "precision": right / rows}


def ngrams(text: str) -> set[tuple[str, ...]]:
    """Word n-grams of a text."""
    words = text.lower().split()
    return {tuple(words[at : at + NGRAM]) for at in range(len(words) - NGRAM + 1)} or {tuple(words)}


def similar(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> bool:
    """Whether two sets reach the threshold."""
    return len(one & other) / len(one | other) >= SIMILARITY


def jaccard(one: str, other: str) -> float:
    """Jaccard similarity of two texts' n-grams."""
    sets = ngrams(one), ngrams(other)
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def measure(folder: Path, data: Path) -> dict[str, Any]:
    """Measure both."""
    project, pairs = make_project(folder, data)
    ours = child(OURS, folder=project)
    files = [str(path) for path in sorted((project / "data").iterdir())]
    peer = child(PEER, json.dumps([files, str(folder / "hf"), list(LABELS), NGRAM, SIMILARITY]), folder=project)
    (folder / "more.csv").rename(project / "data" / "more.csv")
    more = child(OURS, folder=project)
    found = quality(project, pairs)
    ratio = peer["seconds"] / ours["seconds"]
    share = more["seconds"] / ours["seconds"]
    figures = (
        ("rows/s against datasets + rensa, times", ratio, 1.5, ratio >= 1.5),
        ("peak memory, GB", ours["peak_gb"], 4.0, ours["peak_gb"] <= 4.0),
        ("recall of near-duplicates", found["recall"], 0.95, found["recall"] >= 0.95),
        ("precision of near-duplicates", found["precision"], 0.98, found["precision"] >= 0.98),
        ("one per cent more rows, share of the full run", share, 0.05, share <= 0.05),
    )
    return {
        "rows": ROWS,
        "rows_per_second": ROWS / ours["seconds"],
        "peer_rows_per_second": ROWS / peer["seconds"],
        "ours": ours,
        "peer": peer,
        "more": more,
        "near_duplicates": found,
        "machine": {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "targets": [{"name": name, "value": value, "target": goal, "met": met} for name, value, goal, met in figures],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77, sst2 and goemotions")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line only")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), given.data.resolve())
    if not given.json:
        for target in result["targets"]:
            met = "met" if target["met"] else "MISSED"
            print(f"{met:6} {target['name']}: {target['value']:.4g} ({target['target']:g})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
