"""Random sequences of changes and runs: after each run the results are the oracle's, and nothing else was computed."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.conftest import SUMMARY
from tests.staleness.world import ENVIRONMENTS, FUNCTIONS, Decision, Oracle, State, World, told

environments = st.sampled_from(ENVIRONMENTS)
SETTINGS: list[tuple[str, Any]] = [
    *(("salt", salt) for salt in ("", "?")),
    *(("epochs", epochs) for epochs in (3, 4, 9)),
    *(("seed", seed) for seed in (0, 1, 2)),
    *(("floor", floor) for floor in (1, 3)),
]
VERSIONS: list[tuple[str, Any]] = [
    *(("torch", version) for version in ("2.9.0", "2.9.1", "2.10.0")),
    *(("pandas", version) for version in ("3.0.0", "3.1.0", "4.0.0")),
]
tally: Counter[str] = Counter()


class Changes(RuleBasedStateMachine):
    """Changes a world at will; the oracle says what each run must do."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world, self.oracle = World(self.folder), Oracle()
        self.earlier: list[State] = [self.world.state]
        self.failed = False
        self.stack = ExitStack()
        self.stack.enter_context(self.world.watched())

    def change(self, **changed: Any) -> None:
        self.world.state = replace(self.world.state, **changed)
        self.earlier.append(self.world.state)

    # Changes

    @rule(name=st.sampled_from("abcd"), text=st.sampled_from(["one", "ONE", "three", "seven", "ten"]))
    def write(self, name: str, text: str) -> None:
        self.change(files={**self.world.state.files, name: text})

    @precondition(lambda self: len(self.world.state.files) > 1)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        files = dict(self.world.state.files)
        del files[data.draw(st.sampled_from(sorted(files)))]
        self.change(files=files)

    @rule(data=st.data(), name=st.sampled_from("xyz"))
    def rename(self, data: st.DataObject, name: str) -> None:
        files = dict(self.world.state.files)
        files[name] = files.pop(data.draw(st.sampled_from(sorted(files))))
        self.change(files=files)

    @rule(function=st.sampled_from(FUNCTIONS), version=st.integers(0, 3))
    def edit_code(self, function: str, version: int) -> None:
        self.change(codes={**self.world.state.codes, function: version})

    @rule(field=st.sampled_from(SETTINGS))
    def configure(self, field: tuple[str, Any]) -> None:
        self.change(**dict([field]))

    @rule(field=st.sampled_from(VERSIONS))
    def upgrade(self, field: tuple[str, Any]) -> None:
        self.change(**dict([field]))

    @rule(data=st.data())
    def revert(self, data: st.DataObject) -> None:
        self.change(**vars(data.draw(st.sampled_from(self.earlier))))

    @rule()
    def move_home(self) -> None:
        self.world.move()

    @rule(cache=st.sampled_from(["cache", "elsewhere"]))
    def work_on_another_machine(self, cache: str) -> None:
        self.world.cache = cache

    @precondition(lambda self: self.spoilable())
    @rule(data=st.data(), how=st.sampled_from(["remove", "cut", "flip", "manifest"]))
    def damage(self, data: st.DataObject, how: str) -> None:
        what = data.draw(st.sampled_from(self.spoilable()))
        self.world.damage(what, how)
        self.oracle.whole.discard(what)

    @rule()
    def collect_garbage(self) -> None:
        """Remove whatever no step stands for, as `store gc` does."""
        standing = {each for key in self.oracle.stands.values() for each in self.oracle.known[key]}
        logged = {each for log in self.oracle.log.values() for entry in log for each in (entry.object, entry.trace)}
        for what in sorted(set(self.spoilable()) - standing - logged):
            self.world.damage(what, "remove")
            self.oracle.whole.discard(what)

    def spoilable(self) -> list[Any]:
        """What is whole, without the champions: no run can make them anew, and garbage collection keeps them."""
        champions = [entry.champion for log in self.oracle.log.values() for entry in log]
        kept = {("objects", "model", told(champion)) for champion in champions}
        return sorted(self.oracle.whole - kept)

    @precondition(lambda self: any(self.oracle.log.values()))
    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        environment = data.draw(st.sampled_from([name for name, log in self.oracle.log.items() if log]))
        log = self.oracle.log[environment]
        challengers = [entry.challenger for entry in log if self.is_whole(entry.challenger)]
        if challengers:
            model = data.draw(st.sampled_from(challengers))
            self.world.promote(environment, model)
            log.append(Decision(None, log[-1].object, log[-1].trace, model, model))
            self.oracle.settled[environment] = len(log)

    def is_whole(self, model: Any) -> bool:
        return ("objects", "model", told(model)) in self.oracle.whole

    # Runs

    @rule(environment=environments)
    def run(self, environment: str) -> None:
        self.compare(environment)

    # Often enough that many a change is run by itself.
    run_again = run_once_more = run

    @rule(environment=environments, forced=st.sets(st.sampled_from(["words", "loud", "score", "release"]), min_size=1))
    def run_forced(self, environment: str, forced: set[str]) -> None:
        self.compare(environment, frozenset(forced))

    @rule(environment=environments, events=st.integers(0, 20))
    def run_killed(self, environment: str, events: int) -> None:
        self.compare(environment, kill_at=events)

    def compare(self, environment: str, forced: frozenset[str] = frozenset(), kill_at: int | None = None) -> None:
        state, self.failed = self.world.state, True
        expected = self.oracle.run(state, environment, forced)
        must = list(islice(expected, kill_at))
        # The event at which the process dies does not happen, but what comes before it does.
        killed = kill_at is not None and next(expected, None) is not None
        self.world.run(environment, forced, kill_at)
        did = self.world.events
        calls, due = (Counter(step for kind, step in events if kind == "call") for events in (did, must))
        tally["runs"] += 1
        tally["built"] += calls.total()
        tally["wasted"] += (calls - due).total()
        tally["missed"] += (due - calls).total()
        assert did == must
        if not killed:
            results = self.world.results(environment)
            decisions = [entry.object[2] for entry in self.oracle.log[environment] if entry.made_of is not None]
            assert told(results.pop("release")) == decisions[-1]
            values = self.oracle.values(state)
            assert results == {step: values[step] for step in results}
            assert self.world.runner(environment).plan().to_run == ()
        self.failed = False

    def teardown(self) -> None:
        try:
            if not self.failed:
                for environment in ENVIRONMENTS:
                    self.compare(environment)
        finally:
            self.stack.close()
            shutil.rmtree(self.folder)


def random_changes(examples: int, record_property: Callable[[str, object], None]) -> None:
    """Make so many sequences of changes and runs, and say in the summary what was counted."""
    tally.clear()
    try:
        run_state_machine_as_test(
            Changes,
            settings=settings(
                derandomize=True,
                deadline=None,
                max_examples=examples,
                stateful_step_count=40,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
    finally:
        counted = (
            f"{tally['runs']:,} runs, {tally['built']:,} builds, {tally['wasted']} wasted, {tally['missed']} missed"
        )
        record_property(SUMMARY, f"random changes: {counted}")
    assert tally["built"] > 20 * examples
    assert (tally["wasted"], tally["missed"]) == (0, 0)


def test_random_changes_waste_no_build_and_miss_none(record_property: Callable[[str, object], None]) -> None:
    """A sample; tests/system makes four times as many."""
    random_changes(15, record_property)
