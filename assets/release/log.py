"""The promotion log, which is the truth about which model is in use: pure functions over its entries.

An entry's fields are a JSON object:

- `kind`: `decision` (the gate), `promote`, `rollback` or `adopt` (a person);
- `release` (`content` and `trace` digests of decision, card and report): of decisions; of adoptions the content alone;
- `key`, and `keys` ([step, key] of what each stood for), `checks` (step → check → `passed`, `message`) and `run`
  (Dagster's id of the run, or None): of decisions only, the latter three not of early ones;
- `decision`: `promoted`, `accepted` (good enough, and waits for a person), `refused` or `unchanged`; of a person's
  entries `promoted`, `rolled_back` or `adopted`;
- `origin` (where it came from): of adoptions only;
- `challenger`: digest of the model that it is about; of a rollback the one that is taken out of use;
- `champion`: digest of the model in use after the entry, or None;
- `inputs`: content digest of each input of the decision about that model, by step; none of an adopted model;
- `by`, `when` (ISO 8601 with time zone), `why`.

An entry of kind `forgotten` says that rows were forgotten, and changes nothing about which model is in use. It has
`request` (its number), `marked` (`model` and how many of the rows were on each side, where any was), `replaced` (digest
of an object that held the rows → digest of what stands for it without them: whoever reads the log through the store
gets the latter) and `removed` (digests and keys that stand for nothing any more). Its `challenger` is that of the entry
before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assets.errors import ConfigurationError
from assets.store.step import LogEntry

Fields = dict[str, Any]
FORGOTTEN = "forgotten"


def champion(entries: Sequence[LogEntry]) -> str | None:
    """Digest of the model in use, or None while there is none."""
    return entries[-1].fields["champion"] if entries else None


def champions(entries: Sequence[LogEntry]) -> list[str]:
    """Champions from the first to the present one, without those that were rolled back."""
    found: list[str] = []
    for entry in entries:
        after = entry.fields["champion"]
        if entry.fields["kind"] == "rollback":
            found.pop()
        elif after is not None and found[-1:] != [after]:
            found.append(after)
    return found


def outgrown(entries: Sequence[LogEntry], splits: str) -> str | None:
    """Digest of the latest champion that was not made from these splits, or None.

    It is the one that rows which came in can be compared with. The run that brings rows in promotes a champion made
    from them at its end, so that the model in use would leave nothing to compare, and each run something to be done.

    Args:
        entries: the log so far, oldest first.
        splits: content digest of the splits that stand now.
    """
    for model in reversed(champions(entries)):
        # What an adopted model was made from nobody knows.
        if not adopted(entries, model) and all(
            fields["inputs"]["splits"] != splits for fields in decisions(entries, model)
        ):
            return model
    return None


def reference(entries: Sequence[LogEntry]) -> str | None:
    """Digest of the champion that losses are counted from: the last that a person put in use, else the first.

    A person who promotes or adopts a model vouches for it. One who rolls back vouches for nothing, only against.
    None while there is no champion.
    """
    found: list[tuple[str, bool]] = []
    for entry in entries:
        after, kind = entry.fields["champion"], entry.fields["kind"]
        if kind == "rollback":
            found.pop()
        elif after is not None and (not found or found[-1][0] != after):
            found.append((after, kind != "decision"))
    chosen = [model for model, by_a_person in found if by_a_person]
    return chosen[-1] if chosen else found[0][0] if found else None


def decisions(entries: Sequence[LogEntry], model: str) -> list[Mapping[str, Any]]:
    """Fields of every decision about a model, oldest first; empty if the gate never saw it."""
    return [
        entry.fields for entry in entries if entry.fields["kind"] == "decision" and entry.fields["challenger"] == model
    ]


def evaluation(entries: Sequence[LogEntry], model: str) -> str | None:
    """Content digest of the evaluation that the latest decision about a model went by, or None without one."""
    found = decisions(entries, model)
    return found[-1]["inputs"].get("evaluation") if found else None


def told(entries: Sequence[LogEntry], model: str) -> Mapping[str, Any] | None:
    """Fields of the latest entry that says what a model is: a decision about it, or its adoption; None if unknown."""
    found = (entry.fields for entry in reversed(entries) if entry.fields["kind"] in {"decision", "adopt"})
    return next((fields for fields in found if fields["challenger"] == model), None)


def adopted(entries: Sequence[LogEntry], model: str) -> bool:
    """Whether a model came from elsewhere and was never trained here, so that nobody knows its training rows."""
    fields = told(entries, model)
    return fields is not None and fields["kind"] == "adopt"


def stands(entries: Sequence[LogEntry], digest: str) -> str:
    """Digest of what stands for an object: itself, or what it was replaced by when rows were forgotten."""
    for entry in entries:
        digest = entry.fields.get("replaced", {}).get(digest, digest)
    return digest


def waiting(entries: Sequence[LogEntry]) -> str | None:
    """Digest of the latest challenger if the gate accepted it and it waits for a person to promote it, or None."""
    decided = [entry.fields for entry in entries if entry.fields["kind"] == "decision"]
    if not decided or decided[-1]["decision"] != "accepted":
        return None
    model: str = decided[-1]["challenger"]
    return None if model in {champion(entries), *rolled_back(entries)} else model


def aliases(entries: Sequence[LogEntry]) -> dict[str, str | None]:
    """Digest of the model that each alias stands for, or None.

    `challenger` is the one that the gate decided about last, `champion` the one in use, `previous` the one that a
    rollback goes back to.
    """
    decided = [entry.fields["challenger"] for entry in entries if entry.fields["kind"] == "decision"]
    so_far = champions(entries)
    return {
        "challenger": decided[-1] if decided else None,
        "champion": champion(entries),
        "previous": so_far[-2] if len(so_far) > 1 else None,
    }


def replacements(entries: Sequence[LogEntry]) -> list[LogEntry]:
    """The entries that put another model in use than before."""
    found, before = [], None
    for entry in entries:
        if entry.fields["champion"] != before:
            found.append(entry)
        before = entry.fields["champion"]
    return found


def rolled_back(entries: Sequence[LogEntry]) -> frozenset[str]:
    """Digests of the models that were taken out of use by a rollback and not put back by a person since."""
    models: set[str] = set()
    for entry in entries:
        if entry.fields["kind"] == FORGOTTEN:
            continue
        if entry.fields["kind"] == "rollback":
            models.add(entry.fields["challenger"])
        if entry.fields["kind"] != "decision":
            models.discard(entry.fields["champion"])
    return frozenset(models)


def promote(entries: Sequence[LogEntry], model: str, *, by: str, when: str, why: str) -> Fields:
    """Make the entry by which a person puts a model in use.

    Args:
        entries: the log so far, oldest first.
        model: content digest of the model.
        by: who does it.
        when: ISO 8601 time with time zone.
        why: the reason, in their words.

    Raises:
        ConfigurationError: if the gate never saw the model, or it is in use already.
    """
    seen = told(entries, model)
    if seen is None:
        known = list(dict.fromkeys(entry.fields["challenger"] for entry in entries))
        raise ConfigurationError(
            f"no model {model!r} in the promotion log; known: {', '.join(known) or 'none yet'}",
            where="promote",
            fix="name a model that a run has trained and evaluated" if known else "run the pipeline first",
        )
    if champion(entries) == model:
        raise ConfigurationError(
            f"model {model!r} is the champion already",
            where="promote",
            fix="if MLflow says otherwise, `freshtune models NAME restore` sets it back",
        )
    return {
        "kind": "promote",
        "decision": "promoted",
        "challenger": model,
        "champion": model,
        "inputs": dict(seen["inputs"]),
        "by": by,
        "when": when,
        "why": why,
    }


def rollback(entries: Sequence[LogEntry], *, by: str, when: str, why: str) -> Fields:
    """Make the entry by which a person goes back to the champion before.

    Args:
        entries: the log so far, oldest first.
        by: who does it.
        when: ISO 8601 time with time zone.
        why: the reason, in their words.

    Raises:
        ConfigurationError: if there is no champion before the present one.
    """
    so_far = champions(entries)
    if len(so_far) < 2:
        present = f"{so_far[0]!r} is the first champion" if so_far else "there is no champion"
        raise ConfigurationError(
            f"nothing to roll back to: {present}", where="rollback", fix="promote a model by name instead"
        )
    before, out = so_far[-2:]
    made_from = told(entries, out)
    assert made_from is not None
    return {
        "kind": "rollback",
        "decision": "rolled_back",
        "challenger": out,
        "champion": before,
        "inputs": dict(made_from["inputs"]),
        "by": by,
        "when": when,
        "why": why,
    }


def adopt(
    entries: Sequence[LogEntry], model: str, *, release: str, origin: str, by: str, when: str, why: str
) -> Fields:
    """Make the entry by which a model that was trained elsewhere becomes the first champion.

    Args:
        entries: the log so far, oldest first.
        model: content digest of the model.
        release: content digest of its card and of what stands for a decision.
        origin: where it came from.
        by: who does it.
        when: ISO 8601 time with time zone.
        why: the reason, in their words.

    Raises:
        ConfigurationError: if there is a champion already.
    """
    if (present := champion(entries)) is not None:
        raise ConfigurationError(
            f"a model is adopted as the first champion, and {present!r} is the champion already",
            where="adopt",
            fix="train beside it and let the gate decide, or adopt the model in another pipeline or environment",
        )
    return {
        "kind": "adopt",
        "decision": "adopted",
        "release": {"content": release},
        "challenger": model,
        "champion": model,
        "origin": origin,
        "inputs": {},
        "by": by,
        "when": when,
        "why": why,
    }


def forget(
    entries: Sequence[LogEntry],
    *,
    request: int,
    marked: Sequence[Mapping[str, Any]],
    replaced: Mapping[str, str],
    removed: Sequence[str],
    by: str,
    when: str,
    why: str,
) -> Fields:
    """Make the entry that says that rows were forgotten.

    Args:
        entries: the log so far, oldest first; not empty.
        request: its number.
        marked: `model` and `rows` (side → how many of the rows) of each model that was made with any of them.
        replaced: digest of an object → digest of what stands for it now.
        removed: digests and keys that stand for nothing any more.
        by: who forgot them.
        when: ISO 8601 time with time zone.
        why: the reason, in their words.
    """
    return {
        "kind": FORGOTTEN,
        "decision": FORGOTTEN,
        "challenger": entries[-1].fields["challenger"],
        "champion": champion(entries),
        "inputs": {},
        "request": request,
        "marked": list(marked),
        "replaced": dict(replaced),
        "removed": list(removed),
        "by": by,
        "when": when,
        "why": why,
    }


def marks(entries: Sequence[LogEntry]) -> dict[str, list[Mapping[str, Any]]]:
    """Models that were made with rows that were forgotten: digest → `request`, `when` and `rows` of each request."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        for each in entry.fields.get("marked", ()):
            told = {"request": entry.fields["request"], "when": entry.fields["when"], "rows": each["rows"]}
            found.setdefault(each["model"], []).append(told)
    return found
