"""A chain of three tiny steps: one reads a folder, one is a program that wants the accelerator, one decides."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assets.config.home import Home
from assets.config.pipeline import Pipeline
from assets.errors import DataError, TransientError
from assets.store.runner import Runner
from assets.store.step import Build, Check, FileIndex, Measurements, Observation, Outcome, Settlement, Step
from assets.store.store import Store
from tests.chains import observe

HERE = "tests.orchestration.chain"


def look(config: Pipeline, index: FileIndex) -> Mapping[str, Observation]:
    folder = Path(config.source.files[0])
    if not folder.exists() or not any(folder.iterdir()):
        raise DataError("no files", where="source.files", fix="put a file there")
    return observe(folder, index)


def read(build: Build, *, sample: int | None) -> Measurements:
    """Rows are lines `label text`; the texts `broken`, `unreachable N` and `bug` stand for what they say."""
    lines = sorted(
        {line for file in build.externals["source"].files for line in Path(file.path).read_text().splitlines()}
    )
    rows = [dict(zip(("label", "text"), line.split(" ", 1), strict=True)) for line in lines][:sample]
    for row in rows:
        if row["text"] == "broken":
            raise DataError("a broken row", where="rows.txt, line 1", fix="mend it")
        if row["text"] == "bug":
            raise ZeroDivisionError("a bug")
        if row["text"].startswith("unreachable"):
            _fail(build.work / "attempts", int(row["text"].split()[1]))
    with build.progress.bar("reading", len(rows)) as advance:
        for _ in rows:
            advance(1, rate=2.0)
    build.progress.message(f"{len(rows)} rows")
    (build.content / "rows.json").write_text(json.dumps(rows))
    labels = {label: sum(row["label"] == label for row in rows) for label in sorted({row["label"] for row in rows})}
    return {"rows": len(rows), "labels": labels, "samples": rows[:5], "rejected": [{"text": "secret", "reason": "odd"}]}


def _fail(counter: Path, times: int) -> None:
    attempts = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(attempts + 1))
    if attempts < times:
        raise TransientError(f"no connection at attempt {attempts}", where="source", fix="wait")


def count_new(content: Path, earlier: Path | None) -> int:
    now, before = (
        {json.dumps(row) for row in json.loads((folder / "rows.json").read_text())} if folder else set()
        for folder in (content, earlier)
    )
    return len(now - before)


def train(build: Build, *, epochs: int) -> Measurements:
    rows = json.loads((build.inputs["raw"] / "rows.json").read_text())
    if epochs == 99:
        build.progress.message("training for ever")
        time.sleep(600)
    if epochs == 13:
        raise DataError("thirteen epochs", where="training.epochs", fix="be less superstitious")
    (build.content / "model.json").write_text(json.dumps({"epochs": epochs, "rows": rows}))
    (build.trace / "curve.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    build.progress.message("trained")
    per_class = {"a": {"f1": 0.25, "support": 3}}
    return {"accuracy": 0.5, "per_class": per_class, "good": True, "nothing": None, "seconds": 1e6}


def decide(build: Build, *, metric: str) -> Measurements:
    champion = build.log[-1].fields["champion"] if build.log else None
    decision: dict[str, Any] = {
        "decision": "unchanged" if champion == build.digests["model"] else "promoted",
        "challenger": build.digests["model"],
        "comparisons": [],
        "metric": metric,
    }
    (build.content / "decision.json").write_text(json.dumps(decision))
    (build.trace / "report.html").write_text("<html>")
    return {"decision": decision["decision"]}


def settle(settlement: Settlement) -> dict[str, Any]:
    return {"entries": len(settlement.entries)}


def enough(measurements: Measurements, config: Pipeline) -> Outcome:
    needed = config.splits.min_rows_per_label
    return Outcome(
        measurements["rows"] >= needed, f"{measurements['rows']} of {needed} rows", {"rows": measurements["rows"]}
    )


def promising(measurements: Measurements, config: Pipeline) -> Outcome:
    return Outcome(measurements["accuracy"] > 0.9, "accuracy is low", warning=True)


CHAIN = (
    Step(
        "raw",
        "Reads.",
        f"{HERE}:read",
        configuration=("run.sample",),
        externals=look,
        checks=(Check("enough", "There are enough rows.", enough, blocking=True),),
        kinds=("parquet",),
        new_rows=f"{HERE}:count_new",
    ),
    Step(
        "model",
        "Trains.",
        f"{HERE}:train",
        inputs=("raw",),
        configuration=("training.epochs",),
        program="tests.orchestration.program",
        accelerator=True,
        checks=(Check("promising", "The model is promising.", promising),),
    ),
    Step(
        "release",
        "Decides.",
        f"{HERE}:decide",
        inputs=("raw", "model"),
        configuration=("gate.metric",),
        decides=True,
        settle=f"{HERE}:settle",
    ),
)


def configuration(folder: Path, **changed: Any) -> Pipeline:
    fields = {
        "task": {"labels": ["a", "b"]},
        "source": {"files": [str(folder)]},
        "base_model": {"name": "none"},
        **changed,
    }
    return Pipeline.model_validate(fields)


def settings(folder: Path) -> Home:
    return Home(folder, str(folder / "store"), "test", f"sqlite:///{folder}/mlflow.db", None, folder / "dagster")


def opened(home: Home, config: Pipeline, **more: Any) -> Runner:
    """Opens the chain; `functools.partial` of it is what `pipeline_definitions` takes."""
    given = {**more, "forced": frozenset(more.get("forced", ()))}
    return Runner(Store(home.store, home.path / "cache"), CHAIN, "tiny", config, home, **given)
