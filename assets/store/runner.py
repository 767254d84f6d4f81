"""Plans and runs the steps of one pipeline: both faces, Dagster's and the command line's, go through here."""

from __future__ import annotations

import dataclasses
import gc
import json
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from assets.config.home import Home, pipeline_folder
from assets.config.pipeline import Pipeline
from assets.config.settings import with_settings
from assets.errors import BlockedError, ConfigurationError, StoreError, explained
from assets.progress import Progress, Sink, discard
from assets.store import deciding, forgotten
from assets.store.build import Action, by, get_or_build
from assets.store.digests import digest_json
from assets.store.ingredients import BEFORE, Made, Making, arguments_of, code_version, made_of, roots
from assets.store.parts import Parts
from assets.store.plan import Plan, Reason, StepPlan, differences
from assets.store.program import Launcher, run_program, start_program
from assets.store.step import (
    SETTINGS,
    Beginning,
    Build,
    Measurements,
    Observation,
    Outcome,
    Step,
    load,
)
from assets.store.store import Record, Store
from assets.store.trying import Trying


@dataclass(frozen=True)
class StepResult:
    """What became of one step in a run.

    Attributes:
        step: its name.
        action: `built`; `reused` (found in the store, the reference was moved); `fresh` (stood already).
        reasons: why it was not fresh.
        seconds: how long this took now.
        record: what it stands for.
        measurements: what its function measured when it was built.
        outcomes: its checks, evaluated now.
    """

    step: str
    action: Action
    reasons: tuple[Reason, ...]
    seconds: float
    record: Record
    measurements: Measurements
    outcomes: Mapping[str, Outcome]

    def json(self) -> dict[str, Any]:
        """As `freshtune run --json` prints it."""
        return {
            "step": self.step,
            "action": self.action,
            "seconds": round(self.seconds, 3),
            "key": self.record.key,
            "digest": self.record.content,
        }


@dataclass
class Runner:
    """One pipeline in one environment, over one store.

    Attributes:
        store: where results are kept.
        chain: the steps, in an order in which each comes after its inputs.
        name: the pipeline's name.
        config: the pipeline's configuration.
        home: settings of this machine.
        sample: only so many rows, in an environment of its own, or None for all.
        forced: steps to build even if they are fresh.
        sink: takes progress events.
        launcher: starts the program of a step that has one.
        run: what the run is called in which steps are run, for the promotion log, or None.
    """

    store: Store
    chain: Sequence[Step]
    name: str
    config: Pipeline
    home: Home
    sample: int | None = None
    forced: frozenset[str] = frozenset()
    sink: Sink = discard
    launcher: Launcher = start_program
    run: str | None = None
    _observed: dict[str, Mapping[str, Observation]] = field(default_factory=dict)
    _making: Making = field(default_factory=Making)

    def __post_init__(self) -> None:
        names = [step.name for step in self.chain]
        for unknown in sorted(self.forced - set(names)):
            raise ConfigurationError(f"no step {unknown!r}", where=self.name, fix=f"steps are {', '.join(names)}")

    @property
    def environment(self) -> str:
        """Whose references and promotion log are used; a sample never touches those of the whole."""
        return self.home.environment if self.sample is None else f"{self.home.environment}-sample-{self.sample}"

    def step(self, name: str) -> Step:
        """A step by name."""
        return next(step for step in self.chain if step.name == name)

    def observe(self, step: Step) -> Mapping[str, Observation]:
        """What a step reads from outside the store, looked at once for each runner."""
        if step.name not in self._observed:
            outside = {} if step.externals is None else step.externals(self.config, self.store.index)
            beside = {} if step.beside is None else step.beside(pipeline_folder(self.name), self.config)
            gone = forgotten.observe(self.store, self.home.path, self.name) if step.forgets else {}
            self._observed[step.name] = {**outside, **beside, **gone}
        return self._observed[step.name]

    def code_version(self, step: Step) -> str:
        """Digest of a step's code, configuration and environment, for Dagster."""
        return code_version(step, self.config, self.sample)

    def made(self, step: Step, inputs: Mapping[str, str]) -> Made:
        """What a step would be made of now, given the content digests of its inputs by name."""
        observed = {**self.observe(step), **self._promoted(step, inputs)}
        inputs, config = self._tuned(step, inputs)
        make = partial(made_of, step, config, self.sample, inputs, observed)
        standing = self.stands_for(step) if step.remembers else None
        if standing is None:
            return make()
        had = standing.ingredients["inputs"].get(BEFORE)
        made = make(had)
        if had is None and _contents(standing.files) <= _contents(made.files):
            return made
        # Who builds it anew reads what it was made from, which nothing keeps in the store for that.
        lost = had is not None and step.name in self.forced and self.store.fault("objects", had) is not None
        if made.key == standing.key and not lost and (had is None or self.store.whole(standing)):
            return made
        # If that is lost, so is what was remembered: the rows that there are still make a result.
        return make(standing.content if self.store.whole(standing) else None)

    def _tuned(self, step: Step, inputs: Mapping[str, str]) -> tuple[Mapping[str, str], Pipeline]:
        """The inputs of a step that are in its key as such, and the configuration with what others found for it."""
        tuners = self._tuners(step)
        settings: dict[str, Any] = {}
        for name in tuners:
            # While it is not known what will be found, what was found last tells what else has changed.
            stood = None if inputs[name] else self.stands_for(self.step(name))
            digest = inputs[name] or (stood.content if stood is not None and self.store.whole(stood) else "")
            settings |= self._found(digest) if digest else {}
        plain = {name: digest for name, digest in inputs.items() if name not in tuners}
        return plain, with_settings(self.config, settings)

    def _tuners(self, step: Step) -> set[str]:
        return {each.name for each in self.chain if each.tunes == step.name and each.name in step.inputs}

    def _found(self, digest: str) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads((self.store.open("objects", digest) / SETTINGS).read_bytes())
        return settings

    def is_made_from(self, step: Step, record: Record, name: str, content: str) -> bool:
        """Whether a result of a step was made from this content of an input."""
        if name not in self._tuners(step):
            return bool(record.ingredients["inputs"].get(name) == content)
        # Of what tunes a step only the settings that it found are in the key.
        had = record.ingredients["configuration"]
        return all(had.get(path) == value for path, value in self._found(content).items())

    def _promoted(self, step: Step, inputs: Mapping[str, str]) -> dict[str, Observation]:
        """What a step reads of what the promotion log names: looked at each time, for a run appends to the log."""
        if step.promoted is None:
            return {}
        stood = self.measured(self.stands_for(step))
        named = step.promoted(self.store.log(self.environment, self.name), inputs, stood)
        return {name: self._observed_objects(digests) for name, digests in named.items()}

    def measured(self, record: Record | None) -> Measurements | None:
        """What was measured for a record; None if there is none, or that is lost."""
        if record is None or self.store.fault("traces", record.trace) is not None:
            return None
        return self.store.measurements(record.trace)

    def _recorded(self, step: Step, made: Made, build: Build) -> Mapping[str, Observation]:
        """What a step chooses to read that its key has nothing of."""
        if step.recorded is None:
            return {}
        beginning = Beginning(
            inputs=build.inputs,
            externals=build.externals,
            entries=self.store.log(self.environment, self.name),
            stored=partial(self.store.open, "objects"),
            record=self.store.record,
            before=self.measured(self.store.record(made.key)),
            work=build.work,
        )
        return load(step.recorded)(beginning, **made.arguments)  # type: ignore[no-any-return]

    def _observed_objects(self, digests: Sequence[str]) -> Observation:
        # What is lost is part of the digest: a result that says so must not stand once the store has it again.
        lost = tuple(digest for digest in digests if self.store.fault("objects", digest) is not None)
        objects = tuple(digest for digest in digests if digest not in lost)
        return Observation("input", "promotion log", digest_json([objects, lost]), objects=objects, lost=lost)

    def arguments(self, step: Step) -> dict[str, Any]:
        """What a step's function is given of the configuration, by name."""
        return {name: value for name, (_, value) in arguments_of(step, self.config, self.sample).items()}

    # The plan

    def plan(self, to: str | None = None) -> Plan:
        """What a run would do, without computing anything.

        Args:
            to: last step that is wanted, or None for the whole chain.

        Raises:
            ConfigurationError: if there is no such step, or what the configuration names is not there.
        """
        known: dict[str, str] = {}
        steps: dict[str, StepPlan] = {}
        for step in self.closure(to):
            entry = self._plan_step(step, known)
            steps[step.name] = entry
            if entry.record is not None and entry.state in {"fresh", "reusable"}:
                known[step.name] = entry.record.content
        self.store.index.save()
        return Plan(self.name, tuple(steps.values()))

    def plan_alone(self, name: str) -> Plan:
        """What a run of one step without inputs would do, whatever becomes of the steps that it comes after."""
        step = self.step(name)
        assert step.alone
        plan = Plan(self.name, (self._plan_step(dataclasses.replace(step, after=()), {}),))
        self.store.index.save()
        return plan

    def closure(self, to: str | None) -> list[Step]:
        """The steps up to one, and only those that it needs, in the order of the chain."""
        if to is None:
            return list(self.chain)
        names = [step.name for step in self.chain]
        if to not in names:
            raise ConfigurationError(f"no step {to!r}", where=self.name, fix=f"steps are {', '.join(names)}")
        wanted = {to}
        for step in reversed(self.chain):
            if step.name in wanted:
                wanted |= {*step.inputs, *step.after}
        return [step for step in self.chain if step.name in wanted]

    def _plan_step(self, step: Step, known: Mapping[str, str]) -> StepPlan:
        standing = self.stands_for(step)
        seconds = standing.seconds if standing else None
        unknown = [name for name in (*step.inputs, *step.after) if name not in known]
        inputs = {name: known.get(name, "") for name in step.inputs}
        made = self.made(step, inputs)
        waiting = tuple(Reason("input", name) for name in unknown)
        if unknown:
            own = () if standing is None else self._reasons(step, standing, made)
            own = tuple(reason for reason in own if not (reason.kind == "input" and reason.what in step.inputs))
            forced = (Reason("forced", ""),) if step.name in self.forced else ()
            state: Literal["stale", "pending"] = "stale" if own or forced else "pending"
            return StepPlan(step.name, state, (*forced, *own, *waiting), estimated_seconds=seconds)
        reasons = self._unfresh(step, standing, made)
        if not reasons:
            return StepPlan(step.name, "fresh", (), made.key, standing)
        found = None if step.decides or step.name in self.forced else self.store.record(made.key)
        if self.store.whole(found):
            return StepPlan(step.name, "reusable", reasons, made.key, found)
        return StepPlan(step.name, "stale", reasons, made.key, estimated_seconds=seconds)

    def _reasons(self, step: Step, standing: Record, made: Made) -> tuple[Reason, ...]:
        kinds = {name: seen.kind for name, seen in made.externals.items()}
        return differences(standing, made.ingredients, made.files, kinds)

    def _unfresh(self, step: Step, standing: Record | None, made: Made) -> tuple[Reason, ...]:
        """Why what a step stands for is not what it should stand for; nothing if it is fresh."""
        if step.name in self.forced:
            return (Reason("forced", ""),)
        if standing is None:
            return (Reason("missing", step.name),)
        if standing.key != made.key:
            return self._reasons(step, standing, made)
        fault = self.store.fault("objects", standing.content) or self.store.fault("traces", standing.trace)
        if fault is not None:
            return (Reason("damaged", f"{step.name}: {fault}"),)
        if step.decides:
            return deciding.unsettled(self)
        return ()

    def accept(self, names: Collection[str], why: str) -> list[Reason]:
        """Let stale steps stand for what they stand for already, where only code or libraries changed.

        For a refactoring or an upgrade that changes no result: nothing is computed, and the record says who accepted
        it, when and why.

        Args:
            names: steps; later ones often become fresh by themselves when an earlier one is accepted.
            why: the reason, kept in the record.

        Returns:
            What was accepted.

        Raises:
            ConfigurationError: if a step is not stale, or stale for another reason, or has nothing to stand for.
        """
        accepted: list[Reason] = []
        for step in self.chain:
            if step.name in names:
                accepted += self._accept(step, self.plan(step.name)[step.name], why)
        return accepted

    def _accept(self, step: Step, planned: StepPlan, why: str) -> tuple[Reason, ...]:
        standing = self.stands_for(step)
        other = [str(reason) for reason in planned.reasons if reason.kind not in {"code", "environment"}]
        if planned.state == "fresh" or other or step.decides or not self.store.whole(standing):
            because = "; ".join(other) or (
                "it is fresh" if planned.state == "fresh" else "its result is not in the store"
            )
            raise ConfigurationError(
                f"step {step.name} cannot be accepted: {because}",
                where=self.name,
                fix="accept only what changed code or libraries alone made stale, earlier steps first; run the others",
            )
        assert standing is not None
        made = self.made(step, {name: self._input(step, name) for name in step.inputs})
        record = dataclasses.replace(
            standing,
            key=made.key,
            ingredients=made.ingredients,
            files=made.files,
            time=time.time(),
            by=by(),
            accepted=why,
        )
        record = self.store.add_record(record, after=self.store.record(made.key))
        self.store.refer(self.environment, self.name, step.name, record)
        return planned.reasons

    # Running

    def preflight(self, plan: Plan) -> None:
        """Find errors in the configuration of the steps that are to run, before any of them does.

        Raises:
            ConfigurationError: if there are any.
        """
        for step in map(self.step, plan.to_run):
            if step.preflight is not None:
                load(step.preflight)(**self.arguments(step))

    def judge(self, step: Step, measurements: Measurements) -> dict[str, Outcome]:
        """Evaluate a step's checks from its measurements and the present configuration.

        Those of a step that decides also get what was settled last, under `settled`.
        """
        if step.decides:
            measurements = {**measurements, "settled": self.store.settled(self.environment, self.name) or {}}
        return {check.name: check.judge(measurements, self.config) for check in step.checks}

    def stands_for(self, step: Step) -> Record | None:
        """The record that a step stands for now, or None; of a step that decides, its latest decision's."""
        if not step.decides:
            return self.store.reference(self.environment, self.name, step.name)
        decisions = [each for each in self.store.log(self.environment, self.name) if each.fields["kind"] == "decision"]
        record = self.store.record(decisions[-1].fields["key"]) if decisions else None
        # The key's record may be of a later decision, made from the same by another pipeline or environment.
        return None if record is None else dataclasses.replace(record, **decisions[-1].fields["release"])

    def standing(self, name: str) -> StepResult | None:
        """What a step stands for now, with its measurements and checks, or None."""
        record = self.stands_for(self.step(name))
        if record is None:
            return None
        measurements = self.store.measurements(record.trace)
        return StepResult(name, "fresh", (), 0.0, record, measurements, self.judge(self.step(name), measurements))

    def run_step(self, name: str) -> StepResult:
        """Make one step stand for what it should, from what its inputs stand for now.

        Raises:
            StoreError: if an input was never built.
            BlockedError: if a blocking check of an input fails.
            FreshtuneError: what the step's function raises, or that the disk is full or cannot be written.
        """
        # Libraries make a heap so large that to go over it takes longer than many a step; what is new is gone over.
        gc.freeze()
        try:
            return self._run_step(name)
        except OSError as error:
            said = explained(error, Path(self.store.url)) or explained(error, self.home.path)
            raise (said or error) from error.__cause__
        finally:
            gc.unfreeze()

    def _run_step(self, name: str) -> StepResult:
        started = time.perf_counter()
        # Code and libraries may change while a process runs; within a step they count as they were at first.
        self._making = Making()
        step = self.step(name)
        inputs = {each: self._input(step, each) for each in step.inputs}
        made = self.made(step, inputs)
        standing = self.stands_for(step)
        reasons = self._unfresh(step, standing, made)
        action: Action = "fresh"
        if reasons and step.decides:
            standing, action = deciding.decide(self, step, made, standing, reasons), "built"
        elif reasons:
            with self._one_after_the_other(step):
                if step.remembers or step.promoted is not None:
                    made = self.made(step, inputs)
                standing, action = self.get_or_build(step, made, forced=name in self.forced)
                self.store.refer(self.environment, self.name, name, standing)
        self.store.index.save()
        assert standing is not None
        measurements = self.store.measurements(standing.trace)
        outcomes = self.judge(step, measurements)
        return StepResult(name, action, reasons, time.perf_counter() - started, standing, measurements, outcomes)

    def _one_after_the_other(self, step: Step) -> AbstractContextManager[None]:
        """Lets a step that reads what other runs wrote be run once at a time.

        What another run saw meanwhile would not be remembered, and the last of two would stand for an older promotion.
        """
        if not step.remembers and step.promoted is None:
            return nullcontext()
        waiting = Progress(step.name, self.sink).message
        return self.store.lease(f"alone-{self.environment}-{self.name}-{step.name}", waiting, [])

    def _input(self, step: Step, name: str) -> str:
        found = self.standing(name)
        if found is None:
            raise StoreError(
                f"step {step.name} needs {name}, which was never built",
                where=self.name,
                fix=f"run `freshtune run {self.name}`, or select {name} and what is before it too",
            )
        for check in self.step(name).checks:
            outcome = found.outcomes[check.name]
            if check.stops(outcome):
                raise BlockedError(
                    f"{step.name} refuses to run: check {check.name} of {name} failed: {outcome.message}",
                    where=self.name,
                    fix=f"mend the data or the configuration that the check is about, then run {name} again",
                )
        return found.record.content

    def get_or_build(self, step: Step, made: Made, *, forced: bool = False) -> tuple[Record, Action]:
        """The record of a step's key, built if the store has none or if it is forced; no reference is moved."""
        return get_or_build(
            self.store,
            made,
            partial(self._call, step, made),
            work=self.work(made.key),
            waiting=Progress(step.name, self.sink).message,
            forced=forced,
        )

    def work(self, key: str) -> Path:
        """Folder for what should outlive a killed process that builds a key."""
        return self.home.path / "work" / key

    def context(self, step: Step, made: Made, folder: Path) -> Build:
        """What a step's function is given to build a key in a folder."""
        digests = {name: made.ingredients["inputs"][name] for name in step.inputs if name not in self._tuners(step)}
        progress = Progress(step.name, self.sink)
        return Build(
            inputs={name: self.store.open("objects", digest) for name, digest in digests.items()},
            externals=made.externals,
            content=folder / "content",
            trace=folder / "trace",
            work=self.work(made.key),
            progress=progress,
            pipeline=self.name,
            part=Parts(self.store, self.home.path / "work", progress, self.name, self._making),
            try_step=None if step.tunes is None else self._trying(step, digests, self.work(made.key)),
            before=self.store.open("objects", made.ingredients["inputs"][BEFORE])
            if BEFORE in made.ingredients["inputs"]
            else None,
            stored=None if step.promoted is None and step.recorded is None else partial(self.store.open, "objects"),
            digests=digests,
        )

    def _call(self, step: Step, made: Made, folder: Path) -> Measurements:
        build = self.context(step, made, folder)
        return self._run(step, made, build, self._recorded(step, made, build), self.launcher)

    def _run(
        self, step: Step, made: Made, build: Build, recorded: Mapping[str, Observation], launcher: Launcher
    ) -> Measurements:
        build = dataclasses.replace(build, externals={**build.externals, **recorded})
        if step.program is None:
            return load(step.function)(build, **made.arguments)  # type: ignore[no-any-return]
        return run_program(step, build, made.arguments, roots(step, self.config), launcher, self.store)

    def _trying(self, tuner: Step, inputs: Mapping[str, str], work: Path) -> Trying:
        assert tuner.tunes is not None
        step = self.step(tuner.tunes)
        observed = {**self.observe(step), **self._promoted(step, inputs)}

        def made(settings: Mapping[str, Any]) -> Made:
            return made_of(step, with_settings(self.config, settings), self.sample, inputs, observed)

        configured = made({})
        # Once for all tries: their results are compared, whatever is promoted meanwhile.
        recorded = self._recorded(
            step, configured, dataclasses.replace(self.context(step, configured, work), work=work)
        )

        def call(made: Made, folder: Path, *, work: Path, sink: Sink, environment: Mapping[str, str]) -> Measurements:
            build = dataclasses.replace(self.context(step, made, folder), work=work, progress=Progress(step.name, sink))
            return self._run(
                step, made, build, recorded, lambda command, own: self.launcher(command, {**own, **environment})
            )

        return Trying(self.store, step.name, made, call, self.work, Progress(tuner.name, self.sink).message)

    def settle(self, *, overwrite: bool = False) -> dict[str, Any]:
        """Bring what stands outside in line with the promotion log; returns what stands there.

        Args:
            overwrite: set back what somebody changed there by hand.

        Raises:
            TransientError: if the registry cannot be reached.
        """
        return deciding.settle(self, overwrite=overwrite)


def _contents(files: Mapping[str, Mapping[str, Sequence[Any]]]) -> set[str]:
    """Digests of all files of a record."""
    return {sha256 for of_input in files.values() for sha256, *_ in of_input.values()}
