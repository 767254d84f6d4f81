from __future__ import annotations

import dataclasses
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets.config.home import Home
from assets.config.pipeline import Pipeline
from assets.errors import BlockedError, ConfigurationError, DataError, StoreError
from assets.progress import Event
from assets.store import ingredients as module
from assets.store import lease
from assets.store.runner import Runner, StepResult
from assets.store.step import Build, Measurements, Observation, Step
from assets.store.store import Store
from tests.store import tiny_chain

Open = Callable[..., Runner]

BASE = {
    "task": {"labels": ["a", "b"]},
    "source": {"files": ["x"]},
    "base_model": {"name": "m"},
}


@pytest.fixture(autouse=True)
def code(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Digests of the tiny chain's code, which tests change at will."""
    pieces: dict[str, str] = {}
    monkeypatch.setattr(module, "code_pieces", lambda roots: {root: pieces.get(root, "1") for root in roots})
    tiny_chain.calls.clear()
    tiny_chain.settled.clear()
    tiny_chain.stood_for.clear()
    return pieces


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for word in ("one", "two", "six"):
        (folder / f"{word}.txt").write_text(word)
    return folder


@pytest.fixture(params=["local", "bucket"])
def open_runner(request: pytest.FixtureRequest, tmp_path: Path, source: Path) -> Open:
    store = str(tmp_path / "home" / "store") if request.param == "local" else f"memory://{uuid.uuid4().hex}"

    def make(environment: str = "default", path: Path = tmp_path / "home", config: Any = None, **more: Any) -> Runner:
        url = more.pop("store", store)
        home = Home(
            path=path,
            store=url,
            environment=environment,
            tracking_uri="sqlite://",
            artifact_root=None,
            dagster=path / "dagster",
        )
        return Runner(
            store=Store(url, path / "cache"),
            chain=tiny_chain.chain(source),
            name="tiny",
            config=Pipeline.model_validate({**BASE, **(config or {})}),
            home=home,
            **more,
        )

    return make


def run(runner: Runner) -> list[str]:
    """Run what the plan says, as every face does; the actions in order."""
    return [f"{name} {runner.run_step(name).action}" for name in runner.plan().to_run]


ALL = ["letters built", "upper built", "release built"]


def test_everything_is_built_once_and_then_fresh(open_runner: Open) -> None:
    first = open_runner().plan()
    assert [(step.step, step.state) for step in first.steps] == [
        ("letters", "stale"),
        ("upper", "pending"),
        ("release", "pending"),
    ]
    assert [str(reason) for reason in first.steps[1].reasons] == ["input letters"]
    assert run(open_runner()) == ALL
    assert tiny_chain.calls == ["letters", "upper", "shared", "decide"]
    plan = open_runner().plan()
    assert plan.to_run == ()
    assert [open_runner().run_step(step.step).action for step in plan.steps] == ["fresh"] * 3
    assert tiny_chain.calls == ["letters", "upper", "shared", "decide"]


def test_results_carry_measurements_checks_and_keys(open_runner: Open) -> None:
    runner = open_runner()
    result = runner.run_step("letters")
    assert result.measurements == {"words": 3}
    assert result.outcomes["enough"].message == "3 words"
    assert result.json() | {"seconds": 0} == {
        "step": "letters",
        "action": "built",
        "seconds": 0,
        "key": result.record.key,
        "digest": result.record.content,
    }
    assert "@" in result.record.by


def test_a_renamed_file_rebuilds_its_reader_and_nothing_after_it(open_runner: Open, source: Path) -> None:
    run(open_runner())
    (source / "one.txt").rename(source / "uno.txt")
    plan = open_runner().plan()
    assert [str(reason) for reason in plan["letters"].reasons] == ["source 1 file renamed: uno.txt"]
    runner = open_runner()
    assert runner.run_step("letters").action == "built"
    assert runner.plan().to_run == ()
    assert [runner.run_step(name).action for name in ("upper", "release")] == ["fresh", "fresh"]


def test_a_changed_setting_reruns_its_step_and_going_back_computes_nothing(open_runner: Open) -> None:
    run(open_runner())
    changed = {"splits": {"salt": "!"}}
    plan = open_runner(config=changed).plan()
    assert [str(reason) for reason in plan["upper"].reasons] == ["config splits.salt  → !"]
    assert run(open_runner(config=changed)) == ["upper built", "release built"]
    calls = len(tiny_chain.calls)
    back = open_runner().plan()
    assert back["upper"].state == "reusable"
    assert run(open_runner()) == ["upper reused", "release built"]
    assert tiny_chain.calls[calls:] == ["decide"]


def test_changed_code_is_named_and_shared_parts_are_found_again(open_runner: Open, code: dict[str, str]) -> None:
    run(open_runner())
    code["tests.store.tiny_chain:upper"] = "2"
    assert [str(reason) for reason in open_runner().plan()["upper"].reasons] == ["code tests.store.tiny_chain:upper"]
    calls = len(tiny_chain.calls)
    # The result comes out the same, so the decision stays fresh: early cutoff.
    assert run(open_runner())[0] == "upper built"
    assert tiny_chain.calls[calls:] == ["upper"]
    assert open_runner().plan().to_run == ()


def test_another_environment_and_another_machine_reuse_what_the_store_has(open_runner: Open, tmp_path: Path) -> None:
    run(open_runner())
    assert run(open_runner("staging")) == ["letters reused", "upper reused", "release built"]
    elsewhere = tmp_path / "elsewhere"
    assert run(open_runner("third", path=elsewhere))[:2] == ["letters reused", "upper reused"]


def test_a_sample_has_references_and_a_log_of_its_own(open_runner: Open) -> None:
    run(open_runner())
    sampled = open_runner(sample=2)
    assert sampled.environment == "default-sample-2"
    assert run(sampled)[:2] == ["letters built", "upper built"]
    found = sampled.standing("letters")
    assert found is not None
    assert found.measurements == {"words": 2}
    assert open_runner().plan().to_run == ()


def test_forced_steps_are_built_again_as_a_new_record(open_runner: Open) -> None:
    run(open_runner())
    forced = open_runner(forced=frozenset({"upper"}))
    plan = forced.plan()
    assert [str(reason) for reason in plan["upper"].reasons] == ["forced"]
    assert plan["release"].state == "pending"
    result = forced.run_step("upper")
    assert (result.action, result.record.number) == ("built", 1)
    assert open_runner().plan().to_run == ()
    with pytest.raises(ConfigurationError, match="no step 'uper'.*\n.*letters, upper, release"):
        open_runner(forced=frozenset({"uper"}))


def test_to_a_step_plans_only_what_it_needs(open_runner: Open) -> None:
    assert [step.step for step in open_runner().plan("upper").steps] == ["letters", "upper"]
    with pytest.raises(ConfigurationError, match="no step 'nothing'"):
        open_runner().plan("nothing")


def test_a_damaged_object_is_said_and_built_again(open_runner: Open) -> None:
    run(open_runner())
    runner = open_runner()
    found = runner.standing("upper")
    assert found is not None
    if "memory" in runner.store.url:
        storage = runner.store.storage
        for name in storage.children(f"objects/{found.record.content[:2]}/{found.record.content}"):
            if name != "manifest.json":
                storage.remove(f"objects/{found.record.content[:2]}/{found.record.content}/{name}")
    else:
        path = runner.store.open("objects", found.record.content) / "upper.json"
        path.chmod(0o644)
        os.truncate(path, 3)
    reason = str(open_runner().plan()["upper"].reasons[0])
    assert reason.startswith("damaged upper: upper.json")
    assert run(open_runner())[0] == "upper built"
    assert open_runner().plan().to_run == ()


def test_a_failing_blocking_check_blocks_in_later_runs_too(open_runner: Open, source: Path) -> None:
    run(open_runner())
    (source / "one.txt").unlink()
    (source / "two.txt").unlink()
    result = open_runner().run_step("letters")
    assert not result.outcomes["enough"].passed
    for _ in range(2):
        with pytest.raises(BlockedError, match="upper refuses to run: check enough of letters failed: 1 words"):
            open_runner().run_step("upper")


def test_a_step_that_fails_leaves_nothing_and_the_next_run_starts_clean(open_runner: Open, source: Path) -> None:
    (source / "bad.txt").write_text("bad")
    with pytest.raises(DataError, match="a bad word"):
        open_runner().run_step("letters")
    runner = open_runner()
    assert runner.standing("letters") is None
    with pytest.raises(StoreError, match="step upper needs letters, which was never built"):
        runner.run_step("upper")
    (source / "bad.txt").unlink()
    assert run(open_runner()) == ALL


def test_decisions_are_numbered_and_a_rerun_decides_only_when_something_changed(open_runner: Open) -> None:
    runner = open_runner()
    run(runner)
    (entry,) = runner.store.log("default", "tiny")
    assert entry.fields["decision"] == "promoted"
    assert entry.fields["champion"] == entry.fields["challenger"]
    assert sorted(entry.fields["inputs"]) == ["letters", "upper"]
    assert run(open_runner(config={"gate": {"metric": "accuracy"}})) == ["release built"]
    assert [each.fields["decision"] for each in runner.store.log("default", "tiny")] == ["promoted", "unchanged"]


def test_a_registry_that_was_unreachable_is_brought_in_line_later(
    open_runner: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(tiny_chain, "settle", unreachable)
        with pytest.raises(ConnectionError):
            run(open_runner())
    plan = open_runner().plan()
    assert plan.to_run == ("release",)
    assert str(plan["release"].reasons[0]) == "missing entry 0 of the promotion log in the registry"
    calls = len(tiny_chain.calls)
    assert run(open_runner()) == ["release built"]
    assert tiny_chain.calls[calls:] == []
    assert len(open_runner().store.log("default", "tiny")) == 1
    assert open_runner().plan().to_run == ()


def test_a_decision_that_lost_its_number_is_made_again(open_runner: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = open_runner()
    runner.run_step("letters")
    runner.run_step("upper")
    append = Store.append
    raced = False

    def race(store: Store, environment: str, pipeline: str, entry: Any) -> bool:
        nonlocal raced
        if not raced:
            raced = True
            other = {**entry.fields, "kind": "promote", "champion": "other"}
            assert append(store, environment, pipeline, dataclasses.replace(entry, fields=other))
        return append(store, environment, pipeline, entry)

    monkeypatch.setattr(Store, "append", race)
    runner.run_step("release")
    assert [entry.fields["kind"] for entry in runner.store.log("default", "tiny")] == ["promote", "decision"]
    assert tiny_chain.calls.count("decide") == 2


def test_a_decision_does_not_depend_on_code(open_runner: Open, code: dict[str, str]) -> None:
    """It is fresh while it names the same model, test set and settings: new code decides nothing anew."""

    def versions(**more: Any) -> dict[str, str]:
        runner = open_runner(**more)
        return {step.name: runner.code_version(step) for step in runner.chain}

    run(open_runner())
    before = versions()
    code |= {f"tests.store.tiny_chain:{function}": "2" for function in ("upper", "decide")}
    after = versions()
    assert [name for name in before if before[name] != after[name]] == ["upper"]
    calls = len(tiny_chain.calls)
    assert run(open_runner()) == ["upper built", "release fresh"]
    assert tiny_chain.calls[calls:] == ["upper"]
    assert len(open_runner().store.log("default", "tiny")) == 1
    assert versions(config={"gate": {"metric": "accuracy"}})["release"] != before["release"]


def test_two_runs_that_decide_at_once_append_one_decision(open_runner: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.01)
    run(open_runner())
    changed = {"gate": {"metric": "accuracy"}}
    deciding, waiting = threading.Event(), threading.Event()
    decide = tiny_chain.decide

    def slowly(build: Build, *, metric: str) -> Measurements:
        deciding.set()
        assert waiting.wait(60)
        return decide(build, metric=metric)

    def sink(event: Event) -> None:
        if "another run" in event.get("text", ""):
            waiting.set()

    monkeypatch.setattr(tiny_chain, "decide", slowly)
    results: list[StepResult] = []

    def release(**more: Any) -> None:
        results.append(open_runner(config=changed, **more).run_step("release"))

    first, second = threading.Thread(target=release), threading.Thread(target=release, kwargs={"sink": sink})
    first.start()
    # The second saw the log before the first appended to it.
    assert deciding.wait(60)
    second.start()
    for thread in (first, second):
        thread.join()
    log = open_runner().store.log("default", "tiny")
    assert [entry.fields["kind"] for entry in log] == ["decision", "decision"], "the one before, and one for both"
    assert tiny_chain.calls.count("decide") == 2
    one, other = results
    assert one.record.content == other.record.content == log[-1].fields["release"]["content"]
    assert open_runner(config=changed).plan().to_run == ()


def test_only_what_is_to_run_is_looked_at_before(open_runner: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(tiny_chain, "look", lambda **arguments: given.append(arguments), raising=False)

    def look(config: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        runner = open_runner(config=config)
        preflight = "tests.store.tiny_chain:look"
        runner.chain = [dataclasses.replace(step, preflight=preflight) for step in runner.chain]
        runner.preflight(runner.plan())
        return given

    run(open_runner())
    assert look() == []
    assert look({"gate": {"metric": "accuracy"}}) == [{"metric": "accuracy"}], "with the arguments of its step"


def test_a_moved_home_builds_nothing(open_runner: Open, tmp_path: Path) -> None:
    run(open_runner())
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "home", moved)
    runner = open_runner()
    store = runner.store.url if "memory" in runner.store.url else str(moved / "store")
    assert open_runner(path=moved, store=store).plan().to_run == ()


def test_progress_reaches_the_sink(open_runner: Open) -> None:
    events: list[Event] = []
    open_runner(sink=events.append).run_step("letters")
    assert [(event["step"], event["kind"], event["text"]) for event in events] == [("letters", "message", "3 words")]


def test_work_folders_are_gone_after_success(open_runner: Open, tmp_path: Path) -> None:
    run(open_runner())
    assert list((tmp_path / "home" / "work").iterdir()) == []


def test_accepting_adopts_the_result_under_the_new_key_and_computes_nothing(
    open_runner: Open, code: dict[str, str]
) -> None:
    run(open_runner())
    calls = len(tiny_chain.calls)
    code["tests.store.tiny_chain:upper"] = "2"
    (reason,) = open_runner().accept(["upper"], "renamed a variable")
    assert str(reason) == "code tests.store.tiny_chain:upper"
    runner = open_runner()
    assert runner.plan().to_run == ()
    assert len(tiny_chain.calls) == calls
    found = runner.standing("upper")
    assert found is not None
    assert found.record.accepted == "renamed a variable"
    with pytest.raises(ConfigurationError, match="upper cannot be accepted: it is fresh"):
        open_runner().accept(["upper"], "again")


def test_changed_data_or_settings_cannot_be_accepted(open_runner: Open, source: Path) -> None:
    run(open_runner())
    with pytest.raises(ConfigurationError, match="upper cannot be accepted: config splits.salt"):
        open_runner(config={"splits": {"salt": "!"}}).accept(["upper"], "no")
    (source / "ten.txt").write_text("ten")
    with pytest.raises(ConfigurationError, match="letters cannot be accepted: source \\+1 file, 3 B"):
        open_runner().accept(["letters"], "no")
    with pytest.raises(ConfigurationError, match="upper cannot be accepted: input letters"):
        open_runner().accept(["upper"], "no")


def test_of_two_runs_at_once_one_computes_and_the_other_reuses(
    open_runner: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.01)
    open_runner().run_step("letters")
    shout = tiny_chain.upper

    def slowly(build: Build, *, salt: str) -> Measurements:
        time.sleep(0.5)
        return shout(build, salt=salt)

    monkeypatch.setattr(tiny_chain, "upper", slowly)
    actions: list[str] = []
    events: list[Event] = []
    threads = [
        threading.Thread(target=lambda: actions.append(open_runner(sink=events.append).run_step("upper").action))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(actions) == ["built", "reused", "reused"] or sorted(actions) == ["built", "fresh", "reused"]
    assert tiny_chain.calls.count("upper") == 1
    assert any("another run computes this already" in event.get("text", "") for event in events)


def test_what_people_keep_beside_the_configuration_is_an_input(
    open_runner: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "pipelines" / open_runner().name
    folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()

    def kept(of: Path, config: Pipeline) -> dict[str, Observation]:
        assert (of, config) == (folder, open_runner().config)
        path = of / "kept"
        return {"kept": Observation("input", "kept", path.read_text())} if path.is_file() else {}

    def opened() -> Runner:
        runner = open_runner()
        letters, *others = runner.chain
        runner.chain = [dataclasses.replace(letters, beside=kept), *others]
        return runner

    before = open_runner().run_step("letters")
    assert opened().run_step("letters").action == "fresh"
    (folder / "kept").write_text("1")
    after = opened().run_step("letters")
    assert after.action == "built"
    assert [reason.json() for reason in after.reasons] == [{"kind": "input", "what": "kept"}]
    assert after.record.ingredients["inputs"] == {**before.record.ingredients["inputs"], "kept": "1"}
    (folder / "kept").unlink()
    assert opened().run_step("letters").record.key == before.record.key


def test_libraries_that_the_configuration_asks_for_are_in_the_key(open_runner: Open) -> None:
    letters = open_runner().chain[0]
    step = dataclasses.replace(letters, environment=("numpy:major",), libraries=lambda _: ("pyarrow:major",))
    assert set(module.made_of(step, open_runner().config, None, {}, {}).ingredients["environment"]) == {
        "numpy",
        "pyarrow",
    }
    missing = dataclasses.replace(letters, libraries=lambda _: ("no-such-library",))
    with pytest.raises(
        ConfigurationError,
        match=r"no-such-library, which is not installed here\n  fix: pip install 'no-such-library', or take",
    ):
        module.code_version(missing, open_runner().config, None)


def test_a_library_that_an_extra_brings_is_asked_for_by_the_extra(
    open_runner: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    required = ["numpy>=2", "Some.Library>=1; extra == 'dev'", "b; extra == 'dev'", "some-library>=1; extra == 'few'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: required)
    missing = dataclasses.replace(open_runner().chain[0], libraries=lambda _: ("some_library",))
    with pytest.raises(ConfigurationError, match=r"fix: pip install 'freshtune\[few\]', or take out the setting"):
        module.code_version(missing, open_runner().config, None)


def promoted_chain(source: Path) -> list[Any]:
    """The tiny chain, with a step before the decision that reads what the log named first."""
    first, second, decide = tiny_chain.chain(source)
    reads = Step(
        "reads",
        "reads what was promoted",
        "tests.store.tiny_chain:reads",
        inputs=("letters",),
        promoted=tiny_chain.named_first,
    )
    return [first, second, reads, decide]


def test_what_the_log_names_is_part_of_the_key_and_can_be_read(open_runner: Open, source: Path) -> None:
    def opened() -> Runner:
        return dataclasses.replace(open_runner(), chain=promoted_chain(source))

    def read() -> Any:
        found = opened().standing("reads")
        assert found is not None
        return found.measurements

    assert run(opened()) == ["letters built", "upper built", "reads built", "release built"]
    assert read() == {"there": [], "lost": []}
    assert set(map(str, tiny_chain.stood_for)) == {"None"}
    # The run ended with a decision, which the step is told of from then on.
    assert [str(reason) for reason in opened().plan()["reads"].reasons] == ["input letters_then"]
    assert tiny_chain.stood_for.pop() == {"there": [], "lost": []}
    assert run(opened()) == ["reads built"]
    assert read() == {"there": [["one", "six", "two"]], "lost": []}
    assert run(opened()) == []


def test_what_is_recorded_and_not_keyed_makes_nothing_stale(open_runner: Open, source: Path) -> None:
    here = "tests.store.tiny_chain"

    def opened(**more: Any) -> Runner:
        first, second, decide = tiny_chain.chain(source)
        starts = Step("starts", "starts", f"{here}:starts", inputs=("letters",), recorded=f"{here}:newest")
        return dataclasses.replace(open_runner(), chain=[first, second, starts, decide], **more)

    def measured() -> Any:
        found = opened().standing("starts")
        assert found is not None
        return found.measurements["there"], found.record

    assert run(opened()) == ["letters built", "upper built", "starts built", "release built"]
    before, record = measured()
    assert before == []
    assert set(record.ingredients["inputs"]) == {"letters"}
    # There is a promotion now.
    assert opened().plan().to_run == ()
    (source / "ten.txt").write_text("ten")
    assert run(opened())[:3] == ["letters built", "upper built", "starts built"]
    after, record = measured()
    assert after == [["one", "six", "two"]]
    # Built again it is told what it began with, not what was promoted since.
    assert "starts built" in run(opened(forced=frozenset({"starts"})))
    assert measured()[0] == after


def test_a_slower_run_of_what_was_promoted_before_does_not_stand_last(
    open_runner: Open, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.01)

    def opened(**more: Any) -> Runner:
        return dataclasses.replace(open_runner(**more), chain=promoted_chain(source))

    reading, promoted = threading.Event(), threading.Event()
    reads = tiny_chain.reads

    def slowly(build: Build) -> Measurements:
        reading.set()
        assert promoted.wait(60)
        return reads(build)

    opened().run_step("letters")
    monkeypatch.setattr(tiny_chain, "reads", slowly)
    slower = threading.Thread(target=opened().run_step, args=["reads"])
    slower.start()
    assert reading.wait(60)
    for name in ("upper", "release"):
        opened().run_step(name)

    def sink(event: Event) -> None:
        if "another run" in event.get("text", ""):
            promoted.set()

    opened(sink=sink).run_step("reads")
    slower.join()
    assert opened().plan().to_run == ()


def test_what_the_log_names_and_the_store_lost_is_said_and_another_result_once_it_is_back(
    open_runner: Open, source: Path
) -> None:
    def opened(environment: str = "default") -> Runner:
        return dataclasses.replace(open_runner(environment), chain=promoted_chain(source))

    run(opened())
    (source / "ten.txt").write_text("ten")
    storage = opened().store.storage
    then = opened().store.log("default", "tiny")[0].fields["inputs"]["letters"]
    run(opened())
    found = opened().standing("reads")
    assert found is not None
    entry = f"objects/{then[:2]}/{then}/manifest.json"
    manifest = storage.read(entry)
    storage.remove(entry)
    # The same words where nothing was ever promoted.
    opened("other").run_step("letters")
    assert opened("other").run_step("reads").measurements == {"there": [], "lost": []}
    assert opened().run_step("reads").measurements["lost"] == [then]
    storage.replace(entry, manifest)
    assert opened().run_step("reads").record.key == found.record.key
