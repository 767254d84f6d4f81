"""Early cutoff through every door of Dagster: what came out the same is not computed again, nor anything after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from assets.orchestration import launch
from assets.orchestration.execution import FORCE_TAG
from assets.store import ingredients
from assets.store.step import Step
from tests.orchestration import chain
from tests.orchestration.pipeline import Tiny

ALL = ["raw", "model", "release"]
Ran = list[tuple[str, str]]
"""Steps that ran, in order, and what became of each."""


@dataclass
class World:
    """What a code location is loaded from, which tests change at will.

    Attributes:
        code: version of each function's code.
        libraries: version of each library.
    """

    code: dict[str, str] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)

    def pieces(self, roots: tuple[str, ...]) -> dict[str, str]:
        return {root: self.code.get(root.partition(":")[2], "1") for root in roots}

    def version(self, library: str) -> str:
        return self.libraries.get(library, "1.0")


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The model reads a library, and needs no process of its own, which takes seconds."""
    made = World()
    monkeypatch.setattr(ingredients, "code_pieces", made.pieces)
    monkeypatch.setattr(ingredients, "_version", made.version)
    raw, model, release = chain.CHAIN
    model = replace(model, program=None, environment=("torch:major",))
    monkeypatch.setattr(chain, "CHAIN", (raw, model, release))
    return made


@pytest.fixture
def instance(tiny: Tiny) -> Iterator[dg.DagsterInstance]:
    """The one that the command line opens too."""
    with dg.DagsterInstance.from_config(str(launch.dagster_home(tiny.home))) as made:
        yield made


def key(step: str) -> dg.AssetKey:
    return dg.AssetKey(["tiny", step])


def run(tiny: Tiny, instance: dg.DagsterInstance, *steps: str, **more: Any) -> Ran:
    result = tiny.run(instance, *steps, **more)
    assert result.success
    return [(found.step, found.action) for found in tiny.watch.results]


def requested(tiny: Tiny, instance: dg.DagsterInstance, ticked: Any) -> Ran:
    """What the runs do that a schedule or a sensor asks for."""
    [request] = ticked.run_requests
    return run(tiny, instance, *(asset.path[1] for asset in request.asset_selection), tags=request.tags)


# The doors


def materialize_all(tiny: Tiny, instance: dg.DagsterInstance) -> Ran:
    return run(tiny, instance)


def materialize_unsynced(tiny: Tiny, instance: dg.DagsterInstance) -> Ran:
    """Press the button until nothing is unsynced: Dagster looks one step far."""
    observe(tiny, instance)
    ran: Ran = []
    for _ in ALL:
        if steps := unsynced(tiny, instance):
            ran += run(tiny, instance, *steps)
    return ran


def schedule(tiny: Tiny, instance: dg.DagsterInstance) -> Ran:
    return requested(tiny, instance, schedule_tick(tiny, instance))


def sensor(tiny: Tiny, instance: dg.DagsterInstance) -> Ran:
    return requested(tiny, instance, sensor_tick(tiny, instance))


def command_line(tiny: Tiny, instance: dg.DagsterInstance) -> Ran:
    steps = tiny.runner().plan().to_run
    found = launch.launch(tiny.opener, tiny.home, steps=steps, sample=None, forced=(), sink=tiny.events.append)
    assert found.success
    return [(result.step, result.action) for result in found.results]


def schedule_tick(tiny: Tiny, instance: dg.DagsterInstance) -> Any:
    tiny.changed = {**tiny.changed, "schedule": {"cron": "0 3 * * *"}}
    made = tiny.definitions().resolve_schedule_def("tiny_schedule")
    assert isinstance(made, dg.ScheduleDefinition)
    return made.evaluate_tick(dg.build_schedule_context(instance=instance))


def sensor_tick(tiny: Tiny, instance: dg.DagsterInstance) -> Any:
    made = tiny.definitions().resolve_sensor_def("tiny_new_data")
    return made.evaluate_tick(dg.build_sensor_context(instance=instance))


Door = Callable[[Tiny, dg.DagsterInstance], Ran]
doors = pytest.mark.parametrize("door", [materialize_all, materialize_unsynced, schedule, sensor, command_line])


# What the UI shows


def observe(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    """As the button "Observe" of the source does."""
    job = tiny.definitions().get_repository_def().get_implicit_job_def_for_assets([key("source")])
    assert job is not None
    assert job.execute_in_process(instance=instance, asset_selection=[key("source")]).success


def unsynced(tiny: Tiny, instance: dg.DagsterInstance) -> list[str]:
    """What "Materialize unsynced" selects, of a code location that was loaded just now."""
    graph = tiny.definitions().resolve_asset_graph()
    found = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return [step for step in ALL if found.get_status(key(step)) != StaleStatus.FRESH]


def assert_synced(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    """Nothing is unsynced, also not when somebody looks at the source again, and nothing is left to run."""
    observe(tiny, instance)
    assert unsynced(tiny, instance) == []
    assert tiny.runner().plan().to_run == ()


def shown(instance: dg.DagsterInstance, step: str) -> dict[str, Any]:
    """Data version and metadata of an asset."""
    event = instance.get_latest_materialization_event(key(step))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    return {**metadata, "data_version": (event.asset_materialization.tags or {})["dagster/data_version"]}


def evaluations(instance: dg.DagsterInstance, run_id: str) -> dict[str, tuple[bool, str | None]]:
    """Checks that a run evaluated: whether each passed, and what it said."""
    found = [entry.asset_check_evaluation for entry in instance.all_logs(run_id)]
    return {each.check_name: (each.passed, each.description) for each in found if each is not None}


# The proof


@doors
def test_what_comes_out_the_same_stops_the_rerun(tiny: Tiny, instance: dg.DagsterInstance, door: Door) -> None:
    run(tiny, instance)
    before = {step: shown(instance, step)["data_version"] for step in ALL}
    tiny.write("again.txt", "a one")  # another source, and the same rows
    ran = door(tiny, instance)
    assert [step for step, action in ran if action == "built"] == ["raw"]
    assert {action for step, action in ran if step != "raw"} <= {"fresh"}
    for step in ALL:
        assert shown(instance, step)["data_version"] == before[step]
    for step, action in ran:
        assert (shown(instance, step)["action"], shown(instance, step)["reused"]) == (action, action != "built")
    assert len(tiny.runner().store.log("test", "tiny")) == 1
    assert_synced(tiny, instance)


@doors
def test_what_changed_is_built_once_and_going_back_is_reused(
    tiny: Tiny, instance: dg.DagsterInstance, door: Door
) -> None:
    run(tiny, instance)
    before = {step: shown(instance, step)["data_version"] for step in ALL}
    tiny.write("more.txt", "b four")
    assert [step for step, action in door(tiny, instance) if action == "built"] == ALL
    assert all(shown(instance, step)["data_version"] != before[step] for step in ALL)
    assert_synced(tiny, instance)

    (tiny.source / "more.txt").unlink()
    back = door(tiny, instance)
    # The gate decides anew, about the model that is the challenger again.
    assert back == [("raw", "reused"), ("model", "reused"), ("release", "built")]
    for step in ("raw", "model"):
        assert (shown(instance, step)["data_version"], shown(instance, step)["reused"]) == (before[step], True)
    assert_synced(tiny, instance)


def test_with_nothing_new_nobody_asks_for_a_run(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    materialize_all(tiny, instance)
    for tick in (schedule_tick, sensor_tick):
        assert tick(tiny, instance).run_requests == []
    assert materialize_unsynced(tiny, instance) == []
    assert materialize_all(tiny, instance) == [(step, "fresh") for step in ALL]


@pytest.mark.parametrize(
    ("changed", "marked"),
    [
        ({"code": {"read": "2"}}, ["raw"]),
        ({"code": {"train": "2"}}, ["model"]),
        ({"code": {"read": "2", "train": "2"}}, ["raw", "model"]),
        ({"code": {"decide": "2"}}, []),  # a decision is about a model, not about how it was made
        ({"libraries": {"torch": "2.0"}}, ["model"]),
        ({"libraries": {"torch": "1.9"}}, []),  # only its major version was declared
        ({"configuration": {"training": {"epochs": 4}}}, ["model"]),
        ({"configuration": {"gate": {"metric": "accuracy"}}}, ["release"]),
        ({"configuration": {"splits": {"salt": "!"}}}, []),  # no step reads it
    ],
    ids=str,
)
def test_a_reload_marks_exactly_what_is_stale_and_after_a_run_nothing_is(
    tiny: Tiny, instance: dg.DagsterInstance, world: World, changed: dict[str, Any], marked: list[str]
) -> None:
    run(tiny, instance)
    world.code |= changed.get("code", {})
    world.libraries |= changed.get("libraries", {})
    tiny.changed = changed.get("configuration", {})
    assert unsynced(tiny, instance) == marked
    assert [entry.step for entry in tiny.runner().plan().steps if entry.state == "stale"] == marked
    materialize_unsynced(tiny, instance)
    assert_synced(tiny, instance)


def test_new_code_with_the_same_result_stops_there(tiny: Tiny, instance: dg.DagsterInstance, world: World) -> None:
    run(tiny, instance)
    world.code |= {"read": "2"}
    assert materialize_unsynced(tiny, instance) == [("raw", "built")]
    world.code |= {"train": "2"}
    assert materialize_all(tiny, instance) == [("raw", "fresh"), ("model", "built"), ("release", "fresh")]


def test_what_others_build_on_it_sees_only_true_changes(tiny: Tiny, instance: dg.DagsterInstance, world: World) -> None:
    """An asset of a user's own, with a condition on data versions."""
    changed = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())
    condition = dg.AutomationCondition.eager().replace("any_deps_updated", changed)

    @dg.asset(deps=[key("model")], automation_condition=condition)
    def served() -> None:
        pass

    cursor = None

    def is_wanted() -> bool:
        nonlocal cursor
        definitions = dg.Definitions.merge(tiny.definitions(), dg.Definitions(assets=[served]))
        found = dg.evaluate_automation_conditions(
            definitions, instance=instance, cursor=cursor, asset_selection=dg.AssetSelection.assets(served)
        )
        cursor = found.cursor
        return bool(found.get_num_requested(served.key))

    run(tiny, instance)
    dg.materialize([served], instance=instance, selection=[served])
    is_wanted()
    for code in ("2", "3"):
        world.code["train"] = code
        assert ("model", "built") in materialize_all(tiny, instance)
        assert not is_wanted(), "the same model, built by other code"
    materialize_all(tiny, instance)
    assert not is_wanted(), "reused"
    tiny.changed = {"training": {"epochs": 4}}
    materialize_all(tiny, instance)
    assert is_wanted()


# Checks


def test_a_blocked_step_blocks_though_it_is_reused_until_its_limit_changes(
    tiny: Tiny, instance: dg.DagsterInstance
) -> None:
    tiny.changed = {"splits": {"min_rows_per_label": 9}}
    for action in ("built", "fresh", "fresh"):
        result = tiny.run(instance)
        assert not result.success
        assert tiny.actions() == {"raw": action}
        assert evaluations(instance, result.run_id) == {"enough": (False, "3 of 9 rows")}
        assert (shown(instance, "raw")["action"], shown(instance, "raw")["reused"]) == (action, action == "fresh")
    # What is left unsynced is what was blocked, and it stays so.
    assert unsynced(tiny, instance) == ["model", "release"]
    assert not tiny.run(instance, "model", "release").success
    assert tiny.actions() == {}

    tiny.changed = {"splits": {"min_rows_per_label": 3}}
    result = tiny.run(instance)
    assert tiny.actions() == {"raw": "fresh", "model": "built", "release": "built"}
    assert evaluations(instance, result.run_id)["enough"] == (True, "3 of 3 rows")


def test_a_stricter_limit_is_seen_without_building_anything(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    run(tiny, instance)
    tiny.changed = {"splits": {"min_rows_per_label": 4}}
    assert unsynced(tiny, instance) == []
    result = tiny.run(instance)
    assert not result.success
    assert tiny.actions() == {"raw": "fresh"}
    assert evaluations(instance, result.run_id) == {"enough": (False, "3 of 4 rows")}


# What a person accepted


def test_who_accepted_a_result_when_and_why_is_shown(tiny: Tiny, instance: dg.DagsterInstance, world: World) -> None:
    run(tiny, instance)
    built = shown(instance, "raw")
    world.code |= {"read": "2"}
    tiny.runner().accept(["raw"], "renamed a variable")
    record = tiny.runner().stands_for(step("raw"))
    assert record is not None
    assert unsynced(tiny, instance) == ["raw"]
    assert materialize_unsynced(tiny, instance) == [("raw", "fresh")]
    found = shown(instance, "raw")
    assert (found["accepted_because"], found["accepted_by"], found["accepted_at"]) == (
        "renamed a variable",
        record.by,
        record.time,
    )
    assert (found["reused"], found["data_version"]) == (True, built["data_version"])
    assert not {"built_by", "built_at"} & found.keys(), "it was not built by who accepted it"
    assert unsynced(tiny, instance) == []

    run(tiny, instance, tags={FORCE_TAG: "raw"})
    found = shown(instance, "raw")
    assert not {name for name in found if name.startswith("accepted")}
    assert found.keys() == built.keys()


def step(name: str) -> Step:
    return next(each for each in chain.CHAIN if each.name == name)
