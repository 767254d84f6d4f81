"""The plan: for each step whether it is fresh, reusable, stale or pending, and exactly why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from assets.store.ingredients import BEFORE
from assets.store.store import Record

State = Literal["fresh", "reusable", "stale", "pending"]


@dataclass(frozen=True)
class Reason:
    """One cause for a step to run.

    Attributes:
        kind: missing, damaged, code, config, environment, input, source or forced.
        what: what changed.
        old: value before, where there is one.
        new: value now, where there is one.
    """

    kind: str
    what: str
    old: Any = None
    new: Any = None

    def json(self) -> dict[str, Any]:
        """As the command line prints it: `old` and `new` only where a value changed."""
        changed = {"old": self.old, "new": self.new} if self.old is not None or self.new is not None else {}
        return {"kind": self.kind, "what": self.what, **changed}

    def __str__(self) -> str:
        if self.kind in {"config", "environment"}:
            return f"{self.kind} {self.what} {_shown(self.old)} → {_shown(self.new)}"
        return f"{self.kind} {self.what}".strip()


@dataclass(frozen=True)
class StepPlan:
    """What is to become of one step.

    Attributes:
        step: its name.
        state: fresh, reusable, stale or pending.
        reasons: why it is not fresh.
        key: key under which it stands or will stand, where it is known already.
        record: what it stands for, or will without computing.
        estimated_seconds: how long its last build took, for steps that may run.
    """

    step: str
    state: State
    reasons: tuple[Reason, ...]
    key: str | None = None
    record: Record | None = None
    estimated_seconds: float | None = None

    def json(self) -> dict[str, Any]:
        """As `freshtune plan --json` prints it."""
        fields: dict[str, Any] = {
            "step": self.step,
            "state": self.state,
            "reasons": [reason.json() for reason in self.reasons],
        }
        if self.estimated_seconds is not None:
            fields["estimated_seconds"] = round(self.estimated_seconds, 2)
        return fields


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        pipeline: the pipeline's name.
        steps: one entry for each step, in the order of the chain.
    """

    pipeline: str
    steps: tuple[StepPlan, ...]

    @property
    def to_run(self) -> tuple[str, ...]:
        """Steps that are not fresh."""
        return tuple(step.step for step in self.steps if step.state != "fresh")

    def __getitem__(self, step: str) -> StepPlan:
        return next(entry for entry in self.steps if entry.step == step)

    def json(self) -> dict[str, Any]:
        """As `freshtune plan --json` prints it."""
        return {"pipeline": self.pipeline, "steps": [step.json() for step in self.steps]}


def differences(
    old: Record, ingredients: Mapping[str, Any], files: Mapping[str, Mapping[str, list[Any]]], kinds: Mapping[str, str]
) -> tuple[Reason, ...]:
    """Why a record is not what these ingredients make.

    Args:
        old: the record that the step stands for.
        ingredients: what the step's key is made of now.
        files: files of each external input now, name → [sha256, bytes].
        kinds: reason kind of each external input.
    """
    before, now = old.ingredients, ingredients
    reasons = [
        Reason("code", piece)
        for piece in sorted(set(before["code"]) | set(now["code"]))
        if before["code"].get(piece) != now["code"].get(piece)
    ]
    for kind, part in (("config", "configuration"), ("environment", "environment")):
        was, is_ = before[part], now[part]
        reasons += [
            Reason(kind, name, was.get(name), is_.get(name))
            for name in sorted(set(was) | set(is_))
            if was.get(name) != is_.get(name)
        ]
    # That something is remembered follows from what changed outside, which is told.
    for name in sorted((set(before["inputs"]) | set(now["inputs"])) - {BEFORE}):
        if before["inputs"].get(name) != now["inputs"].get(name):
            known = name in files and name in old.files
            what = _files_changed(old.files[name], files[name]) if known else ""
            kind = kinds.get(name, "input")
            reasons.append(Reason(kind, what if kind == "source" and what else " ".join(filter(None, (name, what)))))
    if not reasons and before["inputs"].get(BEFORE) != now["inputs"].get(BEFORE):
        reasons.append(Reason("missing", "what was remembered of files that are gone"))
    return tuple(reasons)


def _files_changed(old: Mapping[str, list[Any]], new: Mapping[str, list[Any]]) -> str:
    """For people: `+1 file, 14 kB; 2 files changed; 1 file renamed; -1 file`."""
    added, gone = set(new) - set(old), set(old) - set(new)
    contents = {old[name][0] for name in gone}
    renamed = {name for name in added if new[name][0] in contents}
    added -= renamed
    gone = {name for name in gone if old[name][0] not in {new[other][0] for other in renamed}}
    changed = {name for name in set(old) & set(new) if old[name][0] != new[name][0]}
    parts = []
    if added:
        parts.append(f"+{_count(added)}, {_bytes(sum(int(new[name][1]) for name in added))}")
    if changed:
        parts.append(f"{_count(changed)} changed: {_named(changed)}")
    if renamed:
        parts.append(f"{_count(renamed)} renamed: {_named(renamed)}")
    if gone:
        parts.append(f"-{_count(gone)}: {_named(gone)}")
    return "; ".join(parts)


def _count(names: set[str]) -> str:
    return "1 file" if len(names) == 1 else f"{len(names):,} files"


def _named(names: set[str]) -> str:
    shown = sorted(names)
    return shown[0] if len(shown) == 1 else f"{shown[0]}, …"


def _bytes(size: int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size = round(size / 1000)
    return f"{size:.0f} GB"


def _shown(value: Any) -> str:
    return "unset" if value is None else str(value)
