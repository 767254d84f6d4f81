"""A chain of tiny steps with the names and the measurements of the real ones; the source says what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from assets.config.home import Home
from assets.config.pipeline import Pipeline
from assets.errors import DataError, FreshtuneError
from assets.progress import Sink, discard
from assets.store.runner import Runner, StepResult
from assets.store.step import Build, Check, Measurements, Outcome, Settlement, Step
from assets.store.store import Store
from tests.chains import observe

HERE = "tests.cli.chain"
SOURCE = {"rows": 10, "repeated": 2, "rejected": 1, "merged": 1, "lost": 0, "f1": 0.9, "broken": False}


def raw(build: Build, *, sample: int | None) -> Measurements:
    source = json.loads(Path(build.externals["source"].files[0].path).read_text())
    if source["broken"]:
        raise DataError("a broken row", where="source.json, line 1", fix="mend it")
    rows = min(source["rows"], sample or source["rows"])
    with build.progress.bar("reading", total=rows) as advance:
        for _ in range(rows):
            advance(1, seen=1.0)
    build.progress.message(f"{rows} rows read")
    (build.content / "source.json").write_text(json.dumps({**source, "rows": rows}))
    good = rows - source["repeated"] - source["rejected"]
    return {"rows_read": rows, "rows": good, "repeated": source["repeated"], "rejected": source["rejected"]}


def given(build: Build, step: str) -> Any:
    return json.loads((build.inputs[step] / "source.json").read_text())


def validated(build: Build) -> Measurements:
    source = given(build, "raw")
    (build.content / "source.json").write_text(json.dumps(source))
    rows = source["rows"] - source["repeated"]
    return {"rows_in": rows, "accepted": rows - source["rejected"], "quarantined": source["rejected"]}


def cleaned(build: Build) -> Measurements:
    source = given(build, "validated")
    (build.content / "source.json").write_text(json.dumps(source))
    kept = source["rows"] - source["repeated"] - source["rejected"] - source["merged"] - source["lost"]
    return {"kept": kept, "merged": source["merged"], "quarantined": 0}


def model(build: Build, *, epochs: int) -> Measurements:
    (build.content / "model").mkdir()
    (build.content / "model" / "weights.json").write_text(json.dumps([epochs, given(build, "cleaned")]))
    build.progress.metrics(1, loss=0.5)
    return {"epochs": epochs}


def evaluation(build: Build) -> Measurements:
    f1 = json.loads((build.inputs["model"] / "model" / "weights.json").read_text())[1]["f1"]
    (build.content / "metrics.json").write_text(json.dumps({"f1_macro": f1}))
    baseline = {"accuracy": 0.75, "f1_macro": 0.5, "rows": 4, "per_class": {}}
    return {"accuracy": 1.0, "f1_macro": f1, "rows": 4, "per_class": {}, "baseline": baseline}


def release(build: Build, *, floor: float | None) -> Measurements:
    challenger, before = build.digests["model"], build.log[-1].fields["champion"] if build.log else None
    value = json.loads((build.inputs["evaluation"] / "metrics.json").read_text())["f1_macro"]
    passed = floor is None or value >= floor
    message = f"macro F1 {value:.4f}; at least {floor or 0.0:.4f} is required"
    comparisons = [{"name": "floor", "passed": passed, "value": value, "limit": floor, "message": message}]
    verdict = "unchanged" if challenger == before else "promoted" if passed else "refused"
    metrics = {"accuracy": 1.0, "f1_macro": value}
    decision = {"decision": verdict, "challenger": challenger, "comparisons": comparisons, "metrics": metrics}
    (build.content / "decision.json").write_text(json.dumps(decision))
    (build.trace / "report.html").write_text("<html>report</html>")
    return {"decision": verdict, "comparisons": comparisons}


def settle(settlement: Settlement) -> dict[str, Any]:
    fields = [entry.fields for entry in settlement.entries]
    versions: dict[str, int] = {}
    for entry in fields:
        versions.setdefault(entry["challenger"], len(versions) + 1)
    latest = [entry["challenger"] for entry in fields if entry["kind"] == "decision"][-1]
    return {"versions": versions, "challenger": versions[latest], "champion": versions.get(fields[-1]["champion"])}


def within(measurements: Measurements, config: Pipeline) -> Outcome:
    share, limit = measurements["quarantined"] / measurements["rows_in"], config.validation.max_quarantined
    return Outcome(share <= limit, f"{share:.1%} in quarantine, at most {limit:.1%} may be")


def gate(measurements: Measurements, config: Pipeline) -> Outcome:
    refused = measurements["decision"] == "refused"
    return Outcome(not refused, measurements["decision"], warning=refused)


CHAIN = (
    Step(
        "raw",
        "Reads.",
        f"{HERE}:raw",
        configuration=("run.sample",),
        externals=lambda config, index: observe(Path(config.source.files[0]), index),
    ),
    Step(
        "validated",
        "Validates.",
        f"{HERE}:validated",
        inputs=("raw",),
        checks=(Check("quarantine_within_limit", "Few rows are in quarantine.", within, blocking=True),),
    ),
    Step("cleaned", "Cleans.", f"{HERE}:cleaned", inputs=("validated",)),
    Step("model", "Trains.", f"{HERE}:model", inputs=("cleaned",), configuration=("training.epochs",)),
    Step("evaluation", "Measures.", f"{HERE}:evaluation", inputs=("model",)),
    Step(
        "release",
        "Decides.",
        f"{HERE}:release",
        inputs=("model", "evaluation"),
        configuration=("gate.floor",),
        decides=True,
        settle=f"{HERE}:settle",
        checks=(Check("gate", "The gate lets the model pass.", gate),),
    ),
)


class Tiny:
    """The tiny pipeline in a folder of its own; stands for `assets.session` and for Dagster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "source.json"
        self.config: dict[str, Any] = {"validation": {"max_quarantined": 0.5}}
        self.home = Home(
            folder, str(folder / "store"), "test", f"sqlite:///{folder}/mlflow.db", None, folder / "dagster"
        )
        self.launched: list[dict[str, Any]] = []
        self.write()

    def write(self, **changed: Any) -> None:
        self.source.write_text(json.dumps({**SOURCE, **changed}))

    def open_runner(self, name: str, **more: Any) -> Runner:
        fields = {
            "task": {"labels": ["ham", "spam"]},
            "source": {"files": [str(self.source)]},
            "base_model": {"name": "none"},
            **self.config,
        }
        options = {**more, "forced": frozenset(more.get("forced", ()))}
        store = Store(self.home.store, self.folder / "cache")
        return Runner(store, CHAIN, name, Pipeline.model_validate(fields), self.home, **options)

    def materialise(self, name: str, *, sink: Sink = discard, **options: Any) -> Any:
        """Stands for `assets.orchestration.launch.materialise`."""
        self.launched.append({"name": name, **options})
        opened = self.open_runner(name, sample=options["sample"], forced=options["forced"], sink=sink)
        results: list[StepResult] = []
        error, code = None, 0
        try:
            results.extend(opened.run_step(step) for step in options["steps"])
        except FreshtuneError as fault:
            error, code = str(fault), fault.exit_code
        return SimpleNamespace(
            run_id=f"run-{len(self.launched)}",
            success=error is None,
            results=tuple(results),
            error=error,
            exit_code=code,
        )
