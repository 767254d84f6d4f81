"""Where a model came from, as plain data: sources, rows, steps with their keys, the model it started from, checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.errors import DamagedError
from assets.release.account import row_account
from assets.store.code import code_digest
from assets.store.digests import digest_json
from assets.store.step import Measurements
from assets.store.store import MEASUREMENTS

if TYPE_CHECKING:
    from assets.store.store import Record

SOURCE, BASE_MODEL = "source", "base_model"
"""External inputs of `raw` and of `model`."""
SIDES = ("train", "validation", "test")
_FILES = 20  # of the source that a summary lists


@dataclass(frozen=True)
class Origins:
    """What is known of how a model was made.

    Attributes:
        model: its content digest.
        records: record of each step that it was made by, by step, in the order of the chain; empty for a model that was
            trained elsewhere.
        measurements: what each of them measured.
        base_model: where the model that it started from was, or None where that was not written down.
        origin: where an adopted model came from, or "".
        checks: step → check → `passed`, `message`, as they were when the gate decided.
        run: Dagster's id of the run that ended with the gate's decision, or None.
    """

    model: str
    records: Mapping[str, Record]
    measurements: Mapping[str, Measurements]
    base_model: str | None = None
    origin: str = ""
    checks: Mapping[str, Any] = field(default_factory=dict)
    run: str | None = None


def origins(fields: Mapping[str, Any], record: Callable[[str], Record | None], trace: Callable[[str], Path]) -> Origins:
    """What the store knows of how a model was made; what was collected as garbage since is left out.

    Args:
        fields: of the entry of the promotion log that says what it is: see `assets.release.log.told`.
        record: from a key to its record.
        trace: from a trace digest to its local folder, verified.
    """
    found = {name: record(key) for name, key in fields.get("keys", ())}
    # The key's record may be of a later, forced build.
    records = {name: replace(each, content=fields["inputs"][name]) for name, each in found.items() if each is not None}
    traces = {}
    for name, each in records.items():
        with suppress(DamagedError):
            traces[name] = trace(each.trace)
    return Origins(
        model=fields["challenger"],
        records=records,
        measurements={name: json.loads((folder / MEASUREMENTS).read_bytes()) for name, folder in traces.items()},
        base_model=_base_model(traces["model"]) if "model" in traces else None,
        origin=fields.get("origin", ""),
        checks=fields.get("checks", {}),
        run=fields.get("run"),
    )


def _base_model(trace: Path) -> str | None:
    """Where the model was that a training started from, by the spec that its program ran from."""
    path = trace / "spec.json"
    if not path.is_file():
        return None
    started: Mapping[str, str] = json.loads(path.read_bytes())["externals"].get(BASE_MODEL, {})
    return started.get("location")


def lineage(known: Origins) -> dict[str, Any]:
    """Where a model came from.

    Returns:
        `model` (digest); `origin` ("" of a model that was trained here); `sources` (`name`, `sha256`, `bytes` of each
        file that its rows were read from); `rows` (`read`, `kept`, `quarantined`, `merged`, `train`, `validation`,
        `test`); `quarantine` (expectation → rows); `parent` (`name`, `digest`, `files` of the pretrained model) or
        None; `warm_start` (`from`, `champion`, `why`, `ancestors`: see `assets.model.starts`) or None where none was
        asked for; `steps` (`step`, `key`, `content`, `code`, `configuration`, `environment`, `inputs`, `seconds`,
        `time`, `by`, `accepted`); `digests` (of `data`, `code`, `configuration`, `environment`); `checks`; `run`.
        Digests are of all steps up to the model.
    """
    records, measured = known.records, known.measurements
    raw, model = records.get("raw"), records.get("model")
    sides = measured.get("splits", {}).get("rows", {})
    return {
        "model": known.model,
        "origin": known.origin,
        "sources": _files(raw.files.get(SOURCE, {})) if raw else [],
        "rows": {**_account(measured), **{side: sides[side] for side in SIDES if side in sides}},
        "quarantine": measured.get("validated", {}).get("quarantined_by_expectation", {}),
        "parent": _parent(model, known.base_model) if model else None,
        "warm_start": measured.get("model", {}).get("start"),
        "steps": [_step(name, record) for name, record in records.items()],
        "digests": digests(records),
        "checks": {step: dict(found) for step, found in known.checks.items()},
        "run": known.run,
    }


def summary(known: Mapping[str, Any]) -> dict[str, str]:
    """What `lineage` found, for a card or a table: what → a line about it; nothing where nothing is known."""
    files, parent = known["sources"], known["parent"]
    more = f" and {len(files) - _FILES:,} more" if len(files) > _FILES else ""
    failed = [f"{name} of {step}" for step, of in known["checks"].items() for name in of if not of[name]["passed"]]
    checks = sum(len(of) for of in known["checks"].values())
    told = {
        "origin": known["origin"],
        "sources": ", ".join(f"{each['name']} (sha256 {each['sha256'][:12]})" for each in files[:_FILES]) + more,
        "rows": ", ".join(f"{count:,} {what}" for what, count in known["rows"].items()),
        "quarantine": ", ".join(f"{count:,} {what}" for what, count in known["quarantine"].items()),
        "started from": f"{parent['name'] or ''} {parent['digest'][:12]}".strip() if parent else "",
        "warm start": in_words(known["warm_start"]) if known["warm_start"] else "",
        **{f"digest of {what}": digest[:12] for what, digest in known["digests"].items()},
        "checks": f"{checks - len(failed)} of {checks} passed" + (f"; not {', '.join(failed)}" if failed else ""),
        "run": known["run"] or "",
    }
    return {what: text for what, text in told.items() if text and not (what == "checks" and not checks)}


def in_words(start: Mapping[str, Any]) -> str:
    """What came of a warm start: see `assets.model.starts`."""
    if start["from"] == "champion":
        return f"with the weights of champion {start['champion'][:12]}"
    # Without a reason against the champion, the start from the base model was the better one of both.
    return f"from the base model: {start['why'] or 'better on validation than from the champion'}"


def digests(records: Mapping[str, Record]) -> dict[str, str]:
    """One digest each of the data, the code, the configuration and the environment that a model was made from."""
    made_by = _made_by(records)
    if "model" not in made_by:
        return {}
    before = {name: records[name].ingredients for name in made_by}
    return {
        "data": before["model"]["inputs"].get("splits", ""),
        "code": digest_json({name: code_digest(made["code"]) for name, made in before.items()}),
        "configuration": digest_json({name: made["configuration"] for name, made in before.items()}),
        "environment": digest_json({name: made["environment"] for name, made in before.items()}),
    }


def _made_by(records: Mapping[str, Record]) -> list[str]:
    """The model's step and those that it was made from; drift, for instance, only looked on."""
    wanted = {"model"}
    for name in reversed(list(records)):
        if name in wanted:
            wanted.update(records[name].ingredients["inputs"])
    return [name for name in records if name in wanted]


def _account(measured: Mapping[str, Measurements]) -> dict[str, int]:
    if not {"raw", "validated", "cleaned"} <= measured.keys():
        return {}
    account = row_account(measured)
    return {name: account[name] for name in ("read", "kept", "quarantined", "merged")}


def _files(files: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "sha256": sha256, "bytes": size} for name, (sha256, size) in sorted(files.items())]


def _parent(record: Record, name: str | None) -> dict[str, Any] | None:
    digest = record.ingredients["inputs"].get(BASE_MODEL)
    if digest is None:
        return None
    return {"name": name, "digest": digest, "files": _files(record.files.get(BASE_MODEL, {}))}


def _step(name: str, record: Record) -> dict[str, Any]:
    made = record.ingredients
    return {
        "step": name,
        "key": record.key,
        "content": record.content,
        "code": code_digest(made["code"]),
        "configuration": made["configuration"],
        "environment": made["environment"],
        "inputs": made["inputs"],
        "seconds": record.seconds,
        "time": record.time,
        "by": record.by,
        "accepted": record.accepted,
    }
