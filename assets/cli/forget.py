"""Forgetting rows: one request, everything that holds them removed or made again without them, and a certificate.

In an order that bears being killed anywhere: the request (keyed hashes only) is written first, and keeps every run out
until it is finished; what was found is written next; then files, databases, objects, records; and last the shards, by
which the same command finds the rows again.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assets.cleaned.normalise import normalise
from assets.cli import held
from assets.cli.certificates import write_certificate
from assets.cli.everywhere import LOCAL
from assets.cli.registered import Registered, now
from assets.cli.ruling import RULINGS_LOCK
from assets.cli.scrubbing import Words, scrub, still_in
from assets.cli.successors import Successors
from assets.cli.trace import Wanted, find_rows, names_of
from assets.cli.tracked import scrub_tracked
from assets.config.home import pipeline_folder
from assets.errors import ConfigurationError, StoreError, TransientError
from assets.release import log
from assets.release.registry import registered_name
from assets.store import forgotten, lease
from assets.store.build import by
from assets.store.digests import canonical_json
from assets.store.runner import Runner
from assets.store.step import LogEntry
from assets.store.storage import LocalStorage, delete
from assets.store.store import Kind
from assets.validated.rulings import FILE

MOST = 1_000
"""Texts of one request: each is looked for in everything."""


def forget(runner: Runner, wanted: Wanted, why: str) -> list[dict[str, Any]]:
    """Forget rows, and finish what was begun before.

    Args:
        runner: the pipeline by which they are named; they are forgotten in the whole store.
        wanted: which rows; nothing of it only finishes what was begun.
        why: the reason, kept in the request.

    Returns:
        A certificate for each request that was carried out, or that had forgotten all of the rows before.

    Raises:
        ConfigurationError: no row is meant, or too many; the secret key is lost.
        StoreError: a run is under way, or something still holds the rows.
        TransientError: a database is in use.
    """
    store = runner.store
    if workers := lease.workers(store.storage):
        raise StoreError(
            f"a run is under way ({', '.join(workers)}), and would write again what is to be forgotten",
            where=store.url,
            fix="wait until it is done, or stop it; what died elsewhere goes with `freshtune store gc --yes`",
        )
    with store.lease("forget", lambda _: None, []):
        known = forgotten.requests(store)
        begun = [request for request in known if request.certificate is None]
        key = forgotten.make_key(runner.home.path) if not known else _key(runner, known)
        given = [] if wanted.text is None else [wanted.text]
        done = [_Forgetting(runner, request, key, given).run() for request in begun]
        if not (wanted.prefixes or wanted.text is not None or wanted.file is not None):
            return done
        texts, ids = _meant(runner, wanted)
        if not texts:
            if done:
                return done
            raise ConfigurationError(
                f"no row that the store has is meant by {', '.join([*wanted.prefixes, *filter(None, [wanted.file])])}",
                where=runner.name,
                fix=f'name it by its text: freshtune rows {runner.name} rule --forget --text "the whole text"; '
                f"`freshtune rows {runner.name} forgotten` lists what is forgotten already",
            )
        if len(texts) > MOST:
            raise ConfigurationError(
                f"{len(texts):,} texts are meant; accepted: at most {MOST:,} at once",
                where=runner.name,
                fix="name some of them by row_id",
            )
        lines = held.lines_with(store, texts)
        hashes = sorted({forgotten.hash_of(text, key) for text in {*texts, *lines}})
        column = runner.config.cleaning.id
        hashed = sorted({forgotten.hash_of_id(column, each, key) for each in ids}) if column else []
        before = {each for request in known for each in request.fields["hashes"]}
        own = [request.fields for request in known if request.fields["pipeline"] == runner.name]
        kept_out = set(hashed) <= {each for fields in own for each in fields.get("ids", ())}
        if set(hashes) <= before and kept_out and not _is_back(store, texts):
            mine = [request for request in known if set(hashes) & set(request.fields["hashes"])]
            return done or [dict(request.certificate or {}) for request in mine]
        fields = {
            "hashes": hashes,
            "ids": hashed,
            "key": forgotten.called(key),
            "pipeline": runner.name,
            "by": by(),
            "when": now(),
            "why": why,
        }
        return [*done, _Forgetting(runner, forgotten.add(store, fields), key, [*texts]).run()]


def _is_back(store: Any, texts: Iterable[str]) -> bool:
    """Whether anything in the store holds a text that was forgotten before."""
    return bool(held.remaining(store, Words(tuple(text for text in texts if text), ())))


def _key(runner: Runner, known: Sequence[forgotten.Request]) -> bytes:
    return forgotten.key_called(runner.home.path, known[0].fields["key"])


def _meant(runner: Runner, wanted: Wanted) -> tuple[set[str], set[str]]:
    """Texts and ids of the rows that are meant; a text that somebody gives is meant whether or not a row has it.

    Where the pipeline says which column has an id that a row keeps when it is corrected, what the row said before and
    after is meant too.
    """
    rows: dict[str, Any] = {}
    entries = Registered.of(runner).entries
    names = names_of(runner, [entry.fields for entry in entries])
    parsed = [shard for shard in held.shards(runner.store) if held.is_labelled(shard)]
    find_rows(runner, parsed, wanted, names, rows)
    found = {row.text for row in rows.values() if row.text}
    if wanted.text is not None:
        found.add(wanted.text)
    column = runner.config.cleaning.id
    if column is None:
        return found, set()
    shards = held.shards_of(runner.store, runner.name)
    ids = held.ids_of(shards, column, rows)
    return found | held.texts_with(shards, column, ids) - {""}, ids


@dataclass
class _Forgetting:
    """One request being carried out.

    Attributes:
        runner: of a pipeline.
        request: the request.
        key: secret key of its hashes.
        given: texts that somebody named.
    """

    runner: Runner
    request: forgotten.Request
    key: bytes
    given: Sequence[str]

    def run(self) -> dict[str, Any]:
        """Remove everything, and write the certificate."""
        store, hashes = self.runner.store, frozenset(self.request.fields["hashes"])
        with store.staged():
            # Sweeps what a killed removal had moved aside.
            pass
        shards = held.look_at_shards(store, self.key, hashes)
        given = [text for text in self.given if forgotten.hash_of(text, self.key) in hashes]
        words = held.words(shards, given, self._forms([*shards.texts, *given]))
        self._sweep(words)
        found = held.look(store, shards, words)
        files = self._files(words)
        before = self._written(shards, found, files)
        models = self._log(shards, words, found)
        self._rulings(words)
        changed = self._change(files, words)
        tracked = self._tracked(words, before)
        self._references(shards, words, found)
        self._remove(shards, found)
        certificate = self._certificate(before, changed, tracked, models, words)
        if certificate["remains"]["store"]:
            raise StoreError(
                f"{', '.join(certificate['remains']['store'])} came to hold the rows meanwhile",
                where=store.url,
                fix="stop every run, and give the same command again",
            )
        write_certificate(self.runner.home.path, certificate)
        forgotten.finish(store, self.request, certificate)
        return certificate

    def _forms(self, texts: Iterable[str]) -> list[str]:
        cleaning = self.runner.config.cleaning
        return [normalise(text, unicode=cleaning.unicode, whitespace=cleaning.whitespace) for text in texts]

    def _sweep(self, words: Words) -> None:
        """Delete what killed builds left in staging; nobody builds now, whatever machine it was."""
        storage = self.runner.store.storage
        bases = {self.runner.store.cache, *([storage.root] if isinstance(storage, LocalStorage) else [])}
        for staging in (base / "staging" for base in bases):
            for name in {path.relative_to(staging).parts[0] for path in words.holding(staging)}:
                delete(staging / name)

    # Outside the store

    def _files(self, words: Words) -> list[Path]:
        """Files of freshtune on this machine that hold any of it, those of the store excepted."""
        home = self.runner.home
        roots = [home.path, home.dagster]
        if home.tracking_uri.startswith(LOCAL):
            roots.append(Path(home.tracking_uri.removeprefix(LOCAL)))
        store = Path(self.runner.store.url)
        inside = [path for root in dict.fromkeys(roots) for path in self._below(root, store)]
        return words.holding(*dict.fromkeys(inside)) if words.texts or words.row_ids else []

    def _below(self, root: Path, store: Path) -> list[Path]:
        """What is directly below a folder, but the store wherever it lies in it."""
        if root.is_file():
            return [root]
        if not root.is_dir() or root == store:
            return []
        if store.is_relative_to(root):
            return [path for each in sorted(root.iterdir()) for path in self._below(each, store)]
        return [root]

    def _change(self, files: Iterable[Path], words: Words) -> dict[str, str]:
        """Rewrite or delete files; name → what was done."""
        home = self.runner.home.path
        done: dict[str, str] = {}
        for path in files:
            if not path.exists():
                continue
            if path.is_relative_to(home / "work"):
                folder = home / "work" / path.relative_to(home / "work").parts[0]
                shutil.rmtree(folder)
                done[str(folder)] = "deleted"
            elif path.is_relative_to(home / "cache"):
                # Whole: what has lost a file would be taken for an object that is there.
                kind_prefix_digest = path.relative_to(home / "cache").parts[:3]
                LocalStorage(home / "cache").remove("/".join(kind_prefix_digest))
                done[str(path)] = "deleted"
            elif path.is_relative_to(home / "spool"):
                path.chmod(0o644)
                path.unlink()
                done[str(path)] = "deleted"
            else:
                done[str(path)] = "rewritten" if self._scrubbed(path, words) else "left: its format is not understood"
        return done

    def _tracked(self, words: Words, before: dict[str, Any]) -> list[str]:
        """Take words out of an MLflow that somebody has set up; without one, its files are those of `_files`.

        Returns:
            What holds some still. What is changed goes into `before` first.
        """
        home = self.runner.home
        if home.artifact_root is not None or not (words.texts or words.row_ids):
            return []
        names = sorted({registered_name(pipeline, each) for each, pipeline in held.logs(self.runner.store)})

        def changing(what: str) -> None:
            before["tracked"] = sorted({*before["tracked"], what})
            self._write_found(before)

        return scrub_tracked(home.tracking_uri, names, words, changing)

    @staticmethod
    def _scrubbed(path: Path, words: Words) -> bool:
        for suffix in ("-wal", "-shm", "-journal"):
            # Emptied with the database that it belongs to.
            path = path.with_name(path.name.removesuffix(suffix))
        try:
            return scrub(path, words)
        except sqlite3.OperationalError as error:
            raise TransientError(
                f"the database is in use: {error}", where=str(path), fix="stop `freshtune ui` and every run, try again"
            ) from error

    def _rulings(self, words: Words) -> None:
        """Take lines about the rows out of the rulings of every pipeline of the project."""
        from filelock import FileLock

        for folder in sorted(pipeline_folder(self.runner.name).parent.iterdir()):
            path = folder / FILE
            if not path.is_file():
                continue
            lock = self.runner.home.path / "locks" / RULINGS_LOCK.format(folder.name)
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
                rest = [line for line in lines if not self._about(line)]
                if rest != lines:
                    part = path.with_name(f"{path.name}.part")
                    part.write_text("".join(rest), encoding="utf-8")
                    part.replace(path)

    def _about(self, line: str) -> bool:
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError):
            # No ruling; whoever reads the rulings says what is wrong with it.
            return False
        return any(forgotten.matching([text], self.key, frozenset(self.request.fields["hashes"])))

    # In the store

    def _written(self, shards: held.Shards, found: held.Found, files: Sequence[Path]) -> dict[str, Any]:
        """Write down what is to be removed, and return that of an earlier attempt if there was one, with this one's."""
        told = {
            "rows": len(shards.row_ids),
            "objects": sorted({*found.objects, *shards.stays}),
            "traces": found.traces,
            "records": sorted({*found.records, *found.carriers}),
            "references": sorted(found.references),
            "files": [str(path) for path in files],
            "tracked": [],
        }
        earlier = held.found_before(self.runner.store, self.request.name) or {}
        for name, value in told.items():
            if isinstance(value, list):
                told[name] = sorted({*value, *earlier.get(name, ())})
            else:
                told[name] = max(value, earlier.get(name, 0))
        self._write_found(told)
        return told

    def _write_found(self, told: Mapping[str, Any]) -> None:
        self.runner.store.storage.replace(f"forgotten/{self.request.name}.found.json", canonical_json(told))

    def _log(self, shards: held.Shards, words: Words, found: held.Found) -> list[dict[str, Any]]:
        """Append to every promotion log that names any of it which models are marked, and what stands for it now."""
        store, fields = self.runner.store, self.request.fields
        successors = Successors(store, words, shards.stays, shards.rejected, by(), time.time())
        going: dict[Kind, set[str]] = {"objects": {*found.objects, *shards.stays}, "traces": set(found.traces)}
        gone = {
            *going["objects"],
            *going["traces"],
            *(name.split("/")[2] for name in (*found.records, *found.carriers)),
        }
        models = []
        for environment, pipeline in held.logs(store):
            while True:
                entries = store.log(environment, pipeline)
                mine = [each.fields for each in entries if each.fields.get("request") == self.request.number]
                if mine or not entries:
                    break
                named = held.named_by_logs(entry.fields for entry in entries)
                replaced = {
                    digest: new
                    for digest, kind in named.items()
                    if digest in going[kind] and (new := successors.of(kind, digest)) is not None
                }
                data = canonical_json([entry.fields for entry in entries]).decode()
                removed = sorted(digest for digest in gone if digest in data)
                marked = self._marked(entries, shards)
                if not removed and not marked:
                    break
                made = log.forget(
                    entries,
                    request=self.request.number,
                    marked=marked,
                    replaced=replaced,
                    removed=removed,
                    by=fields["by"],
                    when=fields["when"],
                    why=fields["why"],
                )
                # Somebody else appended at this moment: look at the log again.
                if store.append(environment, pipeline, LogEntry(len(entries), made)):
                    mine = [made]
                    break
            place = {"environment": environment, "pipeline": pipeline}
            models += [{**place, **each} for entry in mine for each in entry["marked"]]
        return models

    def _marked(self, entries: Sequence[LogEntry], shards: held.Shards) -> list[dict[str, Any]]:
        found, sides = [], held.sides_in(self.runner.store, shards)
        for model in dict.fromkeys(entry.fields["challenger"] for entry in entries):
            rows = held.carried(self.runner.store, model, sides)
            for splits in dict.fromkeys(each["inputs"]["splits"] for each in log.decisions(entries, model)):
                for side, count in sides(splits).items():
                    rows[side] = max(count, rows.get(side, 0))
            if rows:
                found.append({"model": model, "rows": rows})
        return found

    def _references(self, shards: held.Shards, words: Words, found: held.Found) -> None:
        """Take references away; what remembers stands for the same without the rows.

        First of all go the records of models that have rows from others that they were started from: their keys name
        splits without the rows, and would find them again. Once objects are removed nobody could tell which they are.
        """
        store = self.runner.store
        for name in found.carriers:
            store.storage.remove(name)
        remembering = {step.name for step in self.runner.chain if step.remembers}
        successors = Successors(store, words, shards.stays, shards.rejected, by(), time.time())
        for name, record in found.references.items():
            step = name.rpartition("/")[2].removesuffix(".json")
            content, trace = record.content, record.trace
            if step in remembering:
                new = successors.of("objects", content) if content in found.objects else content
                told = successors.of("traces", trace)
                # A trace that holds no word may still name the shards.
                if new is not None:
                    links = sorted(store.manifest("objects", new).get("links", ()))
                    after = replace(record, content=new, trace=told or trace, links=links)
                    _, environment, pipeline, _ = name.split("/")
                    after = store.add_record(after, after=store.record(record.key))
                    store.refer(environment, pipeline, step, after)
                    continue
            store.storage.remove(name)

    def _remove(self, shards: held.Shards, found: held.Found) -> None:
        """Remove objects and traces, records, and shards last: by them the rows are found again.

        What was fetched of them goes too: whoever made their successors has fetched it.
        """
        storage, fetched = self.runner.store.storage, LocalStorage(self.runner.store.cache)
        for kind, digests in (("objects", found.objects), ("traces", found.traces)):
            for digest in digests:
                storage.remove(f"{kind}/{digest[:2]}/{digest}")
                fetched.remove(f"{kind}/{digest[:2]}/{digest}")
        for name in found.records:
            storage.remove(name)
        for digest in sorted(shards.stays):
            storage.remove(f"objects/{digest[:2]}/{digest}")
            fetched.remove(f"objects/{digest[:2]}/{digest}")

    # The certificate

    def _certificate(
        self,
        before: Mapping[str, Any],
        changed: Mapping[str, str],
        tracked: Sequence[str],
        models: list[dict[str, Any]],
        words: Words,
    ) -> dict[str, Any]:
        fields = self.request.fields
        still = {*self._files_wholly(words), *(path for path, what in changed.items() if what.startswith("left"))}
        return {
            "request": self.request.name,
            "pipeline": fields["pipeline"],
            "store": self.runner.store.url,
            "by": fields["by"],
            "when": fields["when"],
            "finished": now(),
            "why": fields["why"],
            "key": fields["key"],
            "hashes": fields["hashes"],
            "ids": fields.get("ids", []),
            "removed": before,
            "models": models,
            "remains": {
                "store": held.remaining(self.runner.store, words),
                "files": sorted(still),
                "tracked": tracked,
                "sources": self._sources(words),
            },
        }

    def _files_wholly(self, words: Words) -> list[str]:
        others = held.longer(self.runner.store, words)
        return [str(path) for path in self._files(words) if still_in(path, words, others)]

    def _sources(self, words: Words) -> list[str]:
        """Files of the source, and of the pipelines' folders, that hold the rows: they are the user's."""
        record = self.runner.stands_for(self.runner.step("raw"))
        folder = pipeline_folder(self.runner.name)
        root = folder.parents[1]
        names = [] if record is None else [root / name for name in record.files.get("source", {})]
        return [str(path) for path in words.wholly_in(*(path for path in names if path.is_file()), folder)]
