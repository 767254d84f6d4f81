"""Speaks with MLflow: quietly, without waiting for long, and with errors that name the server and no password."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from assets.errors import FreshtuneError, TransientError

# Lets a server that is not there be noticed in seconds; by itself MLflow tries for minutes.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
# What MLflow answers when trying again may help; a server that cannot be reached is INTERNAL_ERROR.
_TRANSIENT = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}


@contextmanager
def speaking(uri: str) -> Iterator[Any]:
    """A client of MLflow at a URI; what it raises comes out as an error that people can read.

    Raises:
        TransientError: if MLflow cannot be reached or is overloaded.
        FreshtuneError: if MLflow refuses.
    """
    # Read when MLflow is imported.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with _quiet(), _plain_errors(uri):
        from mlflow import MlflowClient

        yield MlflowClient(tracking_uri=uri, registry_uri=uri)


def page_of(tracking_uri: str, name: str, number: int | None) -> str | None:
    """Address of a version's page, or None where MLflow has no server."""
    if urlsplit(tracking_uri).scheme not in {"http", "https"}:
        return None
    return f"{without_password(tracking_uri).rstrip('/')}/#/models/{name}/versions/{number}"


def without_password(uri: str) -> str:
    """A URI as it may be shown."""
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
        with warnings.catch_warnings(), environment({"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}):
            # MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
            warnings.filterwarnings("ignore", message="The ``noload`` loader strategy", category=DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
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

    shown, password = without_password(uri), urlsplit(uri).password
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
