from __future__ import annotations

import importlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assets import session
from assets.cli.main import COMMANDS
from assets.errors import ConfigurationError, DataError
from tests.cli.chain import Tiny
from tests.cli.conftest import Freshtune

ROOT = Path(__file__).parents[2]
HEAVY = {"dagster", "torch", "transformers", "great_expectations", "mlflow", "pandas", "datasets", "sklearn"}

# The chain of tests/cli/chain.py in a process of its own: run once in pieces, then again with nothing to do.
NOTHING_TO_DO = """
import sys, tempfile
from pathlib import Path
from assets import session
from assets.cli import main
from assets.store import ingredients
from tests.chains import pieces
from tests.cli.chain import Tiny
tiny = Tiny(Path(tempfile.mkdtemp(dir=sys.argv.pop())))
session.open_runner, ingredients.code_pieces = tiny.open_runner, pieces
tiny.materialise("tiny", steps=[step.name for step in tiny.open_runner("tiny").chain], sample=None, forced=())
try:
    main.main()
finally:
    print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def process(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(freshtune: Freshtune, option: str) -> None:
    result = freshtune(option)
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in result.stdout
    assert "Exit codes: 0 done; 1 the work failed; 2 wrong use or configuration." in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(freshtune: Freshtune, command: str) -> None:
    result = freshtune(command, "--help")
    assert result.exit_code == 0
    examples = importlib.import_module(f"assets.cli.{command}").EXAMPLES
    assert examples
    for example in examples:
        assert example.startswith("freshtune ") or " | freshtune " in example
        assert example in result.stdout
    assert "[bold]" not in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_understood(freshtune: Freshtune, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example gets as far as opening the pipeline, and is not refused as wrong use."""
    import shlex

    module = importlib.import_module(f"assets.cli.{command}")
    opened: list[str] = []

    def stop(name: str, **_: Any) -> None:
        opened.append(name)
        raise DataError("opened")

    monkeypatch.setattr(session, "open_runner", stop)
    for example in module.EXAMPLES:
        words = shlex.split(example.rpartition("freshtune ")[2].partition(" | ")[0])
        if command in {"store", "ui", "doctor"} or "messages.csv" in words:
            continue
        result = freshtune(*words, input="a\n")
        assert result.exit_code == 1, result.output
        assert "opened" in result.stderr
    assert opened or command in {"store", "ui", "doctor"}


def test_version(freshtune: Freshtune, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"freshtune": "1.2.3"}[name])
    result = freshtune("--version")
    assert (result.exit_code, result.stdout) == (0, "freshtune 1.2.3\n")


@pytest.mark.parametrize(
    "arguments", [["nix"], ["plan"], ["plan", "tiny", "--nix"], ["run", "tiny", "--sample", "many"]]
)
def test_wrong_use(freshtune: Freshtune, arguments: list[str]) -> None:
    result = freshtune(*arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("kind", [ConfigurationError, DataError])
def test_errors_for_people(freshtune: Freshtune, monkeypatch: pytest.MonkeyPatch, kind: type[DataError]) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise kind("it is wrong", where="defs.yaml", fix="make it right")

    monkeypatch.setattr(session, "open_runner", fails)
    result = freshtune("plan", "tiny")
    assert result.exit_code == kind.exit_code
    assert result.stdout == ""
    assert result.stderr == "Error: defs.yaml: it is wrong\n  fix: make it right\n"


def test_stopped_from_the_keyboard(freshtune: Freshtune, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "open_runner", stop)
    result = freshtune("run", "tiny")
    assert result.exit_code == 130
    assert result.stderr.startswith("Stopped.")


def test_a_bug_keeps_its_traceback(freshtune: Freshtune, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(session, "open_runner", bug)
    result = freshtune("plan", "tiny")
    assert isinstance(result.exception, ZeroDivisionError)


def test_no_such_pipeline(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "pipelines" / "sms_spam").mkdir(parents=True)
    (tmp_path / "pipelines" / "sms_spam" / "defs.yaml").write_text("")
    result = process("-m", "assets.cli.main", "plan", "sms_spm", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "there is no pipeline 'sms_spm'" in result.stderr
    assert "did you mean sms_spam?" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [["run", "tiny"], ["run", "tiny", "--json"], ["plan", "tiny"], ["models", "tiny"]])
def test_import_budget(tmp_path: Path, command: list[str]) -> None:
    result = process("-c", NOTHING_TO_DO, *command, str(tmp_path))
    assert result.returncode == 0, result.stderr
    imported = set(result.stderr.splitlines()[-1].split())
    assert {"assets", "typer"} <= imported
    assert not imported & HEAVY


def test_completion_of_names(monkeypatch: pytest.MonkeyPatch, tiny: Tiny) -> None:
    from assets.cli import options
    from assets.config import home, load

    monkeypatch.setattr(home, "project_root", lambda: tiny.folder)
    monkeypatch.setattr(load, "pipeline_names", lambda _: ["news", "sms_spam", "sms_ham"])
    assert options._names("sms") == ["sms_spam", "sms_ham"]
