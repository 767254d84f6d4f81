"""What it costs to find that nothing is to be done.

    python -m benchmarks.noop --json

`freshtune run` with nothing to do, on a pipeline with a 100,000-row source, against `dvc repro` with nothing to do on a
chain of the same seven stages over the same file: every stage of DVC depends on the outputs of the stages before it,
on the module that makes its result and on its section of the configuration, and puts out the files of the object that
freshtune holds for the step. Both are measured as whole processes, in turn.

Beside it: what a reused step costs in a Dagster run more than an empty asset with the same checks; and `freshtune plan`
after the same rows were split into 10,000 files (which builds `raw` again and nothing else).

DVC is the newest that PyPI has unless a command is given; it is installed into an environment of its own, because it
wants other versions of libraries than the tools of this project do.
"""

# No `from __future__ import annotations` here: Dagster reads annotations as objects.
import argparse
import dataclasses
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from assets.config.home import home
from assets.config.load import load_pipeline
from assets.config.pipeline import Pipeline
from assets.orchestration.wiring import pipeline_definitions
from assets.session import open_runner
from assets.store.runner import Runner
from assets.store.step import Step
from tests.project import Project, actions
from tests.tiny import make_rows

ROOT = Path(__file__).resolve().parents[1]
FRESHTUNE = (sys.executable, "-m", "assets.cli.main")
ROWS, FILES, REPEATS = 100_000, 10_000, 9
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def timed(command: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[float, str]:
    """Seconds of a command as a whole process, and its standard output."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} failed\n{done.stdout}\n{done.stderr}")
    return seconds, done.stdout


def freshtune(project: Project, *arguments: str) -> tuple[float, dict[str, Any]]:
    """Seconds of a command of freshtune, and what it printed last."""
    seconds, said = timed([*FRESHTUNE, *arguments, "--json"], project.folder, project.environment)
    return seconds, json.loads(said.splitlines()[-1])


def make(folder: Path) -> Project:
    """A project of 100,000 rows in one file, every step built by a first run."""
    project = Project.make(folder)
    project.declare(training={"epochs": 1, "batch_size": 256})
    (folder / "data" / "first.csv").unlink()
    project.write("all.csv", make_rows(ROWS, seed=1))
    freshtune(project, "run", "tiny")
    return project


# DVC


def install_dvc(folder: Path) -> str:
    """DVC from PyPI in an environment of its own; its command."""
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "dvc"]
    timed(pip, folder, {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return str(folder / "bin" / "dvc")


def chain_of_dvc(dvc: str, folder: Path, project: Project) -> dict[str, str]:
    """Write the same chain as stages of DVC, and run it once.

    Returns:
        Environment of its commands.
    """
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder / "site")}
    runner = opened(project)
    for name in ("data", "base"):
        shutil.copytree(project.folder / name, folder / name)
    stages = {step.name: stage(runner, step, folder) for step in runner.chain}
    declared = load_pipeline("tiny", project.folder).model_dump(mode="json")
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    (folder / "params.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    # Without git it has less to do.
    timed([dvc, "init", "--no-scm", "--quiet"], folder, environment)
    timed([dvc, "repro"], folder, environment)
    return environment


def stage(runner: Runner, step: Step, folder: Path) -> dict[str, Any]:
    """One step as a stage that takes its result from a folder where it lies ready."""
    standing = runner.stands_for(step)
    assert standing is not None
    made, put = f"made/{step.name}", f"out/{step.name}"
    shutil.copytree(runner.store.open("objects", standing.content), folder / made)
    module = f"{step.function.partition(':')[0].replace('.', '/')}.py"
    (folder / module).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / module, folder / module)
    sections = sorted({path.split(".")[0] for path in step.configuration if not path.startswith("run.")})
    outside = {"raw": ["data/all.csv"], "model": ["base"]}.get(step.name, [])
    return {
        "cmd": f"mkdir -p out && cp -r {made} {put}",
        "deps": [module, *outside, *(f"out/{name}" for name in step.inputs)],
        "params": sections,
        "outs": [put],
    }


def nothing_to_do(project: Project, dvc: str, folder: Path) -> dict[str, Any]:
    """Both with nothing to do, in turn."""
    environment = chain_of_dvc(dvc, folder, project)
    ours, theirs = [], []
    for _ in range(REPEATS):
        seconds, printed = freshtune(project, "run", "tiny")
        assert set(actions(printed).values()) == {"fresh"}, printed
        ours.append(seconds)
        seconds, said = timed([dvc, "repro"], folder, environment)
        assert "Data and pipelines are up to date." in said, said
        theirs.append(seconds)
    _, version = timed([dvc, "--version"], folder, environment)
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "freshtune_seconds": mine,
        "dvc_seconds": other,
        "ratio": mine / other,
        "freshtune_runs": ours,
        "dvc_runs": theirs,
        "dvc": version.strip(),
    }


# Dagster


def opened(project: Project, environment: str = "default") -> Runner:
    """The project's pipeline, in an environment."""
    settings = dataclasses.replace(home(project.environment), environment=environment)
    return open_runner("tiny", config=load_pipeline("tiny", project.folder), settings=settings)


def empty_assets(runner: Runner, steps: Sequence[Step]) -> dg.Definitions:
    """Assets that do nothing, with the checks of the steps."""

    def asset(step: Step) -> dg.AssetsDefinition:
        key = dg.AssetKey(["empty", step.name])

        @dg.asset(
            key=key,
            deps=[dg.AssetKey(["empty", name]) for name in step.inputs],
            check_specs=[dg.AssetCheckSpec(check.name, asset=key, blocking=check.blocking) for check in step.checks],
        )
        def empty() -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster takes the bare class only
            return dg.MaterializeResult(
                check_results=[
                    dg.AssetCheckResult(asset_key=key, check_name=check.name, passed=True) for check in step.checks
                ]
            )

        return empty

    job = dg.define_asset_job("empty_job", executor_def=dg.in_process_executor)
    return dg.Definitions(assets=[asset(step) for step in steps], jobs=[job])


def run_seconds(
    definitions: dg.Definitions, job: str, keys: Sequence[dg.AssetKey], instance: dg.DagsterInstance
) -> float:
    """Seconds of a run of these assets in this process."""
    chosen = definitions.resolve_job_def(job)
    started = time.perf_counter()
    result = chosen.execute_in_process(instance=instance, asset_selection=keys, run_config=QUIET)
    seconds = time.perf_counter() - started
    assert result.success
    return seconds


def reuse(project: Project) -> dict[str, Any]:
    """Runs of all cached steps in Dagster: fresh, reused in a new environment, and empty assets with their checks.

    Runs are in one process over an instance on SQLite, in turn; milliseconds a step.
    """
    steps = [step for step in opened(project).chain if not step.decides]
    empty = empty_assets(opened(project), steps)
    kinds: dict[str, Callable[[int], tuple[dg.Definitions, str, str]]] = {
        "empty": lambda _: (empty, "empty_job", "empty"),
        "fresh": lambda _: (definitions_of(project, "default"), "tiny_job", "tiny"),
        "reused": lambda at: (definitions_of(project, f"other-{at}"), "tiny_job", "tiny"),
    }
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        for at in range(REPEATS + 1):
            for kind, choose in kinds.items():
                definitions, job, prefix = choose(at)
                keys = [dg.AssetKey([prefix, step.name]) for step in steps]
                seconds = run_seconds(definitions, job, keys, instance)
                if at:  # the first ones import and connect
                    spent[kind].append(1000 * seconds / len(steps))
    medians = {kind: statistics.median(each) for kind, each in spent.items()}
    more = {kind: medians[kind] - medians["empty"] for kind in ("fresh", "reused")}
    return {"step_milliseconds": medians, "more_than_empty": more}


def definitions_of(project: Project, environment: str) -> dg.Definitions:
    """Definitions of the project's pipeline in an environment."""
    config: Pipeline = load_pipeline("tiny", project.folder)
    settings = dataclasses.replace(home(project.environment), environment=environment)
    return pipeline_definitions(partial(open_runner, "tiny", config=config, settings=settings))


# Many files


def many_files(project: Project) -> dict[str, Any]:
    """`freshtune plan` over the same rows in 10,000 files."""
    data = project.folder / "data"
    header, *lines = (data / "all.csv").read_text(encoding="utf-8").splitlines()
    (data / "all.csv").unlink()
    for at in range(FILES):
        (data / f"{at:05d}.csv").write_text("\n".join([header, *lines[at::FILES], ""]), encoding="utf-8")
    split, printed = freshtune(project, "run", "tiny")
    built = [step for step, action in actions(printed).items() if action == "built"]
    assert built == ["raw"], printed
    spent = []
    for _ in range(REPEATS):
        seconds, plan = freshtune(project, "plan", "tiny")
        assert {step["state"] for step in plan["steps"]} == {"fresh"}, plan
        spent.append(seconds)
    return {"plan_seconds": statistics.median(spent), "plan_runs": spent, "split_run_seconds": split}


def measure(folder: Path, dvc: str | None) -> dict[str, Any]:
    """Measure everything."""
    command = dvc or install_dvc(folder / "dvc")
    project = make(folder / "project")
    (folder / "peer").mkdir()
    noop = nothing_to_do(project, command, folder / "peer")
    with project.entered():
        reused = reuse(project)
    files = many_files(project)
    figures = (
        ("freshtune run / dvc repro, nothing to do", noop["ratio"], 0.6),
        (
            "a reused step in a Dagster run, milliseconds more than an empty asset with its checks",
            max(reused["more_than_empty"].values()),
            50.0,
        ),
        ("plan over 10,000 unchanged files, seconds", files["plan_seconds"], 2.0),
    )
    return {
        **noop,
        "reuse": reused,
        "many_files": files,
        "machine": {"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "targets": [
            {"name": name, "value": value, "target": goal, "met": value <= goal} for name, value, goal in figures
        ],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line only")
    parser.add_argument("--dvc", metavar="COMMAND", help="a DVC that is installed already")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), given.dvc)
    if not given.json:
        for target in result["targets"]:
            met = "met" if target["met"] else "MISSED"
            print(f"{met:6} {target['name']}: {target['value']:.4g} ({target['target']:g})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
