"""Which model a training starts from: the champion, unless something speaks against it.

A model that was started from another has in its weights what that one was trained on, and so for all before it. So a
champion that has seen rows which now validate or test is no parent, nor is one with rows that are forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assets.errors import DamagedError
from assets.model.rows import ANCESTORS, CHAMPION, Ancestor, ancestors_in
from assets.release import log
from assets.store.digests import write_json
from assets.store.step import Beginning, LogEntry, Measurements, Observation

BEGUN = "start.json"
"""File in the work folder: the champion that training began with."""


def choose(beginning: Beginning, *, start: str | None, **_: Any) -> dict[str, Observation]:
    """Choose the model that a training starts from, beside the base model or in its place.

    A training that was killed goes on with the champion that it began with, and one that is run again under the same
    key comes to the same.

    Args:
        beginning: external input `base_model`, input `splits`.
        start: `training.start`.

    Returns:
        Nothing if no champion is asked for. Else `champion`: its object, or none and, as its value, why it is not
        started from; its digest is that of the champion, or empty. With an object also `champion_ancestors`: what its
        weights have of others, itself included; each value is an `Ancestor` as JSON.
    """
    if start is None:
        return {}
    model = candidate(beginning.entries, beginning.work, beginning.before)
    part = beginning.work / f"{BEGUN}.part"
    write_json(part, {CHAMPION: model})
    part.replace(beginning.work / BEGUN)
    why, having = spoken_against(beginning.entries, model), []
    if model is not None and not why:
        try:
            having = _with_ancestors(beginning, model)
            why = _made_otherwise(beginning, model) or _seen(beginning, having)
        except DamagedError as error:
            why = f"the store has lost what belongs to the champion: {error.what}"
    if model is None or why:
        return {CHAMPION: Observation("input", "promotion log", model or "", values=(why,))}
    return {
        CHAMPION: Observation("input", "promotion log", model, objects=(model,)),
        ANCESTORS: Observation("input", "promotion log", model, values=tuple(map(json.dumps, having))),
    }


def candidate(entries: Sequence[LogEntry], work: Path, before: Measurements | None = None) -> str | None:
    """Digest of the champion that a training starts from if nothing speaks against it, or None while there is none.

    Args:
        entries: the promotion log.
        work: work folder of the training.
        before: what was measured when the same was trained before.
    """
    path = work / BEGUN
    begun = json.loads(path.read_bytes()) if path.is_file() else (before or {}).get("start")
    if begun is not None:
        model: str | None = begun[CHAMPION]
        # Another environment may have another log, and share the store.
        known = model is None or log.told(entries, model) is not None
        if known and (model is None or not spoken_against(entries, model)):
            return model
    return log.champion(entries)


def spoken_against(entries: Sequence[LogEntry], model: str | None) -> str:
    """What the promotion log has against a model as a parent, or ""."""
    if model is None:
        return "there is no champion yet"
    if log.adopted(entries, model):
        return "the champion was trained elsewhere, and may have seen rows that validate or test"
    if model in log.rolled_back(entries):
        return "the champion was rolled back"
    forgotten = sum(
        count
        for mark in log.marks(entries).get(model, ())
        for side, count in mark["rows"].items()
        # Of a test row its weights have nothing.
        if side != "test"
    )
    if forgotten:
        return f"the champion was trained on or chosen by rows that are forgotten: {forgotten:,}"
    return ""


def _made_otherwise(beginning: Beginning, model: str) -> str:
    """Whether it goes back to another pretrained model, in words, or ""."""
    fields = log.told(beginning.entries, model)
    keys: Mapping[str, str] = dict(fields.get("keys", ()) if fields is not None else ())
    record = beginning.record(keys["model"]) if "model" in keys else None
    if record is None:
        return "how the champion was made is not known any more"
    if record.ingredients["inputs"]["base_model"] != beginning.externals["base_model"].digest:
        return "the champion was made from another base model"
    return ""


def _with_ancestors(beginning: Beginning, model: str) -> list[Ancestor]:
    """A model and those that it was started from, with what now stands for their splits."""
    splits = list(dict.fromkeys(fields["inputs"]["splits"] for fields in log.decisions(beginning.entries, model)))
    found: list[Ancestor] = [{"model": model, "splits": splits}]
    for each in ancestors_in(beginning.stored(model)):
        now = [log.stands(beginning.entries, digest) for digest in each["splits"]]
        found.append({"model": each["model"], "splits": now})
    return found


def _seen(beginning: Beginning, models: Sequence[Ancestor]) -> str:
    """Whether any of these models was trained on rows that are held out now, or chosen by rows that test, or ""."""
    from assets.splits.rows import alike, read_groups, read_side

    splits = dict.fromkeys(digest for each in models for digest in each["splits"])
    seen: set[str] = set()
    for side, learned in (("validation", ("train",)), ("test", ("train", "validation"))):
        held_out = read_groups(beginning.inputs["splits"], side)
        for digest in splits:
            for known in (read_side(beginning.stored(digest), each) for each in learned):
                seen.update(held_out["row_id"].filter(alike(held_out, known)).to_pylist())
    return f"the champion has seen rows that validate or test now: {len(seen):,}" if seen else ""
