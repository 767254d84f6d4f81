"""What Dagster shows of the registry: where the model is, what was changed there by hand, where the model came from."""

from __future__ import annotations

from typing import Any

import dagster as dg

from assets.release import by_hand, log
from assets.release.lineage import lineage, origins, summary
from assets.release.mlflow_access import without_password
from assets.release.registry import registered_name
from assets.store.runner import Runner


def registry_metadata(runner: Runner) -> dict[str, dg.MetadataValue[Any]]:
    """Metadata of a decision: the registry, and the lineage of the model that was decided about."""
    store, environment = runner.store, runner.environment
    settled = store.settled(environment, runner.name) or {}
    shown: dict[str, dg.MetadataValue[Any]] = {"registry": _place(runner)}
    changes = by_hand.in_words(settled.get("by_hand", ()), runner.name)
    if changes:
        shown["changed_by_hand"] = dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in changes))
    if undelivered := settled.get("undelivered"):
        shown["webhook"] = dg.MetadataValue.text(f"not told of entry {undelivered['number']}: {undelivered['why']}")
    entries = store.log(environment, runner.name)
    waiting = log.waiting(entries)
    if waiting is not None:
        version = settled.get("versions", {}).get(waiting)
        command = f"freshtune models {runner.name} promote {version or 'VERSION'}"
        shown["waits_for_a_person"] = dg.MetadataValue.text(command)
    decided = [entry.fields for entry in entries if entry.fields["kind"] == "decision"]
    if decided:
        known = lineage(origins(decided[-1], store.record, lambda trace: store.open("traces", trace)))
        lines = [f"| {what} | {text.replace('|', '/')} |" for what, text in summary(known).items()]
        if lines:
            shown["lineage"] = dg.MetadataValue.md("\n".join(["| | |", "| --- | --- |", *lines]))
    return shown


def _place(runner: Runner) -> dg.MetadataValue[Any]:
    uri, name = without_password(runner.home.tracking_uri), registered_name(runner.name, runner.environment)
    if uri.startswith(("http://", "https://")):
        return dg.MetadataValue.url(f"{uri.rstrip('/')}/#/models/{name}")
    return dg.MetadataValue.text(f"model {name} in {uri}")
