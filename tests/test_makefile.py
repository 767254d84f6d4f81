"""`make` on machines that are made of stubs: which Python it takes, what it installs and when, what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("make", "sh", "awk", "cp", "cat", "echo", "find", "grep", "mkdir", "rm", "sed", "touch")
SUITABLE, UNSUITABLE = 0, 1

PYTHON = """#!/bin/sh
case "$1 $2" in
  -c*) exit {suitable} ;;
  --version*) echo "Python stub" ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$FRESHTUNE" "$3/bin/freshtune" ;;
  "-m pip")
    echo "$*" >> calls
    [ "$3" = show ] && cat "$TORCH"
    [ ! -e broken ] || {{ echo "no network" >&2; exit 1; }} ;;
esac
"""


class Machine:
    """A copy of the Makefile in a folder of its own, on a path that has only stubs and plain tools."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.tools = folder / "bin"
        for made in (self.folder, self.tools):
            made.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None, tool
            (self.tools / tool).symlink_to(found)
        for name in ("Makefile", "constraints.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.folder / name)
        self.torch = folder / "torch"
        self.torch.write_text("Name: torch\nVersion: 2.13.0\n")
        self.freshtune = self.stub("freshtune", '#!/bin/sh\necho "freshtune $*" >> calls\n')

    def stub(self, name: str, text: str) -> Path:
        path = self.tools / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def python(self, name: str, suitable: int = SUITABLE) -> None:
        self.stub(name, PYTHON.format(suitable=suitable))

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
        stubs = {"PATH": str(self.tools), "FRESHTUNE": str(self.freshtune), "TORCH": str(self.torch)}
        return subprocess.run(
            ["make", *arguments], cwd=self.folder, env={**kept, **stubs}, capture_output=True, text=True, check=False
        )

    def calls(self) -> list[str]:
        """What was called since the last look."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


UPGRADE = "-m pip install --upgrade pip"
INSTALL = "-m pip install -c constraints.txt -e .[demo]"
RUN = "freshtune run sms_spam"


def test_demo_installs_once_and_runs(machine: Machine) -> None:
    machine.python("python3")
    assert machine.make("demo").returncode == 0
    assert machine.calls() == [UPGRADE, INSTALL, RUN]
    assert machine.make("demo").returncode == 0
    assert machine.calls() == [RUN]


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_installs_again_when_what_is_declared_changed(machine: Machine, changed: str) -> None:
    machine.python("python3")
    machine.make("demo")
    stamp = (machine.folder / ".venv/.demo").stat().st_mtime
    os.utime(machine.folder / changed, (stamp + 1, stamp + 1))
    machine.calls()
    machine.make("demo")
    assert machine.calls() == [UPGRADE, INSTALL, RUN]


def test_what_the_tests_need_contains_what_the_demo_needs(machine: Machine) -> None:
    machine.python("python3")
    machine.make("-j4", ".venv/.test", "demo")
    install = "-m pip install -c constraints.txt -e .[demo,dev,pii,production,s3,search]"
    assert machine.calls() == [UPGRADE, install, RUN]


def test_takes_the_first_python_that_will_do(machine: Machine) -> None:
    machine.python("python3", UNSUITABLE)
    machine.python("python3.12")
    machine.python("python3.11")
    result = machine.make("demo")
    assert result.returncode == 0
    assert "Making .venv with Python stub (python3.12)" in result.stdout


def test_takes_the_python_that_is_named(machine: Machine) -> None:
    machine.python("python3")
    machine.python("mine")
    assert "(mine)" in machine.make("demo", "PYTHON=mine").stdout


def test_says_which_python_it_needs(machine: Machine) -> None:
    machine.python("python3", UNSUITABLE)
    result = machine.make("demo")
    assert result.returncode == 2
    assert "needs Python 3.11, 3.12 or 3.13" in result.stderr
    assert "none of these is one: python3 python3.13 python3.12 python3.11" in result.stderr
    assert not (machine.folder / ".venv").exists()


def test_a_failed_install_is_said_and_tried_again(machine: Machine) -> None:
    machine.python("python3")
    (machine.folder / "broken").touch()
    result = machine.make("demo")
    assert result.returncode == 2
    assert "no network" in result.stderr
    assert "Installing failed; pip's reason is above" in result.stderr
    assert RUN not in machine.calls()
    (machine.folder / "broken").unlink()
    assert machine.make("demo").returncode == 0
    assert machine.calls() == [UPGRADE, INSTALL, RUN]


@pytest.mark.parametrize(("version", "replaced"), [("2.13.0+cpu", True), ("2.13.0", False)])
def test_a_gpu_machine_gets_a_torch_that_uses_it(machine: Machine, version: str, *, replaced: bool) -> None:
    machine.python("python3")
    machine.stub("nvidia-smi", "#!/bin/sh\n")
    machine.torch.write_text(f"Name: torch\nVersion: {version}\n")
    assert machine.make("demo").returncode == 0
    asked = [call for call in machine.calls() if "torch===" in call]
    pinned = re.search(r"^torch==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert asked == ([f"-m pip install -c constraints.txt torch==={pinned[1]}"] if replaced else [])


def test_a_cpu_machine_keeps_the_cpu_build(machine: Machine) -> None:
    machine.python("python3")
    machine.torch.write_text("Name: torch\nVersion: 2.13.0+cpu\n")
    machine.make("demo")
    assert machine.calls() == [UPGRADE, INSTALL, RUN]


def test_help_names_every_target(machine: Machine) -> None:
    said = machine.make().stdout
    for target in ("demo", "test", "test-system", "ui", "clean", "help"):
        assert re.search(rf"^  make {target} +\S", said, re.MULTILINE), target


def test_clean_keeps_results(machine: Machine) -> None:
    for kept in (".freshtune/store", ".venv/bin", "assets/__pycache__"):
        (machine.folder / kept).mkdir(parents=True)
    assert machine.make("clean").returncode == 0
    assert sorted(path.name for path in machine.folder.iterdir()) == [
        ".freshtune",
        "Makefile",
        "assets",
        "constraints.txt",
        "pyproject.toml",
    ]
    assert not (machine.folder / "assets/__pycache__").exists()


MAKE = """#!/bin/sh
echo "make $1" >> calls
echo "=== 3 passed, 1 skipped in 2.10s ==="
echo "more after pytest"
exit {code}
"""


@pytest.mark.parametrize("code", [0, 2])
def test_ci_runs_both_targets_and_fails_with_either(machine: Machine, code: int) -> None:
    for tool in ("bash", "dirname", "env", "mktemp", "tail", "tee"):
        found = shutil.which(tool)
        assert found is not None, tool
        (machine.tools / tool).symlink_to(found)
    (machine.tools / "make").unlink()
    machine.stub("make", MAKE.format(code=f"$([ $1 = test ] && echo {code} || echo 0)"))
    machine.stub("chromium", "#!/bin/sh\n")
    script = machine.folder / ".ci/run"
    script.parent.mkdir()
    shutil.copy(ROOT / ".ci/run", script)
    result = subprocess.run(
        [script], env={"PATH": str(machine.tools)}, cwd="/", capture_output=True, text=True, check=False
    )
    assert machine.calls() == ["make test", "make test-system"]
    assert result.returncode == min(code, 1), result.stderr
    closing = "=== 3 passed, 1 skipped in 2.10s ==="
    assert result.stdout.splitlines()[-2:] == [f"make test: {closing}", f"make test-system: {closing}"]
