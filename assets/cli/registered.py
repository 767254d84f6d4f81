"""The promotion log together with the version numbers that the registry gave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assets.errors import ConfigurationError, FreshtuneError
from assets.pages.page import REPORT
from assets.release import by_hand, log
from assets.store.runner import Runner
from assets.store.step import LogEntry


@dataclass(frozen=True)
class Registered:
    """What is known of a pipeline's models.

    Attributes:
        name: the pipeline's name.
        entries: its promotion log, oldest first.
        settled: what the registry was last brought in line with; empty before that.
    """

    name: str
    entries: tuple[LogEntry, ...]
    settled: Mapping[str, Any]

    @classmethod
    def of(cls, runner: Runner) -> Registered:
        """Read the log and the settled file of a runner's environment."""
        store, environment = runner.store, runner.environment
        return cls(runner.name, store.log(environment, runner.name), store.settled(environment, runner.name) or {})

    @property
    def champion(self) -> str | None:
        """Digest of the model in use, or None."""
        return log.champion(self.entries)

    @property
    def decision(self) -> Mapping[str, Any] | None:
        """Fields of the gate's latest decision, or None before the first."""
        return next((entry.fields for entry in reversed(self.entries) if entry.fields["kind"] == "decision"), None)

    @property
    def models(self) -> list[str]:
        """Digests of the models that the gate has seen, oldest first."""
        return list(dict.fromkeys(entry.fields["challenger"] for entry in self.entries))

    @property
    def behind(self) -> int:
        """How many entries of the log the registry does not know yet."""
        return len(self.entries) - 1 - int(self.settled.get("number", -1))

    def version(self, model: str | None) -> int | None:
        """The registry's version number of a model, or None while it has none."""
        number = self.settled.get("versions", {}).get(model)
        return None if number is None else int(number)

    def alias(self, model: str) -> str | None:
        """`champion`, `challenger`, `previous` or None; the first of them, where it has two."""
        if model == self.champion:
            return "champion"
        version = self.version(model)
        if version is not None and version == self.settled.get("challenger"):
            return "challenger"
        return "previous" if model == log.aliases(self.entries)["previous"] else None

    def model(self, version: int) -> str:
        """Digest of the model with a version number.

        Raises:
            ConfigurationError: if there is no such version.
        """
        deleted = {number: model for model, number in self.settled.get("deleted", {}).items()}
        known = {number: model for model in self.models if (number := self.version(model)) is not None}
        known = {**deleted, **known}
        if version not in known:
            raise ConfigurationError(
                f"no version {version}; there are {', '.join(map(str, sorted(known))) or 'none yet'}",
                where=self.name,
                fix=f"`freshtune models {self.name}` lists them" if known else f"freshtune run {self.name}",
            )
        return known[version]

    def said(self, model: str | None) -> str:
        """A model for people: its version, or the beginning of its digest while it has none."""
        version = self.version(model)
        return f"version {version}" if version is not None else f"model {(model or '')[:12]}"


def changed_by_hand(runner: Runner, registered: Registered) -> tuple[list[by_hand.Change], str | None]:
    """What somebody changed in MLflow by hand, as it is there now, and why that cannot be told, or None."""
    if registered.behind or not registered.settled.get("name"):
        return [], None
    from assets.release.registry import look  # its imports take long

    try:
        return look(registered.settled, runner.home.tracking_uri), None
    except FreshtuneError as error:
        return [], str(error)


def decision_of(runner: Runner, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What was written down for an entry of kind `decision` or `adopt`: metrics, comparisons and the rest."""
    folder = runner.store.open("objects", fields["release"]["content"])
    decision: dict[str, Any] = json.loads((folder / "decision.json").read_bytes())
    return decision


def scores_of(runner: Runner, fields: Mapping[str, Any]) -> dict[str, Any]:
    """`metrics.json` of the evaluation that an entry of kind `decision` went by; nothing of an adopted model."""
    if "evaluation" not in fields["inputs"]:
        return {}
    folder = runner.store.open("objects", fields["inputs"]["evaluation"])
    scores: dict[str, Any] = json.loads((folder / "metrics.json").read_bytes())
    return scores


def report_of(runner: Runner, fields: Mapping[str, Any]) -> Path:
    """The HTML report of an entry of kind `decision`."""
    return runner.store.open("traces", fields["release"]["trace"]) / REPORT


def local_time(when: str) -> str:
    """An ISO 8601 time for people, in this machine's time zone."""
    return datetime.fromisoformat(when).astimezone().strftime("%Y-%m-%d %H:%M")


def now() -> str:
    """The present time as the log writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
