"""What people decide about rows: `rulings.jsonl` beside the pipeline's `defs.yaml`, one JSON object a line.

A ruling names rows by their text and label as they came, so that it holds for the same rows in another file, in another
order, and with other further columns. Of several about the same rows the last one counts.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from assets.errors import ConfigurationError, TransientError
from assets.store.digests import digest_json
from assets.store.step import Observation, ObservedFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from assets.config.pipeline import Pipeline

FILE = "rulings.jsonl"
Action = Literal["readmit", "relabel", "drop"]
ACTIONS: tuple[Action, ...] = get_args(Action)
REQUIRED = ("text", "label", "action", "why", "by", "when")
FIELDS = ("text", "label", "action", "to", "why", "by", "when")
"""In the order in which they are written."""

Row = tuple[str, str | None]
"""Text and label of a row as they came."""


@dataclass(frozen=True)
class Ruling:
    """A person's decision about the rows with one text and label.

    Attributes:
        text: of the rows, as it came.
        label: of the rows, as it came; None where they have none.
        action: `readmit`: they are accepted though they fail expectations; `relabel`: they count with another label;
            `drop`: they go to quarantine.
        why: the reason.
        by: who ruled.
        when: when, in ISO 8601.
        to: the other label, for `relabel`.
    """

    text: str
    label: str | None
    action: Action
    why: str
    by: str
    when: str
    to: str | None = None

    @property
    def row(self) -> Row:
        """The rows that it is about."""
        return self.text, self.label

    def json(self) -> dict[str, str | None]:
        """As it is written."""
        return {name: getattr(self, name) for name in FIELDS if name != "to" or self.to is not None}


class _Fields(dict[str, Any]):
    """A JSON object.

    Attributes:
        repeated: names that are there more than once.
    """

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.repeated = sorted({name for name in names if names.count(name) > 1})


def parse(data: bytes, where: str, labels: Sequence[str]) -> list[Ruling]:
    """Read rulings; blank lines are passed over.

    Args:
        data: bytes of the file.
        where: its name, for messages.
        labels: labels of the task.

    Raises:
        ConfigurationError: names everything that is wrong, one a line, with line, field, value, what is accepted, fix.
    """
    found: list[Ruling] = []
    wrong: list[str] = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        fields = _object(line)
        faults = [fields] if isinstance(fields, str) else faults_of(fields, labels)
        wrong += [f"{where}:{number}: {fault}" for fault in faults]
        if not faults:
            assert isinstance(fields, dict)
            found.append(Ruling(**fields))
    if wrong:
        count = "1 error" if len(wrong) == 1 else f"{len(wrong)} errors"
        raise ConfigurationError("\n  ".join([f"the rulings have {count}", *wrong]))
    return found


def effective(rulings: Iterable[Ruling]) -> dict[Row, Ruling]:
    """The ruling that counts for each text and label: the last one."""
    return {ruling.row: ruling for ruling in rulings}


def digest(rulings: Mapping[Row, Ruling]) -> str:
    """Digest of what changes the outcome: who ruled, when and why does not, nor the order."""
    outcomes = [[ruling.text, ruling.label, ruling.action, ruling.to] for ruling in rulings.values()]
    return digest_json(sorted(outcomes, key=lambda each: [(value is not None, value or "") for value in each]))


def observe(folder: Path, config: Pipeline) -> dict[str, Observation]:
    """Look at a pipeline's rulings.

    Args:
        folder: the pipeline's.
        config: its configuration.

    Returns:
        `{"rulings": …}`, or nothing where there is no ruling.

    Raises:
        ConfigurationError: something in the file is wrong.
    """
    path = folder / FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    name = f"pipelines/{folder.name}/{FILE}"
    rulings = effective(parse(data, name, config.task.labels))
    if not rulings:
        return {}
    file = ObservedFile(name=name, path=str(path), sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    return {"rulings": Observation(kind="input", location=name, digest=digest(rulings), files=(file,))}


def read_observed(path: Path, seen: Observation, labels: Sequence[str]) -> dict[Row, Ruling]:
    """Read the rulings that were observed.

    Args:
        path: of the file.
        seen: what was observed.
        labels: labels of the task.

    Raises:
        TransientError: the file is another one by now.
    """
    (file,) = seen.files
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise TransientError("the file changed after it was looked at", where=file.name, fix="run again")
    return effective(parse(data, file.name, labels))


def _object(line: bytes) -> _Fields | str:
    """The object of a line, or what is wrong with the line."""
    fix = 'fix: write one JSON object a line, for instance {"text": …, "label": …, "action": "drop", …}'
    try:
        value = json.loads(line.decode(), object_pairs_hook=_Fields)
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} is not UTF-8; fix: write the file in UTF-8"
    except (ValueError, RecursionError):
        return f"{_shown(line.decode().strip())} is not JSON; {fix}"
    return value if isinstance(value, _Fields) else f"{_shown(value)} is no object; {fix}"


def faults_of(fields: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """Everything that is wrong with a ruling, each with field, value, what is accepted and the fix.

    Args:
        fields: of the ruling as it is written.
        labels: labels of the task.
    """
    action = fields.get("action")
    faults = [f"{name}: is there more than once; fix: leave one of them" for name in getattr(fields, "repeated", ())]
    for name in fields:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            fix = f"did you mean {near[0]}?" if near else "remove it"
            faults.append(f"{name}: there is no such field; accepted: {', '.join(FIELDS)}; fix: {fix}")
    required = (*REQUIRED, *(("to",) if action == "relabel" else ()))
    faults += [f"{name}: is missing; fix: add it" for name in required if name not in fields]
    for name, value in fields.items():
        no_label = name == "label" and value is None
        if name in FIELDS and not no_label and (fault := _fault(name, value, labels)):
            faults.append(f"{name}: {_shown(value)} {fault}")
    if faults:
        return faults
    return _contradictions(fields, labels)


def _fault(name: str, value: Any, labels: Sequence[str]) -> str:
    """What is wrong with one value, or nothing."""
    if not isinstance(value, str):
        return f"is not accepted; accepted: a text{' or null' * (name == 'label')}; fix: write one"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "holds half a surrogate pair; accepted: whole characters; fix: write the character"
    if name == "action":
        return _not_among(value, ACTIONS, "is not accepted", "choose one")
    if name == "to":
        return _not_among(value, labels, "is no label of the task", "choose one, or add it to task.labels")
    if name == "when":
        said = "is no time; accepted: ISO 8601, for instance 2026-03-01T12:00:00+00:00; fix: write it so"
        return "" if _is_time(value) else said
    fixes = {"why": "say why", "by": "say who ruled"}
    return f"is empty; accepted: a text; fix: {fixes[name]}" if name in fixes and not value.strip() else ""


def _not_among(value: str, accepted: Sequence[str], what: str, fix: str) -> str:
    if value in accepted:
        return ""
    near = difflib.get_close_matches(value, accepted, n=1)
    return f"{what}; accepted: {', '.join(accepted)}; fix: {f'did you mean {near[0]}?' if near else fix}"


def _contradictions(fields: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """What does not fit together in a ruling whose values are each accepted."""
    action, label, to = fields["action"], fields["label"], fields.get("to")
    faults = []
    if action != "relabel" and to is not None:
        faults.append(f"to: {_shown(to)} is only for relabel, and the action is {action}; fix: leave out one of them")
    if action == "relabel" and to == label:
        faults.append(f"to: {_shown(to)} is the label that the row has; fix: name another one, or readmit the row")
    if action == "readmit" and label not in labels:
        fix = f"fix: relabel the row to one of {', '.join(labels)}"
        faults.append(f"label: {_shown(label)} is no label of the task, and a row needs one to be readmitted; {fix}")
    if action != "drop" and not fields["text"].strip():
        faults.append(f"text: {_shown(fields['text'])} says nothing, so the row can only be dropped; fix: drop it")
    return faults


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
