"""One pipeline's registered model in MLflow: reads its versions and aliases, and makes a version whole."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from assets.model.rows import HISTORY
from assets.pages.page import REPORT
from assets.release.gate import METRIC_NAMES
from assets.release.lineage import lineage, origins, summary
from assets.release.packaging import describe
from assets.release.report import FOR_REGISTRY
from assets.store.step import Settlement

TAG = "freshtune.model"
"""Tag of runs, logged models and versions: content digest of the model."""

_DESCRIPTION_LENGTH = 5000  # characters that MLflow's database column holds
_PACE = ("examples_per_second", "tokens_per_second", "real_tokens", "mfu", "memory_gb", "training_seconds")
"""What training measured of itself."""
_POINTS = 500  # of a curve; more cannot be seen and take long to store
_METRICS_A_CALL = 1000  # MLflow's own limit


class Registration:
    """The registered model of one pipeline in one environment, and the experiment that its runs are in.

    Args:
        settlement: what is to be registered, and where contents are.
        name: of the registered model and of the experiment.
        client: of MLflow.
    """

    def __init__(self, settlement: Settlement, name: str, client: Any) -> None:
        self.settlement, self.name, self.client = settlement, name, client

    def register(self, fields: Mapping[str, Any]) -> int:
        """Make the version of a model, or complete what a killed call began; returns its number.

        Args:
            fields: of the entry of the promotion log that says what it is: a decision about it, or its adoption.
        """
        release = self.settlement.content(fields["release"]["content"])
        card = (release / "card.md").read_text(encoding="utf-8")
        # The card says `models:/PIPELINE@champion`: it does not depend on the environment, the registered name does.
        card = card.replace(f"models:/{self.settlement.pipeline}@", f"models:/{self.name}@")
        made = origins(fields, self.settlement.record, self.settlement.trace)
        known = lineage(made)
        tags = self._tags(fields, known)
        made_from = [f"- {what}: {text}" for what, text in summary(known).items()]
        if made_from:
            card = "\n".join([card.rstrip(), "", "## Made from", "", *made_from, ""])
        self._create_registered_model()
        experiment = self._experiment()
        run = self._run(experiment, fields, tags)
        model = self._logged_model(experiment, run, fields, tags, card)
        self._log(run.info.run_id, model.model_id, fields, release, made.measurements.get("model", {}))
        self.client.set_terminated(run.info.run_id, "FINISHED", end_time=_milliseconds(fields["when"]))
        version = self.client.create_model_version(
            self.name,
            source=model.artifact_location,
            run_id=run.info.run_id,
            model_id=model.model_id,
            tags=tags,
            description=_shortened(card.split("---\n", 2)[-1].strip()),
        )
        return int(version.version)

    def _tags(self, fields: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, str]:
        parent, warm = known["parent"] or {"name": None, "digest": None}, known["warm_start"]
        tags = {
            TAG: fields["challenger"],
            "freshtune.pipeline": self.settlement.pipeline,
            "freshtune.environment": self.settlement.environment,
            "freshtune.decision": fields["decision"],
            **{f"freshtune.input.{step}": digest for step, digest in sorted(fields["inputs"].items())},
            **{f"freshtune.digest.{part}": digest for part, digest in known["digests"].items()},
            **{f"freshtune.rows.{what}": str(count) for what, count in known["rows"].items()},
            "freshtune.parent": parent["name"],
            "freshtune.parent.digest": parent["digest"],
            "freshtune.warm_start": warm["champion"] if warm and warm["from"] == "champion" else None,
            "freshtune.origin": known["origin"],
            "freshtune.run": known["run"],
        }
        return {name: value for name, value in tags.items() if value}

    def _create_registered_model(self) -> None:
        from mlflow.exceptions import MlflowException

        about = (
            f"Kept fresh by freshtune: pipeline {self.settlement.pipeline}, environment {self.settlement.environment}."
        )
        try:
            self.client.create_registered_model(self.name, description=about)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        root = self.settlement.artifact_root
        try:
            return str(self.client.create_experiment(self.name, f"{root.rstrip('/')}/{self.name}" if root else None))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return str(self.client.get_experiment_by_name(self.name).experiment_id)

    def _run(self, experiment: str, fields: Mapping[str, Any], tags: Mapping[str, str]) -> Any:
        found = self.client.search_runs(
            [experiment], f"tags.`{TAG}` = '{fields['challenger']}'", max_results=1, order_by=["attributes.start_time"]
        )
        if found:
            return found[0]
        return self.client.create_run(
            experiment,
            start_time=_milliseconds(fields["when"]),
            run_name=fields["challenger"][:12],
            tags={**tags, "mlflow.source.name": "freshtune", "mlflow.source.type": "JOB", "mlflow.user": fields["by"]},
        )

    def _logged_model(
        self, experiment: str, run: Any, fields: Mapping[str, Any], tags: Mapping[str, str], card: str
    ) -> Any:
        by_model = f"tags.`{TAG}` = '{fields['challenger']}'"
        for found in self.client.search_logged_models([experiment], by_model):
            if str(found.status) == "READY":
                return found
            # Its upload was killed. What is there of it may be anything, and may not be overwritten everywhere.
            self.client.delete_logged_model(found.model_id)
        model = self.client.create_logged_model(
            experiment, name=self.name, source_run_id=run.info.run_id, tags=dict(tags), model_type="text-classification"
        )
        weights = self.settlement.content(fields["challenger"]) / "model"
        with tempfile.TemporaryDirectory(prefix="freshtune-") as folder:
            ids = {"run_id": run.info.run_id, "model_id": model.model_id}
            describe(weights, Path(folder), card=card, ids=ids)
            self.client.log_model_artifacts(model.model_id, folder)
        self.client.log_model_artifacts(model.model_id, str(weights), "model")
        return self.client.finalize_logged_model(model.model_id, "READY")

    def _log(
        self, run_id: str, model_id: str, fields: Mapping[str, Any], release: Path, trained: Mapping[str, Any]
    ) -> None:
        """Log metrics, curve, pace and report of a run; times come from the log: doing it twice is doing it once."""
        from mlflow.entities import LoggedModelOutput, Metric

        decision = _read_json(release / "decision.json")
        model = self.settlement.content(fields["challenger"])
        history = _read_json(model / HISTORY) if (model / HISTORY).is_file() else None
        time = _milliseconds(fields["when"])
        values = [
            Metric(name, value, time, step, model_id=model_id)
            for name, value, step in (
                *_metrics(decision, self._intervals(fields), history),
                *_curve(history),
                *_pace(trained, history),
            )
        ]
        for start in range(0, len(values), _METRICS_A_CALL):
            self.client.log_batch(run_id, metrics=values[start : start + _METRICS_A_CALL])
        linked = self.client.get_run(run_id).outputs
        # A link that is there already is refused.
        if model_id not in [output.model_id for output in (linked.model_outputs if linked else [])]:
            self.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=_last_step(history))])
        if "trace" in fields["release"]:
            report = self.settlement.trace(fields["release"]["trace"]) / FOR_REGISTRY
            # The one with the texts of rows stays in the store, also where that is all that an old release has.
            if report.is_file():
                self.client.log_text(run_id, report.read_text(encoding="utf-8"), REPORT)

    def _intervals(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        if "evaluation" not in fields["inputs"]:
            return {}
        path = self.settlement.content(fields["inputs"]["evaluation"]) / "metrics.json"
        found: Mapping[str, Any] = _read_json(path).get("intervals", {}) if path.is_file() else {}
        return found


def _last_step(history: Mapping[str, Any] | None) -> int:
    return 0 if history is None else int(history["steps"][-1]["step"])


def _metrics(
    decision: Mapping[str, Any], intervals: Mapping[str, Any], history: Mapping[str, Any] | None
) -> Iterator[tuple[str, float, int]]:
    """Name, value and training step of what was measured on the test rows."""
    last = _last_step(history)
    for source, values in (("test", decision["metrics"]), ("baseline", decision["baseline"])):
        yield from ((f"{source}/{name}", values[name], last) for name in METRIC_NAMES if name in values)
    for name in METRIC_NAMES:
        if name in intervals:
            yield from (
                (f"test/{name}/{end}", at, last) for end, at in zip(("low", "high"), intervals[name], strict=True)
            )


def _curve(history: Mapping[str, Any] | None) -> Iterator[tuple[str, float, int]]:
    """Name, value and training step of what was measured in training."""
    if history is None:
        return
    for point in _thinned(history["steps"]):
        yield "train/loss", point["loss"], point["step"]
        yield "train/learning_rate", point["learning_rate"], point["step"]
    for epoch in _thinned(history["epochs"]):
        yield from (
            (f"validation/{name}", epoch[name], epoch["step"]) for name in ("loss", *METRIC_NAMES) if name in epoch
        )


def _pace(trained: Mapping[str, Any], history: Mapping[str, Any] | None) -> Iterator[tuple[str, float, int]]:
    """Name, value and training step of what training measured of itself."""
    yield from ((f"train/{name}", trained[name], _last_step(history)) for name in _PACE if name in trained)


def _thinned(points: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """At most `_POINTS` of them, evenly spaced, the last among them."""
    stride = -(-len(points) // _POINTS)
    return points[(len(points) - 1) % stride :: stride]


def _milliseconds(when: str) -> int:
    return int(datetime.fromisoformat(when).timestamp() * 1000)


def _shortened(text: str) -> str:
    return text if len(text) <= _DESCRIPTION_LENGTH else f"{text[: _DESCRIPTION_LENGTH - 1]}…"


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
