"""`freshtune doctor`: whether this machine has what freshtune needs, and what to do where it does not."""

from __future__ import annotations

import importlib.metadata
import json as json_library
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import typer
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.text import Text

import assets
from assets import session
from assets.cli.console import output, print_json, table
from assets.cli.options import Json
from assets.cli.registered import Registered, changed_by_hand
from assets.config.home import Home, home, project_root
from assets.config.load import pipeline_names
from assets.errors import FreshtuneError
from assets.release import by_hand
from assets.store.ingredients import libraries, versions
from assets.store.store import Store

if TYPE_CHECKING:
    from assets.config.pipeline import Pipeline
    from assets.store.runner import Runner

EXAMPLES = ("freshtune doctor", "freshtune doctor --json")

State = Literal["ok", "note", "wrong"]
STYLES = {"ok": "green", "note": "yellow", "wrong": "bold red"}
GIGABYTE = 10**9
ENOUGH_DISK = 5 * GIGABYTE
LEAST_DISK = GIGABYTE
"""A training writes about six times the size of its model: checkpoints, the result, MLflow's copy."""
TRACKING = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "file", "databricks")
"""Schemes of MLflow's tracking URIs; a database's may go on with `+driver`."""

# In a process of its own: a broken torch may take its process with it.
PROBE = """
import json, torch
from assets.tasks.device import choose_device, choose_precision, describe
device = choose_device()
print(json.dumps({
    "version": torch.__version__,
    "cuda": torch.version.cuda,
    "device": device.type,
    "name": describe(device),
    "precision": choose_precision("auto", device),
}))
"""


@dataclass(frozen=True)
class Finding:
    """What was found about one thing.

    Attributes:
        name: the thing.
        state: `ok`; `note` (works, and could be better); `wrong`.
        message: what was found.
        fix: what to do, or "".
    """

    name: str
    state: State
    message: str
    fix: str = ""


def doctor(json: Json = False) -> None:
    """Check this machine: Python, packages, torch and GPU, disk, store, every pipeline and what it reads.

    Exit code 1 if something is wrong.
    """
    found = []
    console = output()
    rows = table("check", "", "found", wrap="found")
    for finding in findings():
        found.append(finding)
        text = Text(finding.message)
        if finding.fix:
            text.append("\nfix: ", style="bold").append(finding.fix)
        rows.add_row(finding.name, Text(finding.state, style=STYLES[finding.state]), text)
    wrong = sum(finding.state == "wrong" for finding in found)
    if json:
        print_json({"ok": not wrong, "checks": [asdict(finding) for finding in found]})
    else:
        console.print(rows)
        console.print(f"\n{wrong} of {len(found)} checks are wrong." if wrong else "\nAll is well.")
    if wrong:
        raise typer.Exit(1)


def findings() -> Iterator[Finding]:
    """Make every check, one after the other; a fault in one does not hide the others."""
    yield python()
    yield packages()
    yield from torch_and_gpu()
    try:
        settings = home()
    except FreshtuneError as error:
        yield _wrong("home", error)
        return
    yield writable(settings)
    yield disk(settings)
    yield store(settings)
    yield tracking(settings)
    yield dagster(settings)
    yield from pipelines()


def _wrong(name: str, error: FreshtuneError) -> Finding:
    return Finding(name, "wrong", f"{error.where}: {error.what}" if error.where else error.what, error.fix)


def python() -> Finding:
    """Whether this Python is one that freshtune supports."""
    here = f"{platform.python_version()} ({sys.executable})"
    accepted = _metadata().get("Requires-Python", "") if _metadata() else ""
    if accepted and not SpecifierSet(accepted).contains(platform.python_version(), prereleases=True):
        return Finding("python", "wrong", f"{here}; {accepted} is needed", "make PYTHON=/path/to/another/python demo")
    return Finding("python", "ok", here)


def _metadata() -> Any:
    try:
        return importlib.metadata.metadata("freshtune")
    except importlib.metadata.PackageNotFoundError:
        return None


def packages() -> Finding:
    """Whether the packages that freshtune requires are installed, in versions that it supports."""
    if _metadata() is None:
        return Finding(
            "packages", "wrong", "freshtune is not installed in this Python", "make demo, or pip install -e ."
        )
    required = [Requirement(line) for line in importlib.metadata.requires("freshtune") or ()]
    faults = []
    versions = {}
    for requirement in required:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = versions[requirement.name.lower()] = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            faults.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            faults.append(f"{requirement.name} is {version}, {requirement.specifier} is needed")
    fix = "pip install -c constraints.txt -e ."
    if faults:
        return Finding("packages", "wrong", "; ".join(faults), fix)
    other = [
        f"{name} {versions[name]} (not {pin})" for name, pin in _pins() if versions.get(name, pin).split("+")[0] != pin
    ]
    if other:
        return Finding("packages", "note", f"other versions than tested: {', '.join(other)}", fix)
    return Finding("packages", "ok", f"{len(versions)} required packages, in supported versions")


def _pins() -> list[tuple[str, str]]:
    """Name and exact version of each line of the project's `constraints.txt`, where there is one."""
    path = project_root() / "constraints.txt"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [(name.lower(), pin) for name, pin in re.findall(r"^([\w.-]+)==([\w.]+)", text, flags=re.MULTILINE)]


def torch_and_gpu() -> Iterator[Finding]:
    """Which torch there is, whether it uses the GPU, and in which precision it would train."""
    paths = os.pathsep.join([str(Path(assets.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    probe = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    if probe.returncode != 0:
        last = (probe.stderr.strip().splitlines() or [f"it ended with code {probe.returncode}"])[-1]
        yield Finding("torch", "wrong", f"cannot be used: {last}", "pip install -c constraints.txt torch")
        return
    seen = json_library.loads(probe.stdout.strip().splitlines()[-1])
    build = f"CUDA {seen['cuda']}" if seen["cuda"] else "CPU"
    yield Finding("torch", "ok", f"{seen['version']}, {build} build")
    yield _gpu(seen, gpus())
    if seen["precision"] == "bf16":
        yield Finding("precision", "ok", "bfloat16, which this device computes natively")
    else:
        yield Finding("precision", "ok", "float32: this device does not compute bfloat16 natively")


def gpus() -> list[str]:
    """Names of the GPUs that the driver sees."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.split("\n")[:-1] if asked.returncode == 0 else []


def _gpu(seen: dict[str, Any], there: list[str]) -> Finding:
    if seen["device"] == "cuda":
        return Finding("gpu", "ok", str(seen["name"]))
    if not there:
        return Finding("gpu", "ok", f"none; the CPU is used: {seen['name']}")
    if not seen["cuda"]:
        version = seen["version"].split("+")[0]
        return Finding(
            "gpu",
            "wrong",
            f"{there[0]} is not used: the installed torch {seen['version']} is a CPU build",
            f"pip install 'torch==={version}' (=== takes no CPU build), or `make demo`, which does it",
        )
    return Finding(
        "gpu",
        "wrong",
        f"{there[0]} is not used: torch {seen['version']} for CUDA {seen['cuda']} cannot talk to its driver",
        "update the NVIDIA driver, or install a torch for the CUDA version that `nvidia-smi` shows; "
        "look at CUDA_VISIBLE_DEVICES too",
    )


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _can_write(name: str, folder: Path, fix: str) -> Finding:
    try:
        with tempfile.NamedTemporaryFile(dir=_existing(folder)):
            return Finding(name, "ok", str(folder))
    except OSError as error:
        return Finding(name, "wrong", f"cannot write to {folder}: {error.strerror}", fix)


def writable(settings: Home) -> Finding:
    """Whether freshtune can write where it keeps its things."""
    return _can_write("home", settings.path, "point FRESHTUNE_HOME at a folder that you can write to")


def disk(settings: Home) -> Finding:
    """Whether there is room for a training."""
    free = shutil.disk_usage(_existing(settings.path)).free
    message = f"{free / GIGABYTE:.1f} GB free"
    if free >= ENOUGH_DISK:
        return Finding("disk", "ok", message)
    return Finding(
        "disk",
        "note" if free >= LEAST_DISK else "wrong",
        f"only {message} at {settings.path}",
        "free some space, or point FRESHTUNE_HOME at a larger disk",
    )


def store(settings: Home) -> Finding:
    """Whether the store can be opened."""
    try:
        Store(settings.store, settings.path / "cache")
    except FreshtuneError as error:
        return _wrong("store", error)
    except (OSError, ImportError, ValueError) as error:
        # What fsspec and its back ends raise for URLs and places that they cannot reach.
        return Finding("store", "wrong", f"{settings.store} cannot be opened: {error}", "check FRESHTUNE_STORE")
    return Finding("store", "ok", settings.store)


def tracking(settings: Home) -> Finding:
    """Whether MLflow's tracking URI is one."""
    scheme = urlsplit(settings.tracking_uri).scheme
    shown = re.sub(r"//[^@/]*@", "//…@", settings.tracking_uri)  # no password on the screen
    if scheme and scheme.split("+")[0] not in TRACKING:
        fix = f"MLFLOW_TRACKING_URI takes a folder, or a URI that begins with one of {', '.join(TRACKING)}"
        return Finding("mlflow", "wrong", f"{shown} is no tracking URI", fix)
    return Finding("mlflow", "ok", shown)


def dagster(settings: Home) -> Finding:
    """Whether Dagster's instance can be written, and its configuration read."""
    path = settings.dagster / "dagster.yaml"
    if path.exists():
        try:
            yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            return Finding(
                "dagster", "wrong", f"{path} is not YAML: {error}", "mend it, or delete it to use the defaults"
            )
    return _can_write("dagster", settings.dagster, "point FRESHTUNE_HOME at a folder that you can write to")


def pipelines() -> Iterator[Finding]:
    """Whether every pipeline's configuration holds, and what it reads is there."""
    names = pipeline_names(project_root())
    if not names:
        fix = "dg scaffold defs assets.orchestration.FineTuningPipeline NAME"
        yield Finding("pipelines", "note", f"none in {project_root() / 'pipelines'}", fix)
    for name in names:
        try:
            runner = session.open_runner(name)
            for step in runner.chain:
                versions(libraries(step, runner.config))
            files = [file for step in runner.chain for seen in runner.observe(step).values() for file in seen.files]
            runner.store.index.save()
        except FreshtuneError as error:
            yield _wrong(name, error)
        else:
            size = sum(file.size for file in files) / 1e6
            yield Finding(name, "ok", f"configuration holds; {len(files)} files of source and model, {size:,.1f} MB")
            yield from nobody_looks(name, runner.config)
            yield from registered_models(runner)


def nobody_looks(name: str, config: Pipeline) -> Iterator[Finding]:
    """A note where a model would become overdue because nothing that the YAML starts ever looks at it."""
    if config.freshness is not None and config.schedule is None and "sensor" not in config.model_fields_set:
        message = "freshness is declared, and neither schedule nor sensor: the model becomes overdue by itself"
        yield Finding(name, "note", message, "add schedule or `sensor: {}`, or turn the sensor on in Dagster's UI")


def registered_models(runner: Runner) -> Iterator[Finding]:
    """Whether MLflow is as it was left, and whether whoever waits for news of a champion can be told."""
    changes, unknown = changed_by_hand(runner, Registered.of(runner))
    if unknown is not None:
        yield Finding(f"{runner.name}, registry", "wrong", unknown)
    *said, fix = by_hand.in_words(changes, runner.name) or [""]
    if said:
        yield Finding(f"{runner.name}, registry", "note", "; ".join(said), fix)
    registry = runner.config.registry
    for variable in (registry.webhook, registry.webhook_secret):
        if variable is not None and not os.environ.get(variable):
            message = f"the environment variable {variable} is not set, and the webhook cannot be told"
            yield Finding(f"{runner.name}, webhook", "wrong", message, "set it, or take it out of registry")
