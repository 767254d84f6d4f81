"""Takes texts out of an MLflow that somebody has set up: whatever freshtune has written there, by MLflow's client."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assets.cli.scrubbing import Words, scrub
from assets.release.mlflow_access import environment, speaking, without_password

WEIGHTS = ("model", "components")
"""Folders of a logged model with weights and tokenizer, which forgetting does not change."""


def scrub_tracked(
    tracking_uri: str, names: Iterable[str], words: Words, changing: Callable[[str], object]
) -> list[str]:
    """Take words out of runs, logged models and versions, deleted runs too.

    Args:
        tracking_uri: of MLflow.
        names: of registered models; the experiments of their runs are called the same.
        words: what is to go.
        changing: told of each place that holds some, before it is changed: whoever is killed has written it down.

    Returns:
        What holds some still.

    Raises:
        TransientError: if MLflow cannot be reached.
        FreshtuneError: if it refuses.
    """
    with speaking(tracking_uri) as client, environment({"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}):
        scrubber = _Scrubber(client, tracking_uri, words, changing)
        for name in names:
            scrubber.clean(name)
    return scrubber.left


@dataclass
class _Scrubber:
    client: Any
    uri: str
    words: Words
    changing: Callable[[str], object]
    left: list[str] = field(default_factory=list)

    def clean(self, name: str) -> None:
        from mlflow.entities import ViewType

        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None:
            ids = [experiment.experiment_id]
            for run in _pages(self.client.search_runs, ids, run_view_type=ViewType.ALL):
                self._run(run)
            for model in _pages(self.client.search_logged_models, ids):
                self._model(model)
        for version in _pages(self.client.search_model_versions, f"name = '{name}'"):
            self._version(name, version)

    def _run(self, run: Any) -> None:
        run_id = run.info.run_id
        where = f"run {run_id}"
        self._tags(run.data.tags, where, lambda key, value: self.client.set_tag(run_id, key, value))
        # What MLflow keeps of parameters cannot be changed.
        self.left += [
            self._said(f"{where}, parameter {key}")
            for key, value in run.data.params.items()
            if self._without(value) != value
        ]
        self._artifacts(
            where,
            lambda path: self.client.list_artifacts(run_id, path),
            lambda path, folder: self.client.download_artifacts(run_id, path, folder),
            lambda local, parent: self.client.log_artifact(run_id, local, parent),
        )

    def _model(self, model: Any) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        model_id = model.model_id
        where = f"logged model {model_id}"
        self._tags(model.tags, where, lambda key, value: self.client.set_logged_model_tags(model_id, {key: value}))

        # Not `mlflow.artifacts`, which makes a database where one happens to stand.
        repository = get_artifact_repository(model.artifact_location, tracking_uri=self.uri)
        self._artifacts(
            where,
            lambda path: [
                each
                for each in self.client.list_logged_model_artifacts(model_id, path)
                if path is not None or each.path not in WEIGHTS
            ],
            repository.download_artifacts,
            lambda local, parent: self.client.log_model_artifact(model_id, local, parent),
        )

    def _version(self, name: str, version: Any) -> None:
        where = f"version {version.version} of {name}"
        self._tags(
            version.tags,
            where,
            lambda key, value: self.client.set_model_version_tag(name, version.version, key, value),
        )
        if (after := self._without(version.description or "")) != (version.description or ""):
            self.changing(self._said(f"{where}, description"))
            self.client.update_model_version(name, version.version, description=after)

    def _tags(self, tags: dict[str, str], where: str, put: Callable[[str, str], Any]) -> None:
        for key, value in tags.items():
            if (after := self._without(value)) != value:
                self.changing(self._said(f"{where}, tag {key}"))
                put(key, after)

    def _artifacts(
        self,
        where: str,
        listed: Callable[[str | None], Iterable[Any]],
        fetched: Callable[[str, str], str],
        put: Callable[[str, str | None], Any],
    ) -> None:
        """Fetch each file, and put back what was scrubbed under the name that it had."""
        for path in _files(listed, None):
            with tempfile.TemporaryDirectory(prefix="freshtune-") as folder:
                local = Path(fetched(path, folder))
                if not self.words.holding(local):
                    continue
                if scrub(local, self.words):
                    self.changing(self._said(f"{where}, {path}"))
                    put(str(local), path.rpartition("/")[0] or None)
                else:
                    self.left.append(self._said(f"{where}, {path}"))

    def _without(self, value: str) -> str:
        return self.words.without_spelt(self.words.without(value))

    def _said(self, what: str) -> str:
        return f"{without_password(self.uri)}: {what}"


def _files(listed: Callable[[str | None], Iterable[Any]], folder: str | None) -> Iterator[str]:
    for each in listed(folder):
        if each.is_dir:
            yield from _files(listed, each.path)
        else:
            yield each.path


def _pages(search: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = search(*arguments, page_token=token, **options)
        yield from page
        token = page.token
        if not token:
            return
