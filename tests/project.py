"""A whole project in a folder of its own: the seven real steps over a tiny random model and a toy task.

Its pipeline `tiny` is run as a person runs it: through the command line, in this process or in one of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from assets.cli.main import app
from assets.orchestration import execution
from assets.progress import file_sink
from assets.store import program
from assets.store.digests import digest_content, digest_file, files_under
from assets.store.storage import MANIFEST
from tests.tiny import LABELS, make_base_model, make_rows

ROOT = Path(__file__).parents[1]
STEPS = ("raw", "validated", "cleaned", "splits", "model", "evaluation", "release")
ROWS = 300
"""Rows of a new project."""
DECLARED: Mapping[str, Any] = {
    "task": {"labels": list(LABELS)},
    "source": {"files": ["data/*.csv"]},
    "base_model": {"name": "base"},
    "training": {
        "epochs": 4,
        "max_tokens": 32,
        "learning_rate": 5e-3,
        "head_learning_rate": 5e-3,
        "precision": "float32",
    },
    "gate": {"floor": 0.3, "above_baseline": None},
}
PATIENCE = 200
"""Seconds that a process may take on a busy machine."""
COMMAND = [sys.executable, "-c", "from assets.cli.main import main; main()"]


class Project:
    """A project folder with the pipeline `tiny`.

    Attributes:
        folder: the project's.
        home: what `FRESHTUNE_HOME` is set to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"

    @classmethod
    def make(cls, folder: Path) -> Project:
        """Write a project that never ran."""
        project = cls(folder)
        for part in ("data", "pipelines/tiny"):
            (folder / part).mkdir(parents=True)
        for name in ("pyproject.toml", "workspace.yaml"):
            shutil.copyfile(ROOT / name, folder / name)
        make_base_model(folder / "base")
        project.declare()
        project.write("first.csv", make_rows(ROWS, seed=0))
        return project

    def copy(self, folder: Path) -> Project:
        """A copy with everything that was built."""
        shutil.copytree(self.folder, folder)
        return Project(folder)

    def declare(self, **changed: Mapping[str, Any]) -> None:
        """Write the pipeline's configuration anew; sections are merged over those of `DECLARED`."""
        sections = {name: {**DECLARED.get(name, {}), **changed.get(name, {})} for name in {**DECLARED, **changed}}
        text = yaml.safe_dump({"type": "assets.orchestration.FineTuningPipeline", "attributes": sections})
        (self.folder / "pipelines" / "tiny" / "defs.yaml").write_text(text)

    def write(self, name: str, rows: Sequence[tuple[str, str]]) -> None:
        """Write a CSV file of the source."""
        lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
        (self.folder / "data" / name).write_text("\n".join(lines) + "\n")

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a command: those of the tests without any that would lead it elsewhere."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("FRESHTUNE_", "MLFLOW_"))},
            "FRESHTUNE_HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "120",
            "TERM": "dumb",
        }

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in the project, as a person is who runs a command there."""
        with pytest.MonkeyPatch.context() as patched:
            patched.chdir(self.folder)
            for name in set(os.environ) - set(self.environment):
                patched.delenv(name)
            for name, value in self.environment.items():
                patched.setenv(name, value)
            yield

    def freshtune(self, *arguments: str) -> Any:
        """Run a command in this process, a training included; click's result."""
        with self.entered(), pytest.MonkeyPatch.context() as patched:
            patched.setattr(execution, "pipes_launcher", lambda _: in_this_process)
            return CliRunner().invoke(app, arguments)

    def run(self, *arguments: str) -> dict[str, Any]:
        """`freshtune run tiny --json` in this process, which must succeed; what it prints."""
        result = self.freshtune("run", "tiny", "--json", *arguments)
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    @contextmanager
    def start(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command, by default `freshtune run tiny --json`, in a process and a session of its own."""
        process = subprocess.Popen(
            command or [*COMMAND, "run", "tiny", "--json"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def finish(self, *command: str) -> str:
        """Run a command like `start`, which must succeed; its standard output."""
        with self.start(*command) as process:
            said, complaints = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, complaints
        return said

    def faults(self) -> list[str]:
        """What is not whole in the store; see `store_faults`."""
        return store_faults(self.home / "store")


def in_this_process(command: Sequence[str], _: Mapping[str, str]) -> None:
    """Launcher that runs a step's program without a process of its own, which would import torch once more."""
    spec = json.loads(Path(command[-1]).read_text(encoding="utf-8"))
    work = Path(spec["work"])
    result, code = program._run(spec, file_sink(work / "progress.jsonl"))
    program._leave(program.result_file(work, rank=0), result, code, say=False)


def actions(found: Mapping[str, Any]) -> dict[str, str]:
    """What `freshtune run --json` says became of each step."""
    return {step["step"]: step["action"] for step in found["steps"]}


def digests(found: Mapping[str, Any]) -> dict[str, str]:
    """What `freshtune run --json` says each step stands for."""
    return {step["step"]: step["digest"] for step in found["steps"]}


def store_faults(store: Path) -> list[str]:
    """Read a store from end to end without its own code's memory; everything in it that is not whole.

    Objects and traces have the files of their manifest, byte for byte, and lie under their digest; records, references
    and promotions name nothing that is not there.
    """
    faults = []
    for kind in ("objects", "traces"):
        for folder in sorted(store.glob(f"{kind}/*/*")):
            faults += [f"{kind}/{folder.name[:12]}: {what}" for what in _folder_faults(folder)]
    for path in sorted([*store.glob("records/*/*/*.json"), *store.glob("references/*/*/*.json")]):
        fields = json.loads(path.read_bytes())
        faults += [f"{path.relative_to(store)}: no {what}" for what in _missing(store, fields)]
        if not (store / "records" / fields["key"][:2] / fields["key"] / f"{fields['number']:04d}.json").is_file():
            faults.append(f"{path.relative_to(store)}: no record")
    for path in sorted(store.glob("promotions/*/*/[0-9]*.json")):
        fields = json.loads(path.read_bytes())
        faults += [f"{path.relative_to(store)}: no {what}" for what in _missing(store, fields.get("release", {}))]
    return faults


def _folder_faults(folder: Path) -> Iterator[str]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, ValueError) as error:
        yield f"no manifest: {error}"
        return
    held = {
        path.relative_to(folder).as_posix(): {"sha256": digest_file(path), "size": path.stat().st_size}
        for path in files_under(folder)
        if path != folder / MANIFEST
    }
    if held != manifest["files"]:
        yield "other files than in its manifest"
    with tempfile.TemporaryDirectory() as bare:
        # As it was digested at publication, when there was no manifest yet.
        for name in held:
            (Path(bare) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(bare) / name).symlink_to(folder / name)
        if not manifest["digest"] == folder.name == digest_content(Path(bare)):
            yield "not what its digest says"


def _missing(store: Path, fields: Mapping[str, Any]) -> Iterator[str]:
    for kind, part in (("objects", "content"), ("traces", "trace")):
        if part in fields and not (store / kind / fields[part][:2] / fields[part] / MANIFEST).is_file():
            yield f"{part} {fields[part][:12]}"
