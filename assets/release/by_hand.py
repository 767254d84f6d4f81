"""What somebody changed in MLflow by hand: told, and never overwritten unless a person says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

Change = dict[str, Any]
"""`alias` and `found`, `due`: versions or None; or `version`, which is gone, and `model`, its digest."""

ALIASES = ("challenger", "champion", "previous")


def moved(
    present: Mapping[str, int], due: Mapping[str, int | None], ours: Mapping[str, Collection[int | None]]
) -> list[Change]:
    """Aliases that do not stand where they should, and not where we left them either.

    Args:
        present: alias → version, as MLflow has it.
        due: alias → version, as the promotion log has it.
        ours: alias → versions that we may have set it to; a call that was killed did not write down what it did.
    """
    return [
        {"alias": alias, "found": present.get(alias), "due": due[alias]}
        for alias in ALIASES
        if present.get(alias) != due[alias] and present.get(alias) not in ours[alias]
    ]


def gone(known: Mapping[str, int], found: Mapping[str, int]) -> list[Change]:
    """Versions that were registered and are not there any more.

    Args:
        known: digest of a model → its version, as we left it.
        found: the same, as MLflow has it.
    """
    return [{"version": number, "model": model} for model, number in known.items() if model not in found]


def in_words(changes: Sequence[Change], pipeline: str) -> list[str]:
    """A sentence for each change, and last what to do about all of them; nothing without changes."""
    said = [_sentence(change) for change in changes]
    if said:
        said.append(
            f"`freshtune models {pipeline} restore` sets MLflow back to the promotion log; "
            f"`freshtune models {pipeline} promote VERSION` takes another version into the log"
        )
    return said


def _sentence(change: Change) -> str:
    if "alias" not in change:
        return f"version {change['version']} was deleted in MLflow by hand; it is not registered again"
    found = "was taken away" if change["found"] is None else f"was set to version {change['found']}"
    due = "none" if change["due"] is None else f"version {change['due']}"
    return f"alias {change['alias']} {found} in MLflow by hand; by the promotion log it is {due}"
