"""Brings MLflow in line with the promotion log: one model version for each challenger, aliases as the log says.

Everything is found again by the tag `freshtune.model`, the content digest of the model, which is set in the same call
that makes a run, a logged model or a version. So a call that was killed half-way is completed by the next, and a call
with nothing to do only reads. What somebody changed in MLflow by hand is told and stays, until a person promotes, rolls
back or says that it is to be restored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from assets.errors import FreshtuneError
from assets.release import by_hand, log, webhook
from assets.release.mlflow_access import IMPATIENT, environment, page_of, speaking, without_password
from assets.release.registration import TAG, Registration
from assets.store.step import LogEntry, Settlement


def settle(settlement: Settlement) -> dict[str, Any]:
    """Register every model that MLflow lacks, set the aliases, and tell the webhook of what came into use.

    Args:
        settlement: the log, where contents are, and where MLflow is.

    Returns:
        `name` of the registered model; `server`; `versions` (model digest → version); `deleted`, the same of those that
        somebody deleted; `challenger`, `champion`, `previous` (versions as the log has them, or None); `by_hand`, see
        `assets.release.by_hand`; `url` of the champion's page, else the challenger's, or None where MLflow has no
        server; `delivered`, number of the last entry that the webhook needs not to be told of; `undelivered` (`number`,
        `why`) of the first one that it could not be told of, or None.

    Raises:
        TransientError: if MLflow cannot be reached or is overloaded.
        FreshtuneError: if MLflow refuses, or the registered model was deleted or renamed.
    """
    name = registered_name(settlement.pipeline, settlement.environment)
    server = without_password(settlement.tracking_uri)
    stands: dict[str, Any] = {"name": name, "server": server, "versions": {}, "deleted": {}, "by_hand": [], "url": None}
    if any(entry.fields["kind"] in {"decision", "adopt"} for entry in settlement.entries):
        with speaking(settlement.tracking_uri) as client:
            stands |= _Settling(settlement, name, server, client).run()
    else:
        stands |= dict.fromkeys(by_hand.ALIASES)
    for sentence in by_hand.in_words(stands["by_hand"], settlement.pipeline):
        settlement.progress.message(sentence)
    stands["url"] = page_of(settlement.tracking_uri, name, stands["champion"] or stands["challenger"])
    return stands | _tell(settlement, stands)


def registered_name(pipeline: str, environment: str) -> str:
    """Name of the registered model: another one for each environment, so that none touches another's aliases."""
    return pipeline if environment == "default" else f"{pipeline}-{environment}"


def look(settled: Mapping[str, Any], tracking_uri: str) -> list[by_hand.Change]:
    """What in MLflow is not as it was left there.

    Args:
        settled: what `settle` returned last.
        tracking_uri: where MLflow is.

    Raises:
        TransientError: if MLflow cannot be reached.
        FreshtuneError: if the registered model is gone.
    """
    if settled.get("server", without_password(tracking_uri)) != without_password(tracking_uri):
        return []
    with speaking(tracking_uri) as client, environment(IMPATIENT):
        if settled["versions"]:
            _must_be_there(client, settled["name"], settled["versions"])
        found = _versions(client, settled["name"])
        due = {alias: settled.get(alias) for alias in by_hand.ALIASES}
        present = _aliases(client, settled["name"]) if found or settled["versions"] else {}
        nowhere: dict[str, tuple[int | None, ...]] = dict.fromkeys(by_hand.ALIASES, ())
        known = {**settled.get("deleted", {}), **settled["versions"]}
        return [*by_hand.gone(known, found), *by_hand.moved(present, due, nowhere)]


class _Settling:
    """One call of `settle`, with a client of MLflow at hand."""

    def __init__(self, settlement: Settlement, name: str, server: str, client: Any) -> None:
        self.settlement, self.name, self.client = settlement, name, client
        self.entries = settlement.entries
        # What was left in another server says nothing about this one.
        self.last = settlement.settled if settlement.settled.get("server", server) == server else {}
        self.seen = int(self.last.get("number", -1))

    def run(self) -> dict[str, Any]:
        """Versions, then aliases, which name them."""
        known = {**self.last.get("deleted", {}), **self.last.get("versions", {})}
        with environment(IMPATIENT):
            if known and not self.settlement.overwrite:
                _must_be_there(self.client, self.name, known)
            versions = _versions(self.client, self.name)
        due = log.aliases(self.entries)
        free = self._free()
        deleted = {change["model"]: change["version"] for change in by_hand.gone(known, versions)}
        wanted_again = {due[alias] for alias in free}
        registration = Registration(self.settlement, self.name, self.client)
        for model in dict.fromkeys(entry.fields["challenger"] for entry in self.entries):
            if model in versions or (model in deleted and model not in wanted_again):
                continue
            fields = log.told(self._until_first(model), model)
            assert fields is not None
            self.settlement.progress.message(f"registering {self.name} {model[:12]} in MLflow")
            versions[model] = registration.register(fields)
            deleted.pop(model, None)
        numbers = {alias: versions.get(model or "") for alias, model in due.items()}
        changes = [{"version": number, "model": model} for model, number in deleted.items()]
        changes += self._set_aliases(numbers, versions, free)
        return {"versions": versions, "deleted": deleted, **numbers, "by_hand": changes}

    def _until_first(self, model: str) -> tuple[LogEntry, ...]:
        """The log up to the first entry that says what a model is: a version is made of that one."""
        kinds = {"decision", "adopt"}
        return next(
            self.entries[: at + 1]
            for at, entry in enumerate(self.entries)
            if entry.fields["kind"] in kinds and entry.fields["challenger"] == model
        )

    def _free(self) -> frozenset[str]:
        """Aliases that may be set whatever was done to them: a person spoke since."""
        if self.settlement.overwrite:
            return frozenset(by_hand.ALIASES)
        spoke = any(entry.fields["kind"] != "decision" for entry in self.entries[self.seen + 1 :])
        return frozenset({"champion", "previous"}) if spoke else frozenset()

    def _set_aliases(
        self, due: Mapping[str, int | None], versions: Mapping[str, int], free: frozenset[str]
    ) -> list[by_hand.Change]:
        """Set each alias to its version, and take away one that has none; what is right already is left alone."""
        present = _aliases(self.client, self.name)
        ours: dict[str, set[int | None]] = {alias: {self.last.get(alias)} for alias in by_hand.ALIASES}
        # A killed call, and one that the log outran, may have set any of these.
        for length in range(self.seen + 1, len(self.entries)):
            for alias, model in log.aliases(self.entries[: length + 1]).items():
                ours[alias].add(None if model is None else versions.get(model))
        changes = [each for each in by_hand.moved(present, due, ours) if each["alias"] not in free]
        kept = {change["alias"] for change in changes}
        for alias, number in due.items():
            if alias in kept or present.get(alias) == number:
                continue
            if number is None:
                self.client.delete_registered_model_alias(self.name, alias)
            else:
                self.client.set_registered_model_alias(self.name, alias, str(number))
        return changes


def _versions(client: Any, name: str) -> dict[str, int]:
    """Version of each model that is registered; of two with the same digest, the first."""
    found: dict[str, int] = {}
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        for each in page:
            if digest := each.tags.get(TAG):
                found[digest] = min(int(each.version), found.get(digest, int(each.version)))
        token = page.token
        if not token:
            return found


def _aliases(client: Any, name: str) -> dict[str, int]:
    # Numbers from a database, text from a server.
    return {alias: int(number) for alias, number in client.get_registered_model(name).aliases.items()}


def _must_be_there(client: Any, name: str, known: Mapping[str, int]) -> None:
    """Refuse to begin again at version 1 where versions were registered.

    Raises:
        FreshtuneError: if the registered model was deleted or renamed.
    """
    if client.search_registered_models(f"name = '{name}'", max_results=1):
        return
    numbers = sorted(known.values())
    said = f"version {numbers[0]} was" if len(numbers) == 1 else f"versions {numbers[0]} to {numbers[-1]} were"
    raise FreshtuneError(
        f"MLflow has no registered model {name!r} any more, and {said} registered: it was deleted or renamed by hand",
        where="registry",
        fix=f"give it its name back in MLflow, or register everything again with `freshtune models {name} restore`",
    )


def _tell(settlement: Settlement, stands: Mapping[str, Any]) -> dict[str, Any]:
    """Tell the webhook of every model that came into use since it was told last.

    What was settled before a webhook was declared is old news.
    """
    last, settings = len(settlement.entries) - 1, settlement.settings
    if settings.get("webhook") is None:
        return {"delivered": last, "undelivered": None}
    delivered = int(settlement.settled.get("delivered", settlement.settled.get("number", -1)))
    for entry in log.replacements(settlement.entries):
        if entry.number <= delivered:
            continue
        why = webhook.post(
            _news(settlement, entry, stands),
            identifier=f"{settlement.environment}-{settlement.pipeline}-{entry.number}",
            url_in=settings["webhook"],
            secret_in=settings.get("webhook_secret"),
        )
        if why is not None:
            settlement.progress.message(
                f"the webhook was not told of entry {entry.number} of the promotion log: {why}; "
                "the next run tries again"
            )
            return {"delivered": delivered, "undelivered": {"number": entry.number, "why": why}}
        delivered = entry.number
    return {"delivered": last, "undelivered": None}


def _news(settlement: Settlement, entry: LogEntry, stands: Mapping[str, Any]) -> dict[str, Any]:
    fields, entries = entry.fields, settlement.entries[: entry.number + 1]
    model, before = fields["champion"], log.champion(entries[:-1])
    told = None if model is None else log.told(entries, model)
    metrics = {}
    if told is not None:
        decision = settlement.content(told["release"]["content"]) / "decision.json"
        metrics = json.loads(decision.read_bytes())["metrics"]
    return {
        "type": "model.champion",
        "pipeline": settlement.pipeline,
        "environment": settlement.environment,
        "number": entry.number,
        "kind": fields["kind"],
        "decision": fields["decision"],
        "name": stands["name"],
        "version": stands["versions"].get(model),
        "previous_version": stands["versions"].get(before),
        "digests": {"model": model, **({} if told is None else told["inputs"])},
        "metrics": metrics,
        "who": fields["by"],
        "when": fields["when"],
        "why": fields["why"],
        "url": page_of(settlement.tracking_uri, stands["name"], stands["versions"].get(model)),
    }
