"""A chain of six small steps with branches and a shared part, all that can be changed about it, and an oracle.

    source → words → short ──→ model → score → release (decides; scores the champion anew on today's `short`)
                   ↘ loud ──↗      (`short` is also read by `score` and `release`)
             `short` and `loud` share the part `doubled`

The oracle knows the same pure functions, but nothing of keys, digests, plans or files. It computes everything from
scratch and keeps a list of what was ever computed from what. From that it tells every event of a run, in order.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from assets.config.home import Home
from assets.config.pipeline import Pipeline
from assets.store import index as index_module
from assets.store import ingredients
from assets.store.runner import Runner
from assets.store.step import Build, FileIndex, LogEntry, Measurements, Observation, ObservedFile, Settlement, Step
from assets.store.store import Record, Store

HERE = "tests.staleness.world"
FUNCTIONS = ("words", "short", "loud", "doubled", "model", "score", "release")
ENVIRONMENTS = ("default", "staging")
LIBRARIES = {"short": "torch:minor", "loud": "pandas:major"}

Event = tuple[str, str]
"""`call`, `record`, `refer`, `append` or `settle`, and the step or part."""
Identity = tuple[str, str, str]
"""Of an object or trace: kind, step, what it says."""


class Killed(BaseException):
    """The process dies; nothing may catch it."""


# What the steps compute. A behaviour is what a change of code may alter.


def words_of(files: Mapping[str, str], behaviour: int) -> list[str]:
    return sorted({text.lower()[:: -1 if behaviour else 1] for text in files.values()})


def short_of(words: Sequence[str], epochs: int, behaviour: int) -> list[str]:
    return [word for word in words if len(word) <= epochs + behaviour]


def loud_of(words: Sequence[str], doubled: Sequence[str], salt: str, behaviour: int) -> list[str]:
    return [word.upper() + salt + "!" * behaviour for word in words] + [str(len(doubled))]


def doubled_of(words: Sequence[str], behaviour: int) -> list[str]:
    return [*words, *words] + ["more"] * behaviour


def model_of(short: Sequence[str], loud: Sequence[str], seed: int, behaviour: int) -> list[str]:
    return [*short, *loud, str(seed // 2), str(behaviour)]


def score_of(model: Sequence[str], short: Sequence[str], behaviour: int) -> int:
    return (sum(map(len, model)) + len(short) + behaviour) % 5


def decision_of(challenger: list[str], score: int, champion: list[str] | None, old: int | None, floor: int) -> Any:
    verdict = "unchanged" if champion == challenger else "promoted" if score >= max(floor, old or 0) else "refused"
    return {"decision": verdict, "score": score, "before": champion, "old": old, "floor": floor}


# The steps

behaviours: dict[str, int] = {}
watchers: list[Callable[[Event], None]] = []


def happens(event: Event) -> None:
    for watcher in watchers:
        watcher(event)


def told(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def read(folder: Path, step: str) -> Any:
    return json.loads((folder / f"{step}.json").read_text())


def write(build: Build, step: str, value: Any) -> Measurements:
    (build.content / f"{step}.json").write_text(told(value))
    return {"step": step, "size": len(told(value))}


def words(build: Build) -> Measurements:
    happens(("call", "words"))
    files = {file.name: Path(file.path).read_text() for file in build.externals["source"].files}
    return write(build, "words", words_of(files, behaviours["words"])) | {"names": sorted(files)}


def part(build: Build) -> list[str]:
    assert build.part is not None
    found: list[str] = read(
        build.part(f"{HERE}:doubled", {}, inputs={"words": build.digests["words"]}).content, "doubled"
    )
    return found


def doubled(build: Build) -> Measurements:
    happens(("call", "doubled"))
    return write(build, "doubled", doubled_of(read(build.inputs["words"], "words"), behaviours["doubled"]))


def short(build: Build, *, epochs: int) -> Measurements:
    happens(("call", "short"))
    part(build)
    return write(build, "short", short_of(read(build.inputs["words"], "words"), epochs, behaviours["short"]))


def loud(build: Build, *, salt: str) -> Measurements:
    happens(("call", "loud"))
    return write(build, "loud", loud_of(read(build.inputs["words"], "words"), part(build), salt, behaviours["loud"]))


def model(build: Build, *, seed: int) -> Measurements:
    happens(("call", "model"))
    short, loud = (read(build.inputs[step], step) for step in ("short", "loud"))
    return write(build, "model", model_of(short, loud, seed, behaviours["model"]))


def score(build: Build) -> Measurements:
    happens(("call", "score"))
    model, short = (read(build.inputs[step], step) for step in ("model", "short"))
    return write(build, "score", score_of(model, short, behaviours["score"]))


def release(build: Build, *, min_rows_per_label: int) -> Measurements:
    happens(("call", "release"))
    assert build.variant is not None
    assert build.stored is not None
    challenger = build.digests["model"]
    champion = build.log[-1].fields["champion"] if build.log else None
    old = before = None
    if champion is not None:
        before = read(build.stored(champion), "model")
    if champion not in {None, challenger}:
        old = read(build.variant("score", {"model": champion}), "score")
    now = read(build.inputs["score"], "score")
    value = decision_of(read(build.inputs["model"], "model"), now, before, old, min_rows_per_label)
    write(build, "release", value)
    decision = {"decision": value["decision"], "challenger": challenger, "comparisons": []}
    (build.content / "decision.json").write_text(told(decision))
    return {"step": "release", "entries": len(build.log)}


def settle(settlement: Settlement) -> dict[str, Any]:
    return {"entries": len(settlement.entries)}


@dataclass(frozen=True)
class State:
    """Everything that results depend on, and what should not matter.

    Attributes:
        files: words by file name.
        codes: version of each function's code; every second one behaves as the one before.
        salt: configuration of `loud`.
        epochs: configuration of `short`.
        seed: configuration of `model`; every second one gives what the one before gives.
        floor: configuration of `release`.
        torch: version, of which `short` declares the minor one.
        pandas: version, of which `loud` declares the major one.
    """

    files: Mapping[str, str] = field(default_factory=lambda: {"a": "one", "b": "three", "c": "two"})
    codes: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(FUNCTIONS, 0))
    salt: str = ""
    epochs: int = 3
    seed: int = 0
    floor: int = 1
    torch: str = "2.9.0"
    pandas: str = "3.0.0"

    def behaves(self, function: str) -> int:
        return self.codes[function] // 2

    def code(self, step: str) -> dict[str, int]:
        """Versions of the functions that a step's function reaches; a decision's code does not count."""
        reached = {"short": ["short", "doubled"], "loud": ["loud", "doubled"], "release": []}.get(step, [step])
        return {function: self.codes[function] for function in reached}


@dataclass
class Oracle:
    """What must happen in a run, told without the store.

    Attributes:
        known: from what each result was made of to its object and trace.
        whole: objects and traces that are there and undamaged.
        stands: for each environment and step, what its result was made of.
        log: for each environment, entries as (kind, made of, object, trace, challenger, champion).
        settled: for each environment, entries that the outside is in line with.
    """

    known: dict[str, tuple[Identity, Identity]] = field(default_factory=dict)
    whole: set[Identity] = field(default_factory=set)
    stands: dict[tuple[str, str], str] = field(default_factory=dict)
    log: dict[str, list[Decision]] = field(default_factory=lambda: {each: [] for each in ENVIRONMENTS})
    settled: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENVIRONMENTS, 0))

    def values(self, state: State) -> dict[str, Any]:
        """What every step gives, from scratch."""
        words = words_of(state.files, state.behaves("words"))
        doubled = doubled_of(words, state.behaves("doubled"))
        short = short_of(words, state.epochs, state.behaves("short"))
        loud = loud_of(words, doubled, state.salt, state.behaves("loud"))
        model = model_of(short, loud, state.seed, state.behaves("model"))
        score = score_of(model, short, state.behaves("score"))
        return {"words": words, "doubled": doubled, "short": short, "loud": loud, "model": model, "score": score}

    def made_of(self, state: State, values: Mapping[str, Any]) -> dict[str, str]:
        """All that a step's result may depend on."""
        parts: dict[str, list[Any]] = {
            "words": [sorted(state.files.items())],
            "doubled": [values["words"]],
            "short": [values["words"], state.epochs, state.torch.rpartition(".")[0]],
            "loud": [values["words"], state.salt, state.pandas.partition(".")[0]],
            "model": [values["short"], values["loud"], state.seed],
            "score": [values["model"], values["short"]],
            "release": [values["short"], values["model"], values["score"], state.floor],
        }
        return {step: told([step, state.code(step), *given]) for step, given in parts.items()}

    def run(self, state: State, environment: str, forced: frozenset[str]) -> Iterator[Event]:
        """Events of a run; the effect of each comes when the next one is asked for."""
        values = self.values(state)
        made = self.made_of(state, values)
        for step in ("words", "short", "loud", "model", "score"):
            standing = self.stands.get((environment, step))
            if standing == made[step] and self._is_whole(standing) and step not in forced:
                continue
            if step in forced or not self._is_whole(made[step]):
                yield from self._build(step, state, values, made)
            yield "refer", step
            self.stands[environment, step] = made[step]
        yield from self._release(state, environment, values, made["release"], forced="release" in forced)

    def _is_whole(self, made_of: str) -> bool:
        return made_of in self.known and self.whole.issuperset(self.known[made_of])

    def _build(self, step: str, state: State, values: Mapping[str, Any], made: Mapping[str, str]) -> Iterator[Event]:
        yield "call", step
        if step in {"short", "loud"} and not self._is_whole(made["doubled"]):
            yield from self._build("doubled", state, values, made)
        measured: dict[str, Any] = {"step": step, "size": len(told(values[step]))}
        if step == "words":
            measured["names"] = sorted(state.files)
        found = ("objects", step, told(values[step])), ("traces", step, told(measured))
        self.whole.update(found)
        yield "record", step
        self.known[made[step]] = found

    def _release(
        self, state: State, environment: str, values: Mapping[str, Any], made_of: str, *, forced: bool
    ) -> Iterator[Event]:
        log = self.log[environment]
        decisions = [entry for entry in log if entry.made_of is not None]
        last = decisions[-1] if decisions else None
        stands = last is not None and last.made_of == made_of and self.whole.issuperset((last.object, last.trace))
        if not stands or forced:
            yield "call", "release"
            champion, old = log[-1].champion if log else None, None
            if champion not in (None, values["model"]):
                then = {**values, "model": champion}
                then["score"] = old = score_of(champion, values["short"], state.behaves("score"))
                made = self.made_of(state, then)
                if not self._is_whole(made["score"]):
                    yield from self._build("score", state, then, made)
            value = decision_of(values["model"], values["score"], champion, old, state.floor)
            trace = {"step": "release", "entries": len(log)}
            found = ("objects", "release", told(value)), ("traces", "release", told(trace))
            self.whole.update(found)
            yield "record", "release"
            yield "append", "release"
            after = values["model"] if value["decision"] == "promoted" else champion
            log.append(Decision(made_of, *found, values["model"], after))
        elif self.settled[environment] == len(log):
            return
        yield "settle", "release"
        self.settled[environment] = len(log)


@dataclass(frozen=True)
class Decision:
    """An entry of the promotion log; a person's is made of nothing.

    Attributes:
        made_of: what the decision was made from, or None.
        object: the decision.
        trace: its trace.
        challenger: the model that it is about.
        champion: the model in use after it.
    """

    made_of: str | None
    object: Identity
    trace: Identity
    challenger: Any
    champion: Any


class World:
    """The chain in a folder, with the store's events watched.

    Attributes:
        state: what results depend on now.
        home: folder of the store and the cache.
        events: of the latest run.
        kill_at: how many events of the next run happen before the process dies, or None.
        places: where each object and trace is that was ever published.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.cache = folder, folder / "home", "cache"
        self.state = State()
        self.events: list[Event] = []
        self.kill_at: int | None = None
        self.places: dict[Identity, str] = {}
        self._clock = 1_000_000_000
        (folder / "source").mkdir(parents=True)

    def happens(self, event: Event) -> None:
        if self.kill_at is not None and len(self.events) == self.kill_at:
            raise Killed
        self.events.append(event)

    @property
    def lock(self) -> Path:
        return self.folder / "lock.txt"

    def write_down(self) -> None:
        """Make files, code and lock file what the state says, every file with a time of its own."""
        source = self.folder / "source"
        for path in source.iterdir():
            if self.state.files.get(path.name) != path.read_text():
                path.unlink()
        for name, text in self.state.files.items():
            if not (source / name).exists():
                (source / name).write_text(text)
                self.date(source / name)
        self.lock.write_text(f"torch=={self.state.torch}\npandas=={self.state.pandas}\n")
        behaviours.update({name: self.state.behaves(name) for name in FUNCTIONS})

    def date(self, path: Path) -> None:
        self._clock += 1
        os.utime(path, (self._clock, self._clock))

    def observe(self, _: Any, index: FileIndex) -> Mapping[str, Observation]:
        files = tuple(
            ObservedFile(path.name, str(path), index.sha256(path), path.stat().st_size)
            for path in sorted((self.folder / "source").iterdir())
        )
        digest = told([(file.name, file.sha256) for file in files])
        return {"source": Observation("source", "source", digest, files)}

    def runner(self, environment: str, forced: frozenset[str] = frozenset()) -> Runner:
        state = self.state
        config = {
            "task": {"labels": ["a", "b"]},
            "source": {"files": ["x"]},
            "base_model": {"name": "m"},
            "splits": {"salt": state.salt, "min_rows_per_label": state.floor},
            "training": {"epochs": state.epochs, "seed": state.seed},
        }
        home = Home(self.home, str(self.home / "store"), environment, "", None, self.home / "dagster")
        step = {"words": Step("words", "", f"{HERE}:words", externals=self.observe)}
        for name, inputs, configuration in (
            ("short", ("words",), ("training.epochs",)),
            ("loud", ("words",), ("splits.salt",)),
            ("model", ("short", "loud"), ("training.seed",)),
            ("score", ("model", "short"), ()),
            ("release", ("short", "model", "score"), ("splits.min_rows_per_label",)),
        ):
            environs = (LIBRARIES[name],) if name in LIBRARIES else ()
            step[name] = Step(name, "", f"{HERE}:{name}", inputs, configuration=configuration, environment=environs)
        step["release"] = replace(step["release"], decides=True, settle=f"{HERE}:settle")
        return Runner(
            store=Store(home.store, self.home / self.cache),
            chain=tuple(step.values()),
            name="small",
            config=Pipeline.model_validate(config),
            home=home,
            forced=forced,
        )

    def run(self, environment: str, forced: frozenset[str] = frozenset(), kill_at: int | None = None) -> None:
        """Run as both faces do; it may be killed on the way."""
        self.write_down()
        self.events, self.kill_at = [], kill_at
        runner = self.runner(environment, forced)
        try:
            for step in runner.plan().to_run:
                runner.run_step(step)
        except Killed:
            pass
        finally:
            self.kill_at = None

    def results(self, environment: str) -> dict[str, Any]:
        """What every step stands for now, read from the store."""
        runner = self.runner(environment)
        found = {}
        for step in runner.chain:
            record = runner.stands_for(step)
            assert record is not None
            found[step.name] = read(runner.store.open("objects", record.content), step.name)
        return found

    def promote(self, environment: str, model: Any) -> None:
        """A person puts a model in use."""
        runner = self.runner(environment)
        digest = self.places["objects", "model", told(model)].rpartition("/")[2]
        number = len(runner.store.log(environment, "small"))
        fields = {"kind": "promote", "decision": "promoted", "challenger": digest, "champion": digest}
        assert Store.append(runner.store, environment, "small", LogEntry(number, fields))
        runner.settle()

    def damage(self, what: Identity, how: str) -> None:
        """Remove an object or trace, or spoil one of its files."""
        folder = self.home / "store" / self.places[what]
        if how == "remove":
            shutil.rmtree(folder)
            return
        path = min(folder.iterdir()) if how != "manifest" else folder / "manifest.json"
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data[:-1] if how != "flip" else bytes([data[0] ^ 1]) + data[1:])
        self.date(path)

    def pieces(self, roots: Sequence[str]) -> dict[str, str]:
        """Stands for `assets.store.code.code_pieces`."""
        (root,) = roots
        return {name: str(version) for name, version in self.state.code(root.rpartition(":")[2]).items()}

    def move(self) -> None:
        """Move the store and all that is with it."""
        self._clock += 1
        self.home = self.home.rename(self.folder / f"home-{self._clock}") if self.home.exists() else self.home

    def published(self, store: Store, record: Record) -> None:
        """Remember where an object and its trace are."""
        for kind, digest in (("objects", record.content), ("traces", record.trace)):
            place = f"{kind}/{digest[:2]}/{digest}"
            step = record.ingredients["step"].rpartition(":")[2]
            name = f"{step}.json" if kind == "objects" else "measurements.json"
            said = told(json.loads((Path(store.url) / place / name).read_text()))
            self.places[kind, step, said] = place

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the store's events, and let nothing but the state decide about keys."""
        world = self
        add_record, refer, append, settled = Store.add_record, Store.refer, Store.append, Store.settle

        def add_record_(store: Store, record: Record, **more: Any) -> Record:
            world.published(store, record)
            world.happens(("record", record.ingredients["step"].rpartition(":")[2]))
            return add_record(store, record, **more)

        def refer_(store: Store, environment: str, pipeline: str, step: str, record: Record) -> None:
            world.happens(("refer", step))
            refer(store, environment, pipeline, step, record)

        def append_(store: Store, *given: Any) -> bool:
            world.happens(("append", "release"))
            return append(store, *given)

        def settle_(store: Store, *given: Any) -> None:
            world.happens(("settle", "release"))
            settled(store, *given)

        with pytest.MonkeyPatch.context() as patched:
            for name, function in (
                ("add_record", add_record_),
                ("refer", refer_),
                ("append", append_),
                ("settle", settle_),
            ):
                patched.setattr(Store, name, function)
            patched.setattr(sys.modules[__name__], "watchers", [self.happens])
            patched.setattr(ingredients, "code_pieces", self.pieces)
            patched.setenv(ingredients.LOCK, str(self.lock))
            # Every digest is remembered at once, which is safe here: no two files ever have the same time.
            patched.setattr(index_module, "RACY_SECONDS", -float("inf"))
            patched.setattr(os, "fsync", lambda descriptor: None)
            yield
