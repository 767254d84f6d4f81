"""The promotion log, which is the truth about which model is in use: pure functions over its entries.

An entry's fields are a JSON object:

- `kind`: `decision` (the gate), `promote` or `rollback` (a person);
- `key`, `release` (`content` and `trace` digests of decision, card and report): of decisions only;
- `decision`: `promoted`, `refused` or `unchanged`; of a person's entries `promoted` or `rolled_back`;
- `challenger`: digest of the model that it is about; of a rollback the one that is taken out of use;
- `champion`: digest of the model in use after the entry, or None;
- `inputs`: content digest of each input of the decision about that model, by step;
- `by`, `when` (ISO 8601 with time zone), `why`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assets.errors import ConfigurationError
from assets.store.step import LogEntry

Fields = dict[str, Any]


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
        if all(fields["inputs"]["splits"] != splits for fields in decisions(entries, model)):
            return model
    return None


def decisions(entries: Sequence[LogEntry], model: str) -> list[Mapping[str, Any]]:
    """Fields of every decision about a model, oldest first; empty if the gate never saw it."""
    return [
        entry.fields for entry in entries if entry.fields["kind"] == "decision" and entry.fields["challenger"] == model
    ]


def rolled_back(entries: Sequence[LogEntry]) -> frozenset[str]:
    """Digests of the models that were taken out of use by a rollback and not put back by a person since."""
    models: set[str] = set()
    for entry in entries:
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
    seen = decisions(entries, model)
    if not seen:
        known = list(dict.fromkeys(entry.fields["challenger"] for entry in entries))
        raise ConfigurationError(
            f"no model {model!r} in the promotion log; known: {', '.join(known) or 'none yet'}",
            where="promote",
            fix="name a model that a run has trained and evaluated" if known else "run the pipeline first",
        )
    if champion(entries) == model:
        raise ConfigurationError(f"model {model!r} is the champion already", where="promote")
    return {
        "kind": "promote",
        "decision": "promoted",
        "challenger": model,
        "champion": model,
        "inputs": dict(seen[-1]["inputs"]),
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
    return {
        "kind": "rollback",
        "decision": "rolled_back",
        "challenger": out,
        "champion": before,
        "inputs": dict(decisions(entries, out)[-1]["inputs"]),
        "by": by,
        "when": when,
        "why": why,
    }
