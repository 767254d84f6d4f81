"""A built project, a copy of the code that the keys are made from, and the hands that change either.

What runs is the code of this checkout; what counts for the keys is the copy. So an edit of the copy is what a
refactoring is meant to be: other words, the same results.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from assets.chain import chain_of
from assets.config import load
from assets.config.home import Home, home
from assets.config.pipeline import Pipeline
from assets.progress import file_sink
from assets.store import code, code_index, ingredients, program
from assets.store.plan import Plan
from assets.store.runner import Runner
from assets.store.step import Settlement, Step
from assets.store.store import Store
from tests.project import DECLARED, ROOT, Project
from tests.tiny import make_rows

ROWS = make_rows(120, seed=3)
UNKNOWN = make_rows(120, seed=7)
"""Rows that are not in the source."""
CHAIN = chain_of(Pipeline.model_validate(DECLARED))
"""The steps that every pipeline has."""
LIBRARIES = sorted({declared.partition(":")[0] for step in CHAIN for declared in step.environment})


def settle(settlement: Settlement) -> dict[str, Any]:
    """Stands for MLflow, which takes ten seconds for its first database and has no say in what is stale."""
    return {"entries": len(settlement.entries)}


def in_this_process(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Launcher that runs a step's program here: what the child would do, without six seconds of imports each time."""
    spec = json.loads(Path(command[-1]).read_text(encoding="utf-8"))
    work = Path(spec["work"])
    result, _ = program._run(spec, file_sink(work / "progress.jsonl"))
    (work / "result.json").write_text(json.dumps(result), encoding="utf-8")


class Code:
    """The copy of the package `assets`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "assets"
        shutil.copytree(ROOT / "assets", self.root, ignore=shutil.ignore_patterns("__pycache__"))
        self._before: dict[Path, bytes | None] = {}
        self._loaded: list[str] = []

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        before = path.read_bytes() if path.exists() else None
        assert text.encode() != before
        self._before.setdefault(path, before)
        path.write_text(text)

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        self.write(name, change((self.root / name).read_text()))

    def add(self, name: str, text: str) -> None:
        """Add a module that can be imported from here, too."""
        self.write(f"{name}.py", text)
        self._load(f"assets.{name}", self.root / f"{name}.py")

    def _load(self, name: str, path: Path) -> Any:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        self._loaded.append(name)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def restore(self) -> None:
        """Take back every change."""
        while self._loaded:
            del sys.modules[self._loaded.pop()]
        for path, before in self._before.items():
            path.unlink()
            if before is not None:
                path.write_bytes(before)
        self._before.clear()

    def touch(self, name: str, function: str) -> None:
        """Add a statement to a function that does nothing."""

        def add(text: str) -> str:
            tree = ast.parse(text)
            (found,) = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function)
            found.body.insert(0, ast.parse("unused = None").body[0])
            return ast.unparse(tree)

        self.edit(name, add)

    def format(self, name: str) -> None:
        """Every layout and quote as another hand would have them, and no comments."""
        self.edit(name, lambda text: ast.unparse(ast.parse(text)))

    def comment(self, name: str) -> None:
        """A comment over every function and class, and at the end of the file."""

        def add(text: str) -> str:
            lines = []
            for line in text.splitlines():
                word = line.lstrip()
                if word.startswith(("def ", "class ", "return", "@")):
                    lines.append(f"{line[: len(line) - len(word)]}# why this is so")
                lines.append(line)
            return "\n".join([*lines, "# the end", ""])

        self.edit(name, add)

    def document(self, name: str) -> None:
        """Other docstrings everywhere, and one where there was none."""

        def change(text: str) -> str:
            tree = ast.parse(text)
            for node in ast.walk(tree):
                if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    continue
                if ast.get_docstring(node) is not None:
                    del node.body[0]
                node.body.insert(0, ast.Expr(ast.Constant("Something else.")))
            return ast.unparse(ast.fix_missing_locations(tree))

        self.edit(name, change)

    def schema(self, change: Callable[[str], str]) -> type[Any]:
        """Edit the schema of `training`; the class `Pipeline` over the edited file."""
        self.edit("config/training.py", change)
        training = self._load("edited_training", self.root / "config" / "training.py")
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(sys.modules, "assets.config.training", training)
            edited: type[Any] = self._load("edited_schema", self.root / "config" / "pipeline.py").Pipeline
        return edited


class Workshop:
    """A project, the code's copy, and everything that a change can be made to.

    Attributes:
        project: the folder with data, base model, configuration and results.
        code: what the keys are made from.
        chain: the steps.
        schema: the class that the configuration is read as.
    """

    def __init__(self, project: Project, copied: Code) -> None:
        self.project, self.code = project, copied
        *before, release = CHAIN
        self.chain: tuple[Step, ...] = (*before, replace(release, settle="tests.staleness.workshop:settle"))
        self.schema: type[Any] = Pipeline
        self.forced: frozenset[str] = frozenset()
        self.lock = project.folder / "lock.txt"
        if not self.lock.exists():
            self.pin()

    def pin(self, **versions: str) -> None:
        """Write the lock file of the image that runs the steps; `_` stands for `-`."""
        pinned = {name: importlib.metadata.version(name) for name in LIBRARIES}
        pinned |= {name.replace("_", "-"): version for name, version in versions.items()}
        self.lock.write_text("".join(f"{name}=={version}\n" for name, version in pinned.items()))

    def declare(self, **changed: Mapping[str, Any]) -> None:
        training = {"epochs": 1, **changed.pop("training", {})}
        splits = {"validation": 0.25, **changed.pop("splits", {})}
        self.project.declare(**changed, training=training, splits=splits)

    @property
    def settings(self) -> Home:
        return home({"FRESHTUNE_HOME": str(self.project.home)})

    def runner(self, name: str = "tiny") -> Runner:
        """Open the pipeline as `assets.session.open_runner` does."""
        return Runner(
            store=Store(self.settings.store, self.settings.path / "cache"),
            chain=self.chain,
            name=name,
            config=load.load_pipeline(name, self.project.folder),
            home=self.settings,
            forced=self.forced,
            launcher=in_this_process,
        )

    def plan(self, name: str = "tiny") -> Plan:
        with self.entered():
            return self.runner(name).plan()

    def run(self, name: str = "tiny") -> dict[str, str]:
        """Run what the plan says, as both faces do; what became of each of these steps."""
        with self.entered():
            runner = self.runner(name)
            plan = runner.plan()
            runner.preflight(plan)
            return {step: runner.run_step(step).action for step in plan.to_run}

    def standing(self, step: str) -> Path:
        """Content folder of what a step stands for."""
        with self.entered():
            runner = self.runner()
            record = runner.stands_for(runner.step(step))
            assert record is not None
            return Path(runner.store.url) / "objects" / record.content[:2] / record.content

    def append(self, make: Callable[..., dict[str, Any]], *model: str) -> None:
        """A person's entry in the promotion log, as `freshtune models` makes it."""
        with self.entered():
            runner = self.runner()
            entries = runner.store.log(runner.environment, runner.name)
            fields = make(entries, *model, by="a person", when="2026-01-01T00:00:00+00:00", why="a reason")
            assert runner.store.append(
                runner.environment, runner.name, replace(entries[-1], number=len(entries), fields=fields)
            )
            runner.settle()

    @contextmanager
    def entered(self) -> Iterator[None]:
        with self.project.entered(), pytest.MonkeyPatch.context() as patched:
            for module, pieces in ((ingredients, code_index.code_pieces), (program, code.code_pieces)):
                patched.setattr(module, "code_pieces", partial(pieces, package_root=self.code.root))
            patched.setattr(load, "Pipeline", self.schema)
            patched.setenv(ingredients.LOCK, str(self.lock))
            yield


def make_workshop(folder: Path) -> Workshop:
    """A workshop with everything built once."""
    project = Project.make(folder / "project")
    workshop = Workshop(project, Code(folder))
    project.write("first.csv", ROWS)
    workshop.declare()
    workshop.run()
    return workshop
