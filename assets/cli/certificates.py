"""Certificates of what was forgotten: as JSON for programs, as Markdown for people; without any text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = "certificates"


def write_certificate(home: Path, certificate: Mapping[str, Any]) -> Path:
    """Write `FRESHTUNE_HOME/certificates/forgotten-REQUEST.json` and `.md`; returns the latter."""
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"forgotten-{certificate['request']}"
    data = json.dumps(certificate, ensure_ascii=False, indent=1, sort_keys=True)
    path.with_suffix(".json").write_text(data, encoding="utf-8")
    page = path.with_suffix(".md")
    page.write_text(in_words(certificate), encoding="utf-8")
    return page


def in_words(certificate: Mapping[str, Any]) -> str:
    """A certificate as Markdown."""
    removed, remains, ids = certificate["removed"], certificate["remains"], certificate.get("ids", [])
    lines = [
        f"# Rows forgotten: request {certificate['request']}",
        "",
        f"- asked for {certificate['when']} by {certificate['by']}, through pipeline {certificate['pipeline']}",
        f"- finished {certificate['finished']}",
        f"- why: {certificate['why']}",
        f"- store: {certificate['store']}",
        f"- texts: {len(certificate['hashes']):,}; keyed hashes (HMAC-SHA256, key {certificate['key']}) keep them out",
        *([f"- ids: {len(ids):,}; keyed hashes keep their rows out, whatever they say"] if ids else []),
        "",
        "## Removed",
        "",
        f"- rows: {removed['rows']:,}",
        *(f"- {what}: {len(removed[what]):,}" for what in ("objects", "traces", "records", "references")),
        *(f"- in file: {name}" for name in removed["files"]),
        *(f"- in MLflow: {name}" for name in removed.get("tracked", ())),
        "",
        "## Models that were made with them",
        "",
        *(_model(each) for each in certificate["models"]),
        *([] if certificate["models"] else ["none"]),
        "",
        "A model's weights were learned from its training rows and are not changed. The next run trains without them.",
        "",
        "## What remains",
        "",
        *_remaining(remains),
        "",
        "## Hashes",
        "",
        *(f"- `{each}`" for each in [*certificate["hashes"], *ids]),
        "",
    ]
    return "\n".join(lines)


def _model(marked: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count:,} {side}" for side, count in marked["rows"].items())
    return f"- {marked['environment']}/{marked['pipeline']} `{marked['model']}`: {counts}"


def _remaining(remains: Mapping[str, Any]) -> list[str]:
    tracked = remains.get("tracked", ())
    told = [
        *(f"- STILL IN THE STORE: {each}" for each in remains["store"]),
        *(f"- still in the file {each}" for each in remains["files"]),
        *(
            f"- your own file holds them: {each}; mend it, the rows are kept out meanwhile"
            for each in remains["sources"]
        ),
        *(f"- still in MLflow, which lets nobody change it: {each}; delete it there" for each in tracked),
    ]
    if not (remains["store"] or remains["files"] or tracked):
        told.insert(0, "- a search of the whole store and of the files of freshtune on this machine finds nothing")
    return told
