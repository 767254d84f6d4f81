"""What may be built after a change, and nothing else: one line of the table for each kind of change.

Every change is made to a project whose seven real steps were all built once. The plan must give exactly the states and
reasons of the table; a run must build exactly the steps of the table; after it nothing is left to do.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.errors import DataError
from assets.evaluation import score
from assets.release import log
from assets.store.ingredients import versions
from assets.store.step import Build, Measurements, Step
from tests.staleness.workshop import ROWS, UNKNOWN, Code, Workshop, make_workshop

COUNTED = """
def count(build):
    (build.content / "count.txt").write_text((build.inputs["splits"] / "rows.json").read_text())
    return {}
"""
ALL = "raw validated cleaned splits model evaluation release"
TRAINED = "model evaluation release"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return make_workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def workshop(built: Workshop, tmp_path: Path) -> Iterator[Workshop]:
    """A copy of the built project; the copy of the code is shared, and restored afterwards."""
    yield Workshop(built.project.copy(tmp_path / "project"), built.code)
    built.code.restore()


def nothing(workshop: Workshop) -> None:
    pass


def code(change: Callable[..., None], *arguments: str) -> Callable[[Workshop], None]:
    return lambda workshop: change(workshop.code, *arguments)


def setting(**changed: Any) -> Callable[[Workshop], None]:
    return lambda workshop: workshop.declare(**changed)


def library(**versions: str) -> Callable[[Workshop], None]:
    return lambda workshop: workshop.pin(**versions)


def new_file(*rows: tuple[str, str]) -> Callable[[Workshop], None]:
    return lambda workshop: workshop.project.write("second.csv", rows)


def touched(workshop: Workshop) -> None:
    for folder in ("data", "base", "pipelines"):
        for path in (workshop.project.folder / folder).rglob("*"):
            os.utime(path, (1, 1))
    for path in workshop.code.root.rglob("*.py"):
        os.utime(path)


def renamed(workshop: Workshop) -> None:
    data = workshop.project.folder / "data"
    (data / "first.csv").rename(data / "other.csv")


def cut_in_two(workshop: Workshop) -> None:
    workshop.project.write("first.csv", ROWS[:60])
    workshop.project.write("second.csv", ROWS[60:])


def sorted_otherwise(workshop: Workshop) -> None:
    workshop.project.write("first.csv", ROWS[::-1])


def row_deleted(workshop: Workshop) -> None:
    workshop.project.write("first.csv", ROWS[1:])


def rewritten(workshop: Workshop) -> None:
    """The same configuration, its keys in another order, with comments, other indents and empty lines."""
    path = workshop.project.folder / "pipelines" / "tiny" / "defs.yaml"
    read = yaml.safe_load(path.read_text())
    attributes = {name: read["attributes"][name] for name in reversed(read["attributes"])}
    text = yaml.safe_dump({"attributes": attributes, "type": read["type"]}, sort_keys=False, indent=4)
    path.write_text("# a remark\n\n" + text.replace("\n", "  # another\n\n"))


def defaults_written_out(workshop: Workshop) -> None:
    workshop.declare(training={"weight_decay": 0.01, "seed": 0}, cleaning={"unicode": "NFC"})


def learning_rate(workshop: Workshop) -> None:
    workshop.declare(training={"learning_rate": 4e-3})


def learning_rate_and_back(workshop: Workshop) -> None:
    learning_rate(workshop)
    workshop.run()
    workshop.declare()


def code_and_back(workshop: Workshop) -> None:
    workshop.code.touch("model/loop.py", "fit")
    assert workshop.run() == {"model": "built", "evaluation": "fresh", "release": "fresh"}
    workshop.code.restore()


def base_model_changed(workshop: Workshop) -> None:
    """The lowest bit of the last weight."""
    path = workshop.project.folder / "base" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-4] ^= 1
    path.write_bytes(data)


def remark_beside_base_model(workshop: Workshop) -> None:
    (workshop.project.folder / "base" / "README.md").write_text("A model.")


def removed(step: str) -> Callable[[Workshop], None]:
    return lambda workshop: shutil.rmtree(workshop.standing(step))


def file_removed(step: str, name: str) -> Callable[[Workshop], None]:
    return lambda workshop: (workshop.standing(step) / name).unlink()


def truncated(step: str, name: str) -> Callable[[Workshop], None]:
    def act(workshop: Workshop) -> None:
        path = workshop.standing(step) / name
        path.chmod(0o644)
        os.truncate(path, path.stat().st_size - 4096)

    return act


def bit_flipped(step: str, name: str) -> Callable[[Workshop], None]:
    def act(workshop: Workshop) -> None:
        path = workshop.standing(step) / name
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    return act


def manifest_torn(step: str) -> Callable[[Workshop], None]:
    def act(workshop: Workshop) -> None:
        path = workshop.standing(step) / "manifest.json"
        path.chmod(0o644)
        os.truncate(path, 20)

    return act


def trace_removed(workshop: Workshop) -> None:
    with workshop.entered():
        runner = workshop.runner()
        record = runner.stands_for(runner.step("splits"))
        assert record is not None
        shutil.rmtree(runner.store.open("traces", record.trace))


def failed_half_way(workshop: Workshop) -> None:
    def fail(build: Build, **_: Any) -> Measurements:
        (build.content / "metrics.json").write_text("{")
        raise DataError("no more", where="here")

    learning_rate(workshop)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(score, "score", fail)
        with pytest.raises(DataError, match="no more"):
            workshop.run()


def optional_field(workshop: Workshop) -> None:
    def add(text: str) -> str:
        field = '\n    gradient_noise: float | None = None\n    """Noise."""'
        return re.sub(r'(?<=class Training\(Section\):\n    """How the model is fine-tuned.""")', field, text)

    workshop.schema = workshop.code.schema(add)


def changed_default(workshop: Workshop) -> None:
    def change(text: str) -> str:
        return re.sub(r"(weight_decay: .* = )0\.01\n", r"\g<1>0.02\n", text)

    workshop.schema = workshop.code.schema(change)


def new_step(workshop: Workshop) -> None:
    workshop.code.add("counted", COUNTED)
    counted = Step("counted", "Counts.", "assets.counted:count", inputs=("splits",))
    workshop.chain = (*workshop.chain[:-1], counted, workshop.chain[-1])


def promoted_and_rolled_back(workshop: Workshop) -> None:
    first = workshop.standing("model").name
    learning_rate(workshop)
    workshop.run()
    second = workshop.standing("model").name
    with workshop.entered():
        runner = workshop.runner()
        entries = runner.store.log(runner.environment, "tiny")
    if log.champion(entries) != second:
        workshop.append(log.promote, second)
    workshop.append(log.rollback)
    workshop.append(log.promote, second)
    workshop.append(log.promote, first)


def home_moved(workshop: Workshop) -> None:
    project = workshop.project
    project.home = project.home.rename(project.folder.parent / "elsewhere")


def project_moved(workshop: Workshop) -> None:
    project = workshop.project
    inside = project.home.relative_to(project.folder)
    project.folder = project.folder.rename(project.folder.parent / "elsewhere")
    project.home, workshop.lock = project.folder / inside, project.folder / "lock.txt"


@dataclass(frozen=True)
class Change:
    """One line of the table.

    Attributes:
        name: what is changed.
        make: changes it.
        plan: state and own reasons of the steps that have any; what depends on a stale step is pending besides.
        built: exactly the steps that are built then.
        reused: exactly those that only move their reference.
    """

    name: str
    make: Callable[[Workshop], None]
    plan: Mapping[str, str] = field(default_factory=dict)
    built: str = ""
    reused: str = ""


CHANGES = (
    Change("nothing", nothing),
    Change("touched file times", touched),
    # Data
    Change("file renamed", renamed, {"raw": "stale: source 1 file renamed: data/other.csv"}, "raw"),
    Change(
        "file cut in two", cut_in_two, {"raw": "stale: source +1 file, 4 kB; 1 file changed: data/first.csv"}, "raw"
    ),
    Change("rows in another order", sorted_otherwise, {"raw": "stale: source 1 file changed: data/first.csv"}, "raw"),
    Change("new file with only known rows", new_file(*ROWS[:2]), {"raw": "stale: source +1 file, 129 B"}, "raw"),
    Change(
        "new file with one bad row",
        new_file(("a text with a label that is none", "eggs")),
        {"raw": "stale: source +1 file, 49 B"},
        # Texts in quarantine count when sides are given.
        "raw validated cleaned splits",
    ),
    Change(
        "new file with a line that is no row",
        new_file(("one, two, three", "ham")),
        {"raw": "stale: source +1 file, 31 B"},
        "raw validated cleaned",
    ),
    Change("new file with one new row", new_file(UNKNOWN[0]), {"raw": "stale: source +1 file, 61 B"}, ALL),
    Change("row deleted from a source", row_deleted, {"raw": "stale: source 1 file changed: data/first.csv"}, ALL),
    # Code
    Change("comments in training code", code(Code.comment, "model/loop.py")),
    Change("docstrings in training code", code(Code.document, "model/train.py")),
    Change("formatting of training code", code(Code.format, "model/loop.py")),
    Change(
        "helper used only by evaluation",
        code(Code.touch, "evaluation/score.py", "confident_errors"),
        {"evaluation": "stale: code assets.evaluation.score.confident_errors"},
        "evaluation",
    ),
    Change(
        "metric code",
        code(Code.touch, "tasks/classification.py", "metrics"),
        {
            "model": "stale: code assets.tasks.classification.metrics",
            "evaluation": "stale: code assets.tasks.classification.metrics",
        },
        "model evaluation",
    ),
    Change(
        "training code",
        code(Code.touch, "model/loop.py", "fit"),
        {"model": "stale: code assets.model.loop.fit"},
        "model",
    ),
    Change(
        "code of the first step",
        code(Code.touch, "raw/delimited.py", "parse_delimited"),
        {"raw": "stale: code assets.raw.delimited.parse_delimited"},
        "raw",
    ),
    Change(
        "training code and back",
        code_and_back,
        {"model": "reusable: code assets.model.loop.fit"},
        "",
        "model",
    ),
    Change("another task's code", code(Code.write, "tasks/regression.py", "def loss() -> None:\n    pass\n")),
    Change("words of an error", code(Code.touch, "errors.py", "__str__")),
    Change("judge of a check", code(Code.touch, "validated/checks.py", "judge_quarantine")),
    Change("code of the store", code(Code.touch, "store/runner.py", "run_step")),
    Change("code of the command line", code(Code.touch, "cli/run.py", "run")),
    # Configuration
    Change("YAML reordered and commented", rewritten),
    Change("defaults written out", defaults_written_out),
    Change(
        "gate threshold", setting(gate={"floor": 0.2}), {"release": "stale: config gate.floor 0.3 → 0.2"}, "release"
    ),
    Change("limit of a check", setting(validation={"max_quarantined": 0.2})),
    Change("when to run", setting(sensor={"minimum_interval_seconds": 5}, schedule={"cron": "@daily"})),
    Change(
        "learning rate",
        learning_rate,
        {"model": "stale: config training.learning_rate 0.005 → 0.004"},
        TRAINED,
    ),
    Change(
        "learning rate and back",
        learning_rate_and_back,
        {
            "model": "reusable: config training.learning_rate 0.004 → 0.005",
            "evaluation": "reusable: input model",
            "release": "stale: input evaluation; input model",
        },
        "release",
        "model evaluation",
    ),
    Change(
        "accepted length of a text that no row has",
        setting(validation={"text_length": {"max": 5000}}),
        {"validated": "stale: config validation.text_length.max 20000 → 5000"},
        "validated",
    ),
    Change(
        "salt of the splits",
        setting(splits={"salt": "7", "min_rows_per_label": 1}),
        {"splits": "stale: config splits.min_rows_per_label 2 → 1; config splits.salt  → 7"},
        f"splits {TRAINED}",
    ),
    Change("new optional field at its default", optional_field),
    Change(
        "changed default",
        changed_default,
        {"model": "stale: config training.weight_decay 0.01 → 0.02"},
        TRAINED,
    ),
    # Environment
    Change(
        "library of training",
        library(torch="99.0"),
        {"model": "stale: environment torch {torch} → 99.0", "evaluation": "stale: environment torch {torch} → 99.0"},
        "model evaluation",
    ),
    Change(
        "library of scoring",
        library(scikit_learn="99.0"),
        {"evaluation": "stale: environment scikit-learn {scikit-learn} → 99.0"},
        "evaluation",
    ),
    Change(
        "major version of a library of the first steps",
        library(pyarrow="99.0"),
        {
            "raw": "stale: environment pyarrow {pyarrow:major} → 99",
            "validated": "stale: environment pyarrow {pyarrow:major} → 99",
            "cleaned": "stale: environment pyarrow {pyarrow:major} → 99",
            "splits": "stale: environment pyarrow {pyarrow:major} → 99",
        },
        "raw validated cleaned splits",
    ),
    Change("minor version of a library whose major version is declared", library(pandas="3.99")),
    # Base model
    Change(
        "base model's bytes",
        base_model_changed,
        {"model": "stale: input base_model 1 file changed: model.safetensors"},
        TRAINED,
    ),
    Change("file beside the base model", remark_beside_base_model),
    # Damage
    Change(
        "artifact removed",
        removed("cleaned"),
        {"cleaned": "stale: damaged cleaned: object … is not in the store"},
        "cleaned",
    ),
    Change(
        "file of an artifact removed",
        file_removed("splits", "layout/rows.feather"),
        {"splits": "stale: damaged splits: layout/rows.feather is missing"},
        "splits",
    ),
    Change(
        "artifact truncated",
        truncated("model", "model/model.safetensors"),
        {"model": "stale: damaged model: model/model.safetensors, 4096 bytes short"},
        "model",
    ),
    Change(
        "artifact's bit flipped",
        bit_flipped("evaluation", "predictions.parquet"),
        {"evaluation": "stale: damaged evaluation: predictions.parquet, bytes altered"},
        "evaluation",
    ),
    Change(
        "manifest torn", manifest_torn("raw"), {"raw": "stale: damaged raw: object …: manifest.json is damaged"}, "raw"
    ),
    Change("trace removed", trace_removed, {"splits": "stale: damaged splits: trace … is not in the store"}, "splits"),
    # Runs
    Change(
        "step failed half-way",
        failed_half_way,
        {"evaluation": "stale: input model"},
        "evaluation release",
    ),
    Change("new step in the chain", new_step, {"counted": "stale: missing counted"}, "counted"),
    Change("promotion and rollback", promoted_and_rolled_back),
    Change("FRESHTUNE_HOME moved", home_moved),
    Change("project moved", project_moved),
)


@pytest.mark.parametrize("change", CHANGES, ids=[change.name for change in CHANGES])
def test_a_change_builds_what_it_makes_stale_and_nothing_else(workshop: Workshop, change: Change) -> None:
    change.make(workshop)
    assert states(workshop) == expected(workshop, change.plan)
    actions = workshop.run()
    assert " ".join(name for name, action in actions.items() if action == "built") == change.built
    assert " ".join(name for name, action in actions.items() if action == "reused") == change.reused
    assert workshop.plan().to_run == ()


def states(workshop: Workshop) -> dict[str, str]:
    return {
        step.step: re.sub(r"\b[0-9a-f]{12}\b", "…", f"{step.state}: {'; '.join(map(str, step.reasons))}")
        for step in workshop.plan().steps
        if step.state != "fresh"
    }


def expected(workshop: Workshop, plan: Mapping[str, str]) -> dict[str, str]:
    """The plan of a line of the table, with all that waits for a step that is to be built."""
    found: dict[str, str] = {}
    unknown: set[str] = set()
    for step in workshop.chain:
        waits = [f"input {name}" for name in step.inputs if name in unknown]
        own = re.sub(r"\{(.+?)\}", lambda named: versions([named[1]]).popitem()[1], plan.get(step.name, ""))
        if own or waits:
            found[step.name] = "; ".join([own, *waits]) if own else f"pending: {'; '.join(waits)}"
        if waits or own.startswith("stale"):
            unknown.add(step.name)
    return found


def test_two_pipelines_share_what_is_the_same(workshop: Workshop) -> None:
    """The second one reads the same files, but trains otherwise; its release is its own."""
    learning_rate(workshop)
    pipelines = workshop.project.folder / "pipelines"
    (pipelines / "tiny").rename(pipelines / "second")
    (pipelines / "tiny").mkdir()
    workshop.declare()
    assert states(workshop) == {}
    plan = workshop.plan("second")
    shared = ("raw", "validated", "cleaned", "splits")
    assert {step.step: step.state for step in plan.steps} == {
        **dict.fromkeys(shared, "reusable"),
        "model": "stale",
        "evaluation": "pending",
        "release": "pending",
    }
    actions = workshop.run("second")
    assert actions == {**dict.fromkeys(shared, "reused"), **dict.fromkeys(("model", "evaluation", "release"), "built")}
    assert workshop.plan("second").to_run == workshop.plan().to_run == ()


def test_a_forced_step_is_built_and_nothing_after_it(workshop: Workshop) -> None:
    workshop.forced = frozenset({"evaluation"})
    assert workshop.run() == {"evaluation": "built", "release": "fresh"}
    workshop.forced = frozenset()
    assert workshop.plan().to_run == ()
