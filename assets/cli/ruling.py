"""Making rulings: which rows are meant, what is ruled about them, and writing it down."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock

from assets.cli.doubtful import REVIEW, content_of, rulings_of, set_aside, suspects_of
from assets.cli.exported import DROP
from assets.config.home import pipeline_folder
from assets.errors import ConfigurationError
from assets.raw import rows as raw_rows
from assets.store.links import linked
from assets.store.runner import Runner
from assets.store.tables import Ids, hexadecimal, read_tables
from assets.validated import rows as validated_rows
from assets.validated.rulings import FILE, Action, Row, Ruling, effective, faults_of, parse

UPHOLDING = frozenset({"validated", REVIEW})
"""Steps for which it counts that people readmit a row: its label is right, whatever it fails."""
SHOWN = 5
"""How many of several rows with one prefix are named."""


@dataclass(frozen=True)
class Target:
    """A row that is ruled on.

    Attributes:
        row_id: as it came.
        text: as it came.
        label: as it came.
    """

    row_id: str
    text: str | None
    label: str | None


@dataclass(frozen=True)
class Wish:
    """What somebody wants to rule.

    Attributes:
        target: the row.
        action: what to do with it.
        to: its new label, for `relabel`.
        why: the reason.
        by: who rules.
        when: when, in ISO 8601.
    """

    target: Target
    action: Action
    to: str | None
    why: str
    by: str
    when: str


@dataclass(frozen=True)
class Change:
    """A ruling that was written down.

    Attributes:
        row_id: of the row.
        ruling: what was ruled.
        before: the ruling that it takes the place of, or None.
    """

    row_id: str
    ruling: Ruling
    before: Ruling | None

    def json(self) -> dict[str, Any]:
        """As `freshtune rows NAME rule --json` prints it."""
        before = None if self.before is None else self.before.json()
        return {"row_id": self.row_id, **self.ruling.json(), "before": before}


class Rows:
    """The rows that validation saw, and those that it and later steps have set aside.

    Attributes:
        runner: the pipeline.
        doubted: row_id → the steps that set it aside or find its label wrong.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        validated = content_of(runner, "validated")
        record = runner.stands_for(runner.step("validated"))
        assert record is not None
        self._raw = runner.store.open("objects", record.ingredients["inputs"]["raw"])
        self._shards = linked(self._raw, "shards")
        self._places = np.flatnonzero(raw_rows.kept(self._raw))
        self._ids = raw_rows.shard_ids(self._shards)[self._places]
        self._rejected = pq.read_table(self._raw / "rejected.parquet", columns=["row_id"])["row_id"].to_pylist()
        upheld = validated_rows.read_upheld(validated).select(["row_id", "came_as"]).to_pylist()
        self._came_as = [(row["row_id"], row["came_as"]) for row in upheld if row["row_id"] != row["came_as"]]
        self.doubted: dict[str, set[str]] = {}
        for step, path in set_aside(runner):
            for row_id in pq.read_table(path, columns=["row_id"])["row_id"].to_pylist():
                self.doubted.setdefault(row_id, set()).add(step)
        for row in suspects_of(runner):
            self.doubted.setdefault(row["row_id"], set()).add(REVIEW)

    def find(self, prefixes: Iterable[str]) -> list[Target]:
        """Rows by the beginnings of their row_id, also of those that they have since they were relabelled.

        Raises:
            ConfigurationError: names each that means no row, several, or a line that is no row.
        """
        found: list[str] = []
        wrong: list[str] = []
        for prefix in dict.fromkeys(prefixes):
            names, fault = self._meant(prefix)
            found += names
            wrong += [fault] if fault else []
        if wrong:
            raise ConfigurationError("\n  ".join(["rows that cannot be ruled on", *wrong]), where=self.runner.name)
        return list(self.read(found).values())

    def read(self, row_ids: Sequence[str]) -> dict[str, Target]:
        """Rows by their row_id; those that are not there are left out."""
        names = pa.array(dict.fromkeys(row_ids), pa.string())
        at = pc.index_in(names, value_set=hexadecimal(self._ids))
        there = at.is_valid()
        places = self._places[at.filter(there).to_numpy()]
        table = read_tables(self._shards, "rows.feather", ["text", "label"]).take(places)
        columns = [names.filter(there), *table.columns]
        return {row[0]: Target(*row) for row in zip(*(column.to_pylist() for column in columns), strict=True)}

    def came_as(self, row_id: str) -> list[str]:
        """The row_ids that rows came with which a ruling gave the label, and so the row_id, of this one."""
        return [came for new, came in self._came_as if new == row_id]

    def _meant(self, prefix: str) -> tuple[list[str], str]:
        """Identifiers as they came, or what is wrong with a prefix."""
        if not re.fullmatch("[0-9a-f]{1,32}", prefix):
            return (
                [],
                f"{prefix!r} is no row_id; accepted: the first of its 32 digits 0-9 and a-f, as `quarantine` shows",
            )
        names = hexadecimal(self._ids[begins(self._ids, prefix)]).to_pylist()
        if len(names) == 1:
            return names, ""
        if names:
            shown = ", ".join(sorted(names)[:SHOWN]) + (", …" if len(names) > SHOWN else "")
            return [], f"{prefix!r} means {len(names):,} rows; fix: write more of it: {shown}"
        if relabelled := [came for row_id, came in self._came_as if row_id.startswith(prefix)]:
            return relabelled, ""
        if any(row_id.startswith(prefix) for row_id in self._rejected):
            return (
                [],
                f"{prefix!r} is a line that cannot be read as a row, so nobody can rule on it; fix: mend the source",
            )
        return [], f"{prefix!r} is no row that validation saw; fix: `freshtune rows {self.runner.name} quarantine`"


def begins(ids: Ids, prefix: str) -> Any:
    """For each identifier whether it begins with some hexadecimal digits, 1 to 32 of them."""
    low, high = (int(prefix.ljust(32, digit), 16) for digit in "0f")
    halves = [np.uint64(value >> shift & (2**64 - 1)) for value in (low, high) for shift in (64, 0)]
    after = (ids[:, 0] > halves[0]) | ((ids[:, 0] == halves[0]) & (ids[:, 1] >= halves[1]))
    before = (ids[:, 0] < halves[2]) | ((ids[:, 0] == halves[2]) & (ids[:, 1] <= halves[3]))
    return after & before


def rule(rows: Rows, wishes: Sequence[Wish]) -> list[Change]:
    """Rule on rows: append to the file what is not ruled so already.

    Raises:
        ConfigurationError: names every row that cannot be ruled on so; nothing is written then.
    """
    runner, labels = rows.runner, rows.runner.config.task.labels
    path = pipeline_folder(runner.name) / FILE
    lock = runner.home.path / "locks" / f"{runner.name}.rulings.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        known = rulings_of(runner)
        changes: dict[Row, Change] = {}
        wrong: list[str] = []
        for wish in wishes:
            if wish.target.text is None:
                wrong.append(
                    f"row {wish.target.row_id[:8]}: has no text, and stays in quarantine; fix: mend the source"
                )
                continue
            made: dict[str, Any] = {name: getattr(wish.target, name) for name in ("text", "label")}
            made |= {name: getattr(wish, name) for name in ("action", "to", "why", "by", "when")}
            made = {name: value for name, value in made.items() if name != "to" or value is not None}
            faults = faults_of(made, labels)
            wrong += [f"row {wish.target.row_id[:8]}: {fault}" for fault in faults]
            if faults:
                continue
            ruling = Ruling(**made)
            before = known.get(ruling.row)
            if before is not None and (before.action, before.to) == (ruling.action, ruling.to):
                continue
            wrong += [] if before else _idle(rows, wish)
            changes[ruling.row] = Change(wish.target.row_id, ruling, before)
        if wrong:
            raise ConfigurationError("\n  ".join(["nothing was ruled", *dict.fromkeys(wrong)]), where=runner.name)
        _append(path, [change.ruling for change in changes.values()], labels)
    return list(changes.values())


def _idle(rows: Rows, wish: Wish) -> list[str]:
    """What readmitting a row would not change, in words."""
    steps = rows.doubted.get(wish.target.row_id, set())
    if wish.action != "readmit" or steps & UPHOLDING:
        return []
    row = f"row {wish.target.row_id[:8]}"
    if steps:
        where = ", ".join(sorted(steps))
        return [
            f"{row}: meets every expectation; {where} set it aside for its label; fix: relabel it, or drop the others"
        ]
    return [f"{row}: is not in quarantine, so there is nothing to readmit"]


def _append(path: Path, rulings: Sequence[Ruling], labels: Sequence[str]) -> None:
    """Write rulings below those that are there; the file is the old one or the new one, never a part."""
    if not rulings:
        return
    before = path.read_bytes() if path.is_file() else b""
    lines = "".join(f"{json.dumps(ruling.json(), ensure_ascii=False)}\n" for ruling in rulings)
    after = before + (b"\n" if before and not before.endswith(b"\n") else b"") + lines.encode()
    assert effective(parse(after, path.name, labels)).items() >= {ruling.row: ruling for ruling in rulings}.items()
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(after)
    part.replace(path)


@dataclass(frozen=True)
class Imported:
    """What an export of Label Studio says.

    Attributes:
        wishes: what to rule.
        open: tasks without an annotation.
        gone: tasks about rows that are not there any more.
        agreed: tasks whose choice is what the row has already.
    """

    wishes: list[Wish]
    open: int
    gone: int
    agreed: int


def read_label_studio(path: Path, rows: Rows, *, why: str, by: str, when: str) -> Imported:
    """Read Label Studio's JSON export of tasks that `freshtune rows NAME quarantine --export` made.

    Args:
        path: of the file.
        rows: of the pipeline.
        why: the reason to note.
        by: who rules, where the export does not say.
        when: when, where the export does not say.

    Raises:
        ConfigurationError: the file is no such export; names every task that cannot be used.
    """
    choices: list[tuple[str, str, Mapping[str, Any]]] = []
    open_tasks = 0
    wrong: list[str] = []
    labels = rows.runner.config.task.labels
    for number, task in enumerate(_tasks(path), start=1):
        row_id, annotation = _latest(task)
        chosen = [choice for result in (annotation or {}).get("result", ()) for choice in _choices(result)]
        if row_id is None:
            wrong.append(f"task {number}: data.row_id is missing; fix: import tasks that --export made")
        elif annotation is None or not chosen:
            open_tasks += 1
        elif len(chosen) > 1 or chosen[0] not in (*labels, DROP):
            accepted = ", ".join([*labels, DROP])
            wrong.append(f"task {number}: {', '.join(map(repr, chosen))} is not accepted; accepted: one of {accepted}")
        else:
            choices.append((row_id, chosen[0], annotation))
    if wrong:
        raise ConfigurationError("\n  ".join(["tasks that cannot be used", *wrong]), where=str(path))
    known = rulings_of(rows.runner)
    named = {row_id: [row_id, *rows.came_as(row_id)] for row_id, _, _ in choices}
    targets = rows.read([each for names in named.values() for each in names])
    wishes: list[Wish] = []
    gone = agreed = 0
    for row_id, choice, annotation in choices:
        meant = [targets[each] for each in named[row_id] if each in targets]
        action = [(target, _action(rows, target, choice, known)) for target in meant]
        ruled = [(target, each) for target, each in action if each is not None]
        gone += not meant
        agreed += bool(meant) and not ruled
        who, stamp = _who(annotation) or by, _stamp(annotation) or when
        wishes += [Wish(target, each, choice if each == "relabel" else None, why, who, stamp) for target, each in ruled]
    return Imported(wishes, open=open_tasks, gone=gone, agreed=agreed)


def _action(rows: Rows, target: Target, choice: str, known: Mapping[Row, Ruling]) -> Action | None:
    """What a choice means for a row; None where it is as the row is."""
    if choice not in rows.runner.config.task.labels:
        return "drop"
    if choice != target.label:
        return "relabel"
    ruled = (target.text or "", target.label) in known
    return "readmit" if ruled or rows.doubted.get(target.row_id, set()) & UPHOLDING else None


def _tasks(path: Path) -> list[Any]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"cannot be read: {error.strerror}", where=str(path), fix="name another file"
        ) from error
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise ConfigurationError(
            "is no export of Label Studio in JSON", where=str(path), fix="export as JSON (not JSON-MIN, not CSV)"
        )
    return found


def _latest(task: Any) -> tuple[str | None, Mapping[str, Any] | None]:
    """The row_id of a task, and the latest of its annotations that was not cancelled."""
    data = task.get("data") if isinstance(task, dict) else None
    row_id = data.get("row_id") if isinstance(data, dict) else None
    annotations = (task.get("annotations") or []) if isinstance(task, dict) else []
    done = [each for each in annotations if isinstance(each, dict) and not each.get("was_cancelled")]
    latest = max(done, key=lambda each: (_stamp(each) or "", each.get("id") or 0), default=None)
    return (row_id if isinstance(row_id, str) else None), latest


def _choices(result: Any) -> list[Any]:
    value = result.get("value") if isinstance(result, dict) else None
    return list(value.get("choices", ())) if isinstance(value, dict) else []


def _who(annotation: Mapping[str, Any]) -> str | None:
    who = annotation.get("completed_by")
    who = who.get("email") if isinstance(who, dict) else who
    return None if who is None else who if isinstance(who, str) else f"Label Studio user {who}"


def _stamp(annotation: Mapping[str, Any]) -> str | None:
    stamp = annotation.get("updated_at") or annotation.get("created_at")
    return stamp if isinstance(stamp, str) else None
