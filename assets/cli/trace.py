"""From rows to the models: what became of them in every model that the gate decided about.

Nothing but the store and the promotion log is read, shard by shard, so that no model and not all rows are in memory.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.cleaned.normalise import normalised
from assets.cli.doubtful import QUARANTINE
from assets.cli.registered import Registered
from assets.cli.ruling import begins
from assets.errors import ConfigurationError, DamagedError
from assets.raw.rows import GONE, files_of
from assets.release import log
from assets.splits.rows import OVERLAY
from assets.splits.sides import SIDES
from assets.store.links import linked, read_links
from assets.store.runner import Runner
from assets.store.step import LogEntry
from assets.store.tables import Ids, among, as_ids, from_hexadecimal, hexadecimal, read_tables
from assets.validated.rows import read_upheld

MERGED, LEFT_OUT, ABSENT, UNKNOWN = "merged", "left out", "absent", "unknown"
READ = ("raw", "validated", "cleaned", "review", "splits")
"""Steps whose results say what became of a row, as far as the pipeline has them."""


@dataclass(frozen=True)
class Wanted:
    """Which rows are asked for: those that any of this means.

    Attributes:
        prefixes: first digits of row_ids.
        text: whole text of rows, compared in the normal form of `cleaning`; or None.
        file: name of a file of the source as a run wrote it down, or sha256 of its bytes; or None.
    """

    prefixes: Sequence[str]
    text: str | None
    file: str | None


@dataclass(frozen=True)
class Fate:
    """What became of a row in a model.

    Attributes:
        version: number in the registry, or None while it has none.
        model: content digest.
        alias: `champion`, `challenger` or None.
        decision: of the gate, or `adopted`.
        when: of the decision.
        splits: content digest of the splits that the model was made from; None of one that was adopted.
        outcome: `train`, `validation`, `test`, `quarantine`, `merged` (another row of equal text stands for it),
            `left out` (accepted, but on no side), `absent` (was not there) or `unknown`.
        side: where the row counts, itself or by the one that it was merged into; or None.
        row: row_id that it counts under, if another: merged, or relabelled.
        detail: why it is in quarantine, or why nothing is known; else "".
    """

    version: int | None
    model: str
    alias: str | None
    decision: str
    when: str
    splits: str | None
    outcome: str
    side: str | None
    row: str | None
    detail: str

    def said(self) -> str:
        """On one line, for a table."""
        told = f"{self.outcome} into {(self.row or '')[:8]}" if self.outcome == MERGED else self.outcome
        if self.outcome == MERGED:
            told += f": {self.side or 'on no side'}"
        elif self.row is not None:
            told += f", relabelled as {self.row[:8]}"
        if self.outcome == UNKNOWN:
            return f"{told}: {self.detail}"
        return f"{told} ({self.detail})" if self.detail else told


@dataclass(frozen=True)
class Traced:
    """A row and what became of it.

    Attributes:
        row_id: 32 hexadecimal digits.
        text: as it came; of a line that is no row the line.
        label: as it came, or None.
        places: file and line of each place where it was read.
        models: what became of it, oldest decision first.
    """

    row_id: str
    text: str | None
    label: str | None
    places: tuple[tuple[str, int], ...]
    models: tuple[Fate, ...]

    def json(self) -> dict[str, Any]:
        """As it is printed."""
        return {**asdict(self), "places": [{"file": file, "line": line} for file, line in self.places]}


@dataclass
class _Row:
    text: str | None
    label: str | None
    places: set[tuple[str, int]]


def trace(runner: Runner, wanted: Wanted) -> list[Traced]:
    """Find rows in what every model was made from, and in what `raw` stands for now.

    Args:
        runner: the pipeline.
        wanted: which rows.

    Returns:
        The rows, in the order of row_id.

    Raises:
        ConfigurationError: a prefix is no beginning of a row_id, or no row is meant.
        DamagedError: what `raw` stands for now cannot be read.
    """
    _refuse_wrong(runner.name, wanted.prefixes)
    registered = Registered.of(runner)
    made = [(model, fields) for model in registered.models for fields in _made_from(registered.entries, model)]
    rows = _rows(runner, wanted, [fields for _, fields in made])
    row_ids = sorted(rows)
    fates: defaultdict[str, list[Fate]] = defaultdict(list)
    known: dict[str, Mapping[str, tuple[str, str | None, str | None, str]]] = {}
    for model, fields in made:
        steps = {step: fields["inputs"][step] for step in READ if step in fields["inputs"]}
        which = _which(fields)
        if which not in known:
            known[which] = (
                dict.fromkeys(row_ids, (UNKNOWN, None, None, "adopted, training rows not known"))
                if fields["kind"] == "adopt"
                else _outcomes(runner, steps, row_ids)
            )
        for row_id, outcome in known[which].items():
            version, alias = registered.version(model), registered.alias(model)
            about = (version, model, alias, fields["decision"], fields["when"], steps.get("splits"))
            fates[row_id].append(Fate(*about, *outcome))
    return [
        Traced(row_id, row.text, row.label, tuple(sorted(row.places)), tuple(fates[row_id]))
        for row_id, row in ((row_id, rows[row_id]) for row_id in row_ids)
    ]


def _made_from(entries: Sequence[LogEntry], model: str) -> list[Mapping[str, Any]]:
    """Fields of what says what a model was made from: its adoption, or each decision that says another thing."""
    fields = log.told(entries, model)
    if fields is not None and fields["kind"] == "adopt":
        return [fields]
    return list({_which(each): each for each in log.decisions(entries, model)}.values())


def _which(fields: Mapping[str, Any]) -> str:
    """What a decision's model was made from, as far as it tells what became of rows."""
    return json.dumps([fields["inputs"].get(step) for step in READ])


def _refuse_wrong(name: str, prefixes: Sequence[str]) -> None:
    for prefix in prefixes:
        if not re.fullmatch("[0-9a-f]{1,32}", prefix):
            raise ConfigurationError(
                f"{prefix!r} is no row_id; accepted: the first of its 32 digits 0-9 and a-f",
                where=name,
                fix=f'freshtune rows {name} trace --text "the text"',
            )


def _rows(runner: Runner, wanted: Wanted, decided: Sequence[Mapping[str, Any]]) -> dict[str, _Row]:
    """The rows that are meant, of the source as it was last read and as it was for each decision."""
    rows: dict[str, _Row] = {}
    names = names_of(runner, decided)
    lost = 0
    standing = runner.stands_for(runner.step("raw"))
    if standing is not None:
        shards = _shards_now(runner, standing.content, standing.trace)
        find_rows(runner, shards, wanted, names, rows)
    for content in dict.fromkeys(fields["inputs"].get("raw") for fields in decided):
        if content is not None and (standing is None or content != standing.content):
            try:
                find_rows(runner, _shards(runner.store.open("objects", content)), wanted, names, rows)
            except DamagedError:
                lost += 1
    if not rows:
        more = f"; the rows of {lost:,} earlier states of the source are lost" if lost else ""
        raise ConfigurationError(
            f"no row of any model or of the source as it was last read is meant{more}",
            where=runner.name,
            fix="name it by the first digits of its row_id, by its whole text with --text, or by its file with --file",
        )
    return rows


def names_of(runner: Runner, decided: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """sha256 → names that files of the source had, as records of `raw` have them."""
    keys = {key for fields in decided for step, key in fields.get("keys", ()) if step == "raw"}
    records = [runner.stands_for(runner.step("raw")), *(runner.store.record(key) for key in sorted(keys))]
    names: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        for name, (sha256, _) in ({} if record is None else record.files.get("source", {})).items():
            names[sha256].add(name)
    return {sha256: sorted(each) for sha256, each in names.items()}


def _shards(raw: Path) -> list[Path]:
    """Shards with rows; of rows that are gone only texts count, and what they were is in earlier states."""
    links = read_links(raw)
    return [shard for shard in linked(raw, "shards") if shard.name not in links.get(GONE, [])] if links else []


def _shards_now(runner: Runner, content: str, trace: str) -> list[Path]:
    """Shards of the standing content, and those that its trace is about: other files may hold the same rows."""
    raw, told = runner.store.open("objects", content), runner.store.open("traces", trace)
    digests = json.loads((told / "sources.json").read_bytes())["shards"]
    further = [runner.store.open("objects", digest, reading=False) for digest in digests]
    return list(dict.fromkeys([*_shards(raw), *further]))


def find_rows(
    runner: Runner, shards: Iterable[Path], wanted: Wanted, names: Mapping[str, list[str]], rows: dict[str, _Row]
) -> None:
    """Add the rows of some shards that are meant."""
    cleaning = runner.config.cleaning
    form: dict[str, Any] = {"unicode": cleaning.unicode, "whitespace": cleaning.whitespace}
    due = None if wanted.text is None else normalised(pa.array([wanted.text]), **form)[0]
    for shard in shards:
        ids, rejected = (
            as_ids(read_tables([shard], f"{table}.feather", ["row_id"])["row_id"]) for table in ("ids", "rejected")
        )
        both = np.concatenate([ids, rejected])
        files = files_of(shard)
        at = read_tables([shard], "places.feather")
        row, file, line = (at[name].to_numpy() for name in ("row", "file", "line"))
        row = np.where(row >= 0, row, len(ids) - 1 - row)
        meant = np.zeros(len(both), bool)
        for prefix in wanted.prefixes:
            meant |= begins(both, prefix)
        if due is not None:
            texts = read_tables([shard], "rows.feather", ["text"])["text"].combine_chunks()
            there = np.flatnonzero(texts.is_valid().to_numpy(zero_copy_only=False))
            same = pc.equal(normalised(texts.take(there), **form), due).to_numpy(zero_copy_only=False)
            meant[there[same]] = True
            lines = read_tables([shard], "rejected.feather", ["line_text"])["line_text"]
            meant[len(ids) :] |= pc.equal(lines, wanted.text).fill_null(False).to_numpy()
        if wanted.file is not None:
            of = [n for n, (sha256, _) in enumerate(files) if wanted.file in (sha256, *names.get(sha256, ()))]
            meant[row[np.isin(file, of)]] = True
        if not meant.any():
            continue
        for (row_id, text, label), index in zip(
            _read(shard, both, meant, len(ids)), np.flatnonzero(meant).tolist(), strict=True
        ):
            found = rows.setdefault(row_id, _Row(text, label, set()))
            for which in np.flatnonzero(row == index).tolist():
                sha256 = files[file[which]][0]
                for name in names.get(sha256, [f"sha256:{sha256[:12]}"]):
                    found.places.add((name, int(line[which])))


def _read(
    shard: Path, ids: Ids, meant: npt.NDArray[np.bool_], good: int
) -> Iterator[tuple[str, str | None, str | None]]:
    """Identifier, text and label of the rows and rejected lines that are meant."""
    row_ids = hexadecimal(ids[meant]).to_pylist()
    rows = read_tables([shard], "rows.feather", ["text", "label"]).take(np.flatnonzero(meant[:good]))
    lines = read_tables([shard], "rejected.feather", ["line_text"]).take(np.flatnonzero(meant[good:]))
    texts = [*rows["text"].to_pylist(), *lines["line_text"].to_pylist()]
    labels = [*rows["label"].to_pylist(), *[None] * len(lines)]
    return zip(row_ids, texts, labels, strict=True)


def _outcomes(
    runner: Runner, steps: Mapping[str, str], row_ids: Sequence[str]
) -> dict[str, tuple[str, str | None, str | None, str]]:
    """Outcome, side, row and detail of each row, as in `Fate`."""
    try:
        opened = {step: runner.store.open("objects", digest) for step, digest in steps.items()}
        return _became(opened, row_ids)
    except DamagedError as error:
        return dict.fromkeys(row_ids, (UNKNOWN, None, None, error.what))


def _became(opened: Mapping[str, Path], row_ids: Sequence[str]) -> dict[str, tuple[str, str | None, str | None, str]]:
    missing = [step for step in ("raw", "validated", "cleaned", "splits") if step not in opened]
    if missing:
        detail = f"the promotion log does not say which {', '.join(missing)} the model was made from"
        return dict.fromkeys(row_ids, (UNKNOWN, None, None, detail))
    upheld = read_upheld(opened["validated"])
    now: dict[str, str] = dict(zip(upheld["came_as"].to_pylist(), upheld["row_id"].to_pylist(), strict=True))
    merged = pq.read_table(opened["cleaned"] / "merged.parquet", columns=["row_id", "kept"])
    into: dict[str, str] = dict(zip(merged["row_id"].to_pylist(), merged["kept"].to_pylist(), strict=True))
    reasons: dict[str, str] = {}
    for step in ("validated", "cleaned", "review"):
        if step in opened and (opened[step] / QUARANTINE).is_file():
            table = pq.read_table(opened[step] / QUARANTINE, columns=["row_id", "expectation", "detail"])
            table = table.filter(pc.is_in(table["row_id"], pa.array([*row_ids, *now.values()], pa.string())))
            for row in table.to_pylist():
                reasons.setdefault(row["row_id"], f"{step}: {row['expectation']}: {row['detail']}")
    counts: dict[str, str] = {each: into.get(now.get(each, each), now.get(each, each)) for each in row_ids}
    sides = _sides(opened["splits"], {*counts.values()})
    there = _there(opened["raw"], row_ids)
    found: dict[str, tuple[str, str | None, str | None, str]] = {}
    for each, row in counts.items():
        side, other = sides.get(row), row if row != each else None
        reason = reasons.get(each) or reasons.get(now.get(each, each))
        if each not in there:
            found[each] = (ABSENT, None, None, "")
        elif reason is not None:
            found[each] = ("quarantine", None, other, reason)
        elif now.get(each, each) in into:
            found[each] = (MERGED, side, other, "")
        else:
            found[each] = (side or LEFT_OUT, side, other, "")
    return found


def _sides(splits: Path, row_ids: set[str]) -> dict[str, str]:
    """Sides of those of some rows that have one."""
    some = from_hexadecimal(sorted(row_ids))
    side = read_tables([splits], OVERLAY, ["side"])["side"].to_numpy()
    found: dict[str, str] = {}
    start = 0
    for shard in linked(splits, "shards"):
        ids = as_ids(read_tables([shard], "ids.feather", ["row_id"])["row_id"])
        own = side[start : start + len(ids)]
        at = np.flatnonzero(among(ids, some) & (own >= 0))
        found |= {name: SIDES[which] for name, which in zip(hexadecimal(ids[at]).to_pylist(), own[at], strict=True)}
        start += len(ids)
    return found


def _there(raw: Path, row_ids: Sequence[str]) -> set[str]:
    """Those of some rows and rejected lines that a state of the source had."""
    some = from_hexadecimal(row_ids)
    found: set[str] = set()
    for shard in _shards(raw):
        for table in ("ids", "rejected"):
            ids = as_ids(read_tables([shard], f"{table}.feather", ["row_id"])["row_id"])
            found.update(hexadecimal(ids[among(ids, some)]).to_pylist())
    return found
