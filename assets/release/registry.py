"""Brings MLflow in line with the promotion log: one model version for each challenger, aliases as the log says.

Everything is found again by the tag `freshtune.model`, the content digest of the model, which is set in the same call
that makes a run, a logged model or a version. So a call that was killed half-way is completed by the next, and a call
with nothing to do only reads.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from assets.errors import FreshtuneError, TransientError
from assets.release import log
from assets.release.gate import METRIC_NAMES
from assets.store.step import Settlement

TAG = "freshtune.model"
"""Tag of runs, logged models and versions: content digest of the model."""

_DESCRIPTION_LENGTH = 5000  # characters that MLflow's database column holds
_POINTS = 500  # of a curve; more cannot be seen and take long to store
_METRICS_A_CALL = 1000  # MLflow's own limit
# Lets a server that is not there be noticed in seconds; by itself MLflow tries for minutes.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
# What MLflow answers when trying again may help; a server that cannot be reached is INTERNAL_ERROR.
_TRANSIENT = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}


def settle(settlement: Settlement) -> dict[str, Any]:
    """Register every challenger that MLflow lacks, and set the aliases `challenger` and `champion`.

    Args:
        settlement: the log, where contents are, and where MLflow is.

    Returns:
        `name` of the registered model; `versions` (model digest → version); `challenger` and `champion` (versions, or
        None); `url` of the champion's page, else the challenger's, or None where MLflow has no server.

    Raises:
        TransientError: if MLflow cannot be reached or is overloaded.
        FreshtuneError: if MLflow refuses.
    """
    name = (
        settlement.pipeline
        if settlement.environment == "default"
        else f"{settlement.pipeline}-{settlement.environment}"
    )
    decided = [entry.fields for entry in settlement.entries if entry.fields["kind"] == "decision"]
    if not decided:
        return {"name": name, "versions": {}, "challenger": None, "champion": None, "url": None}
    # Read when MLflow is imported.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with _quiet(), _plain_errors(settlement.tracking_uri):
        registry = _Registry(settlement, name)
        with _environment(_IMPATIENT):
            versions = registry.versions()
        for fields in decided:
            if fields["challenger"] not in versions:
                settlement.progress.message(f"registering {name} {fields['challenger'][:12]} in MLflow")
                versions[fields["challenger"]] = registry.register(fields)
        champion = log.champion(settlement.entries)
        aliases = {
            "challenger": versions[decided[-1]["challenger"]],
            "champion": versions[champion] if champion else None,
        }
        registry.set_aliases(aliases)
    url = _url(settlement.tracking_uri, name, aliases["champion"] or aliases["challenger"])
    return {"name": name, "versions": versions, **aliases, "url": url}


class _Registry:
    """The registered model of one pipeline in one environment, and the experiment that its runs are in.

    Args:
        settlement: where MLflow is and where contents are.
        name: of the registered model and of the experiment.
    """

    def __init__(self, settlement: Settlement, name: str) -> None:
        from mlflow import MlflowClient

        self.settlement, self.name = settlement, name
        uri = settlement.tracking_uri
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def versions(self) -> dict[str, int]:
        """Version of each model that is registered; of two with the same digest, the first."""
        found: dict[str, int] = {}
        token: str | None = None
        while True:
            page = self.client.search_model_versions(f"name = '{self.name}'", page_token=token)
            for each in page:
                if digest := each.tags.get(TAG):
                    found[digest] = min(int(each.version), found.get(digest, int(each.version)))
            token = page.token
            if not token:
                return found

    def register(self, fields: Mapping[str, Any]) -> int:
        """Make the version of a decision's challenger, or complete what a killed call began; returns its number."""
        release = self.settlement.content(fields["release"]["content"])
        card = (release / "card.md").read_text(encoding="utf-8")
        # The card says `models:/PIPELINE@champion`: it does not depend on the environment, the registered name does.
        card = card.replace(f"models:/{self.settlement.pipeline}@", f"models:/{self.name}@")
        tags = {
            TAG: fields["challenger"],
            "freshtune.pipeline": self.settlement.pipeline,
            "freshtune.environment": self.settlement.environment,
            "freshtune.decision": fields["decision"],
            **{f"freshtune.input.{step}": digest for step, digest in sorted(fields["inputs"].items())},
        }
        self._create_registered_model()
        experiment = self._experiment()
        run = self._run(experiment, fields, tags)
        model = self._logged_model(experiment, run, fields, tags, card)
        self._log(run.info.run_id, model.model_id, fields, release)
        self.client.set_terminated(run.info.run_id, "FINISHED", end_time=_milliseconds(fields["when"]))
        made = self.client.create_model_version(
            self.name,
            source=model.artifact_location,
            run_id=run.info.run_id,
            model_id=model.model_id,
            tags=tags,
            description=_shortened(card.split("---\n", 2)[-1].strip()),
        )
        return int(made.version)

    def set_aliases(self, aliases: Mapping[str, int | None]) -> None:
        """Set each alias to its version, and take away one that has none; what is right already is left alone."""
        registered = self.client.get_registered_model(self.name)
        # Numbers from a database, text from a server.
        present = {alias: int(number) for alias, number in registered.aliases.items()}
        for alias, wanted in aliases.items():
            if wanted is None and alias in present:
                self.client.delete_registered_model_alias(self.name, alias)
            elif wanted is not None and present.get(alias) != wanted:
                self.client.set_registered_model_alias(self.name, alias, str(wanted))

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
            example = _example(self.settlement.content(fields["inputs"]["splits"]))
            ids = {"run_id": run.info.run_id, "model_id": model.model_id}
            _describe(weights, Path(folder), example=example, card=card, ids=ids)
            self.client.log_model_artifacts(model.model_id, folder)
        self.client.log_model_artifacts(model.model_id, str(weights), "model")
        return self.client.finalize_logged_model(model.model_id, "READY")

    def _log(self, run_id: str, model_id: str, fields: Mapping[str, Any], release: Path) -> None:
        """Log metrics, curve and report of a run; times come from the log, so that doing it twice is doing it once."""
        from mlflow.entities import LoggedModelOutput, Metric

        decision = json.loads((release / "decision.json").read_text(encoding="utf-8"))
        history = json.loads(
            (self.settlement.content(fields["challenger"]) / "history.json").read_text(encoding="utf-8")
        )
        time = _milliseconds(fields["when"])
        values = [
            Metric(name, value, time, step, model_id=model_id) for name, value, step in _metrics(decision, history)
        ]
        for start in range(0, len(values), _METRICS_A_CALL):
            self.client.log_batch(run_id, metrics=values[start : start + _METRICS_A_CALL])
        linked = self.client.get_run(run_id).outputs
        # A link that is there already is refused.
        if model_id not in [output.model_id for output in (linked.model_outputs if linked else [])]:
            self.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=values[0].step)])
        report = self.settlement.trace(fields["release"]["trace"]) / "report.html"
        self.client.log_text(run_id, report.read_text(encoding="utf-8"), "report.html")


def _metrics(decision: Mapping[str, Any], history: Mapping[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Name, value and training step of what a run has measured."""
    last = history["steps"][-1]["step"]
    for source, values in (("test", decision["metrics"]), ("baseline", decision["baseline"])):
        yield from ((f"{source}/{name}", values[name], last) for name in METRIC_NAMES)
    for point in _thinned(history["steps"]):
        yield "train/loss", point["loss"], point["step"]
        yield "train/learning_rate", point["learning_rate"], point["step"]
    for epoch in _thinned(history["epochs"]):
        yield from (
            (f"validation/{name}", epoch[name], epoch["step"]) for name in ("loss", *METRIC_NAMES) if name in epoch
        )


def _thinned(points: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """At most `_POINTS` of them, evenly spaced, the last among them."""
    stride = -(-len(points) // _POINTS)
    return points[(len(points) - 1) % stride :: stride]


def _describe(model: Path, folder: Path, *, example: str, card: str, ids: Mapping[str, str]) -> None:
    """Write all of MLflow's model format but the weights, which are uploaded from where they are.

    MLflow's own `transformers.save_model` would load the model with torch, write the weights a second time and ask the
    hub for a licence; its way around that, for a model folder, does not work with transformers 5.23 (`check_task` gives
    the pipeline's class by name). The format, unlike that function, must stay readable for every later MLflow.

    Args:
        model: folder that `save_pretrained` made.
        folder: empty folder to write to.
        example: text of the input example.
        card: the model card, Markdown.
        ids: `run_id` and `model_id` that MLflow gave.
    """
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    description = Model(
        **ids,
        signature=ModelSignature(
            inputs=Schema([ColSpec("string")]), outputs=Schema([ColSpec("string", "label"), ColSpec("double", "score")])
        ),
        saved_input_example_info={
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            "type": "json_object",
        },
    )
    description.add_flavor(
        "transformers",
        transformers_version=version("transformers"),
        task="text-classification",
        instance_type="TextClassificationPipeline",
        source_model_name=ids["model_id"],
        model_binary="model",
        pipeline_model_type=json.loads((model / "config.json").read_text(encoding="utf-8"))["architectures"][0],
        components=["tokenizer"],
        tokenizer_type="AutoTokenizer",
    )
    description.add_flavor(
        "python_function",
        loader_module="mlflow.transformers",
        python_version=platform.python_version(),
        env={"virtualenv": "python_env.yaml"},
    )
    description.save(str(folder / "MLmodel"))
    tokenizer = folder / "components" / "tokenizer"
    shutil.copytree(model, tokenizer, ignore=shutil.ignore_patterns("*.safetensors"))
    # Without a local part such as "+cpu", which package indexes do not have.
    pins = "\n".join(f"{name}=={version(name).split('+')[0]}" for name in ("mlflow", "torch", "transformers"))
    for name, text in {
        "requirements.txt": pins,
        "python_env.yaml": f"python: {platform.python_version()}\ndependencies:\n- -r requirements.txt\n",
        "input_example.json": json.dumps([example]),
        "serving_input_example.json": json.dumps({"inputs": [example]}),
        "model_card.md": card,
    }.items():
        (folder / name).write_text(text, encoding="utf-8")


def _example(splits: Path) -> str:
    """Text of the test row with the lowest id."""
    from assets.splits.rows import read_side

    return str(read_side(splits, "test")["text"][0])


def _milliseconds(when: str) -> int:
    return int(datetime.fromisoformat(when).timestamp() * 1000)


def _shortened(text: str) -> str:
    return text if len(text) <= _DESCRIPTION_LENGTH else f"{text[: _DESCRIPTION_LENGTH - 1]}…"


def _url(tracking_uri: str, name: str, number: int | None) -> str | None:
    if urlsplit(tracking_uri).scheme not in {"http", "https"}:
        return None
    return f"{_without_password(tracking_uri).rstrip('/')}/#/models/{name}/versions/{number}"


def _without_password(uri: str) -> str:
    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":***@") if password else uri


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's and alembic's notes about tables, runs and folders off the terminal."""
    import mlflow  # noqa: F401 - sets the level of its logger when it is first imported

    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings(), _environment({"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}):
            # MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
            warnings.filterwarnings("ignore", message="The ``noload`` loader strategy", category=DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while, those that the person has set excepted."""
    ours = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in ours})
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


@contextmanager
def _plain_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow raises into an error that names the URI, without its password."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import OperationalError

    shown, password = _without_password(uri), urlsplit(uri).password
    try:
        yield
    except (MlflowException, OperationalError, RequestException) as error:
        text = str(error).splitlines()[0]
        text = text.replace(password, "***") if password else text
        if not isinstance(error, MlflowException) or error.error_code in _TRANSIENT:
            raise TransientError(
                f"MLflow cannot be reached: {text}",
                where=shown,
                fix="check that the server runs and the address is right; the next run registers what is missing",
            ) from error
        raise FreshtuneError(f"MLflow refuses: {text}", where=shown) from error
