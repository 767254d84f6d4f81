"""Law 1: loading the code location, starting the command line and planning import nothing that is heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {
    "torch",
    "transformers",
    "great_expectations",
    "mlflow",
    "pandas",
    "datasets",
    "sklearn",
    "matplotlib",
    "optuna",
    "presidio_analyzer",
    "spacy",
}
PLAN = "from assets.session import open_runner; open_runner('sms_spam').plan()"


def imported(code: str, home: Path) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running some code in the project's folder."""
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"],
        cwd=ROOT,
        env={**os.environ, "FRESHTUNE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


def test_an_import_is_seen(tmp_path: Path) -> None:
    assert "sklearn" in imported("import sklearn", tmp_path)


def test_loading_the_code_location(tmp_path: Path) -> None:
    found = imported("import assets.orchestration.definitions", tmp_path)
    assert "dagster" in found
    assert not found & HEAVY


@pytest.mark.parametrize("code", ["import assets.cli.main", PLAN], ids=["command line", "plan"])
def test_without_dagster(code: str, tmp_path: Path) -> None:
    found = imported(code, tmp_path)
    assert "assets" in found
    assert not found & (HEAVY | {"dagster", "dagster_shared", "dagster_pipes", "numpy", "pyarrow"})
