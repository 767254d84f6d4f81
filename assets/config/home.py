"""Where this machine keeps the project's things: settings from the environment, all with a default."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assets.errors import ConfigurationError


@dataclass(frozen=True)
class Home:
    """Settings of this machine.

    Attributes:
        path: folder of everything that freshtune writes (`FRESHTUNE_HOME`, default `.freshtune` in the project).
        store: folder or fsspec URL of the store (`FRESHTUNE_STORE`, default `<path>/store`).
        environment: whose references and promotion logs are used (`FRESHTUNE_ENVIRONMENT`, default `default`).
        tracking_uri: of MLflow (`MLFLOW_TRACKING_URI`, default an SQLite database in `path`).
        artifact_root: URI of the folder for MLflow's artifacts, or None where a server decides.
        dagster: folder of Dagster's instance.
    """

    path: Path
    store: str
    environment: str
    tracking_uri: str
    artifact_root: str | None
    dagster: Path


def project_root() -> Path:
    """The nearest folder at or above the current one with `pyproject.toml` and `pipelines/`, else freshtune's own."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "pipelines").is_dir():
            return folder
    return Path(__file__).resolve().parents[2]


def pipeline_folder(name: str) -> Path:
    """The folder of a pipeline, with its `defs.yaml`."""
    return project_root() / "pipelines" / name


def _absolute(store: str) -> str:
    """Processes that are started elsewhere must mean the same folder; a URL means the same everywhere."""
    return store if "://" in store else str(Path(store).expanduser().absolute())


def home(environ: Mapping[str, str] = os.environ) -> Home:
    """Read the settings.

    Raises:
        ConfigurationError: if the environment's name cannot be a folder's.
    """
    path = Path(environ.get("FRESHTUNE_HOME") or project_root() / ".freshtune").expanduser().absolute()
    environment = environ.get("FRESHTUNE_ENVIRONMENT") or "default"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", environment):
        raise ConfigurationError(
            f"{environment!r} is no name of an environment",
            where="FRESHTUNE_ENVIRONMENT",
            fix="use lower-case letters, digits, - and _, beginning with a letter or digit",
        )
    tracking = environ.get("MLFLOW_TRACKING_URI")
    return Home(
        path=path,
        store=_absolute(environ.get("FRESHTUNE_STORE") or str(path / "store")),
        environment=environment,
        tracking_uri=tracking or f"sqlite:///{path / 'mlflow.db'}",
        artifact_root=None if tracking else (path / "mlartifacts").as_uri(),
        dagster=path / "dagster",
    )
