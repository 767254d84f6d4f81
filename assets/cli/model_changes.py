"""What people do to the promotion log: promote, roll back, adopt; and setting MLflow back to it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
import yaml

from assets.cli.console import messages
from assets.cli.registered import Registered, now
from assets.config.pipeline import PretrainedModel
from assets.errors import ConfigurationError, DataError, FreshtuneError, StoreError
from assets.release import by_hand, log
from assets.store.build import by
from assets.store.runner import Runner
from assets.store.step import LogEntry

MLFLOW = ("models:/", "runs:/", "mlflow-artifacts:/")
"""How a model of MLflow is named."""


def promote(runner: Runner, version: int, why: str | None) -> None:
    """Put a version in use, whatever the gate said."""
    registered = Registered.of(runner)
    model = registered.model(version)
    # Made once before anybody is asked why, so that an impossible wish is refused at once.
    log.promote(registered.entries, model, by=by(), when=now(), why="")
    why = why or _asked(runner.name)
    _append(runner, registered, log.promote(registered.entries, model, by=by(), when=now(), why=why))


def rollback(runner: Runner, why: str | None) -> None:
    """Go back to the champion before."""
    registered = Registered.of(runner)
    log.rollback(registered.entries, by=by(), when=now(), why="")
    why = why or _asked(runner.name)
    _append(runner, registered, log.rollback(registered.entries, by=by(), when=now(), why=why))


def adopt(runner: Runner, origin: str, why: str | None) -> None:
    """Take a model that was trained elsewhere as the first champion."""
    from assets.release.adopt import take  # imports transformers

    registered = Registered.of(runner)
    log.adopt(registered.entries, "", release="", origin=origin, by=by(), when=now(), why="")
    with _files(runner, origin) as files:
        why = why or _asked(runner.name)
        taken = take(runner.store, files, pipeline=runner.name, labels=runner.config.task.labels, origin=_shown(origin))
    for sentence in taken.differences:
        messages().print(sentence, style="yellow", soft_wrap=True, markup=False)
    messages().print(
        "Nobody here knows what it was trained on: no comparison can vouch that it has not seen the test rows.",
        style="yellow",
        soft_wrap=True,
    )
    signed = {"by": by(), "when": now(), "why": why}
    fields = log.adopt(registered.entries, taken.model, release=taken.release, origin=_shown(origin), **signed)
    _append(runner, registered, fields)


def restore(runner: Runner) -> None:
    """Set what somebody changed in MLflow by hand back to the promotion log."""
    if not Registered.of(runner).entries:
        raise ConfigurationError("nothing was registered yet", where=runner.name, fix=f"freshtune run {runner.name}")
    runner.settle(overwrite=True)
    messages().print(f"MLflow is in line with the promotion log of {runner.name}.", style="bold green")


def _append(runner: Runner, registered: Registered, fields: dict[str, Any]) -> None:
    """Append a person's entry to the promotion log and bring the registry in line."""
    number = len(registered.entries)
    if not runner.store.append(runner.environment, runner.name, LogEntry(number, fields)):
        # Not tried again: after another's rollback, this one would go back one champion further than was meant.
        raise StoreError(
            "the promotion log changed at this very moment, and nothing was done",
            where=runner.name,
            fix=f"look at what is in use now with `freshtune models {runner.name}`, then say again what you want",
        )
    try:
        settled = runner.settle()
    except FreshtuneError as error:
        error.what = f"the promotion log says so, but the registry does not yet: {error.what}"
        error.fix = f"{error.fix}; `freshtune run {runner.name}` brings the registry in line".removeprefix("; ")
        raise
    after = Registered.of(runner)
    messages().print(f"{runner.name} {after.said(after.champion)} is the champion.", style="bold green")
    undelivered = settled.get("undelivered")
    if undelivered:
        messages().print(
            f"The webhook was not told: {undelivered['why']}. The next run tries again.", style="yellow", soft_wrap=True
        )
    for sentence in by_hand.in_words(settled.get("by_hand", ()), runner.name):
        messages().print(sentence, style="yellow", soft_wrap=True, markup=False)


def _asked(name: str) -> str:
    if not _interactive():
        raise ConfigurationError(
            "the promotion log keeps a reason for every change by a person, and --why is missing",
            where=name,
            fix='add --why "the reason"',
        )
    reason: str = typer.prompt("Why (kept in the promotion log)", err=True)
    return reason


def _interactive() -> bool:
    return sys.stdin.isatty()


def _shown(origin: str) -> str:
    return str(Path(origin).resolve()) if Path(origin).is_dir() else origin


@contextmanager
def _files(runner: Runner, origin: str) -> Iterator[list[Path]]:
    """The files of a model that training would read too: of a folder, of MLflow, or of the hub."""
    from assets.model.base import fetch, observe

    with tempfile.TemporaryDirectory(prefix="freshtune-") as temporary:
        name = str(Path(origin).resolve()) if Path(origin).is_dir() else origin
        if origin.startswith(MLFLOW):
            name = str(_downloaded(runner.home.tracking_uri, origin, Path(temporary)))
        config = runner.config.model_copy(update={"base_model": PretrainedModel(name=name)})
        try:
            seen = observe(config, runner.store.index)["base_model"]
            folder = fetch(seen)
        except (ConfigurationError, DataError) as error:
            error.where = origin
            raise
        if seen.files:
            yield [folder / file.name for file in seen.files]
        else:
            # Of the hub only what counts was fetched.
            yield sorted(path for path in folder.iterdir() if path.is_file())


def _located(client: Any, uri: str) -> str:
    """Where the artifacts of a registered version are; MLflow itself would look for it in another registry."""
    name, _, alias = uri.removeprefix("models:/").partition("@")
    name, _, version = name.partition("/")
    if not uri.startswith("models:/") or not (alias or version.isdecimal()):
        return uri
    if alias:
        version = client.get_model_version_by_alias(name, alias).version
    location: str = client.get_model_version_download_uri(name, version)
    return location


def _downloaded(tracking_uri: str, uri: str, folder: Path) -> Path:
    """A model of MLflow's transformers flavour as one folder: weights, configuration and tokenizer."""
    from assets.release.mlflow_access import speaking

    where = {"tracking_uri": tracking_uri, "registry_uri": tracking_uri}
    with speaking(tracking_uri) as client:
        from mlflow.artifacts import download_artifacts

        place = Path(download_artifacts(artifact_uri=_located(client, uri), dst_path=str(folder), **where))
    described = yaml.safe_load((place / "MLmodel").read_text(encoding="utf-8"))["flavors"]
    if "transformers" not in described:
        raise ConfigurationError(
            f"it is no model of transformers; MLflow knows it as {', '.join(sorted(described))}",
            where=uri,
            fix="name one that was logged by mlflow.transformers",
        )
    whole = folder / "whole"
    for part in (described["transformers"].get("model_binary", "model"), "components/tokenizer"):
        if (place / part).is_dir():
            shutil.copytree(place / part, whole, dirs_exist_ok=True)
    return whole
