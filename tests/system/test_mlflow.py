"""A real MLflow server: versions, aliases, processes that are killed, two at once, and a server that goes away."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_tracked import check_that_a_text_is_taken_out
from tests.project import COMMAND, Project
from tests.tiny import LABELS, make_rows

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]

SECONDS = 120
"""How long the server may take to start on a busy machine."""
KILLED = """
import os
from mlflow import MlflowClient
from assets.cli.main import main
from assets.store.runner import Runner
from assets.store.store import Store
owner, name = {
    "registry": (MlflowClient, "set_registered_model_alias"),
    "log": (Store, "append"),
    "settled": (Store, "settle"),
}[%r]
real = getattr(owner, name)
def die(*given, **more):
    real(*given, **more)
    os.kill(os.getpid(), 9)
setattr(owner, name, die)
main()
"""
"""`freshtune` in a process that is killed right after a call."""


class Server:
    """MLflow's server over an SQLite database, which keeps artifacts itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)),
            *("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"),
            *("--artifacts-destination", str(self.folder / "artifacts")),
        ]
        quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
        log = self.folder / "server.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=quiet, stdout=output, stderr=output, start_new_session=True
            )
        try:
            self._await(process, log)
            yield
        finally:
            # Its own session, and so nobody else's processes.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _await(self, process: subprocess.Popen[bytes], log: Path) -> None:
        started = time.monotonic()
        while time.monotonic() - started < SECONDS:
            assert process.poll() is None, log.read_text()
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):  # noqa: S310 - http on loopback
                    return
            except OSError:
                time.sleep(0.3)
        raise AssertionError(log.read_text())


class Registered(Project):
    """A project whose MLflow is a server."""

    server: Server

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "MLFLOW_TRACKING_URI": self.server.url}

    def aliases(self) -> dict[str, int]:
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.server.url, registry_uri=self.server.url)
        return {name: int(number) for name, number in client.get_registered_model("tiny").aliases.items()}

    def models(self) -> Any:
        return json.loads(self.finish(*COMMAND, "models", "tiny", "--json").splitlines()[-1])

    def change(self, *arguments: str, code: str | None = None) -> subprocess.Popen[str]:
        """`freshtune models tiny …` in a process of its own, started."""
        command = [*COMMAND] if code is None else [sys.executable, "-c", code]
        return subprocess.Popen(
            [*command, "models", "tiny", *arguments, "--why", "x"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """Three versions, each promoted."""
    folder = tmp_path_factory.mktemp("mlflow")
    server = Server(folder / "server")
    with server.serving():
        made = Registered.make(folder / "project")
        assert isinstance(made, Registered)
        made.server = server
        for seed in range(3):
            made.declare(training={"epochs": 1, "seed": seed}, gate={"floor": None, "below_champion": None})
            made.finish()
        yield made


def test_aliases_and_versions(project: Registered) -> None:
    assert project.aliases() == {"challenger": 3, "champion": 3, "previous": 2}
    assert [each["version"] for each in project.models()["versions"]] == [3, 2, 1]


def test_it_loads_and_predicts_without_our_code(project: Registered, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps({"inputs": ["urgent prize claim"]}))
    plain = {name: value for name, value in project.environment.items() if name != "PYTHONPATH"}
    blocked = "import sys; sys.modules['assets'] = None\n"
    code = f"{blocked}import mlflow; print(mlflow.transformers.load_model('models:/tiny@champion')('urgent prize')[0])"
    model = ["models", "predict", "-m", "models:/tiny@champion", "-i", "rows.json", "--env-manager", "local"]
    served = f"{blocked}from mlflow.cli import cli\ncli({model!r})"
    for text in (code, served):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", text],
            cwd=tmp_path,
            env=plain,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert any(label in done.stdout for label in LABELS), done.stdout


@pytest.mark.parametrize("dies_after", ["log", "registry", "settled"])
def test_a_killed_rollback_is_completed(project: Registered, dies_after: str) -> None:
    before = project.models()["champion"]
    other = 1 if before != 1 else 2
    killed = project.change("promote", str(other), code=KILLED % dies_after)
    killed.communicate(timeout=SECONDS)
    assert killed.returncode == -signal.SIGKILL
    found = project.models()
    assert (found["champion"], found["by_hand"]) == (other, []), "the log is the truth at once"
    project.finish()
    assert project.aliases()["champion"] == other
    assert project.models()["by_hand"] == []


def test_two_at_once(project: Registered) -> None:
    """Whatever the order: every entry is whole, the registry is in line, and who was too late is told."""
    before = len(project.models()["log"])
    started = [project.change("promote", version) for version in ("1", "2", "3", "1", "2", "3")]
    ended = [(process.communicate(timeout=SECONDS)[1], process.returncode) for process in started]
    done = sum(code == 0 for _, code in ended)
    found = project.models()
    assert done >= 1
    assert len(found["log"]) == before + done
    for said, code in ended:
        assert code in {0, 1, 2}
        assert code == 0 or "changed at this very moment" in said or "is the champion already" in said, said
    assert project.aliases()["champion"] == found["champion"]
    assert found["by_hand"] == []
    assert project.faults() == []


def test_a_server_that_goes_away_half_way(project: Registered, tmp_path: Path) -> None:
    """The log has the decision, nothing is half-promoted, and the next run registers it."""
    moved = project.folder / "data" / "more.csv"
    before = project.models()["champion"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project.server, "url", "http://127.0.0.1:9")
        project.write(moved.name, make_rows(20, seed=9))
        with project.start() as process:
            said, complaints = process.communicate(timeout=SECONDS)
        assert process.returncode == 1, complaints
        assert "MLflow cannot be reached" in said + complaints
    assert project.aliases()["champion"] == before
    found = project.models()
    assert found["versions"][0]["version"] is None, "decided and not registered yet"
    project.finish()
    assert project.aliases()["champion"] == project.models()["champion"] == 4


def test_a_text_is_taken_out_of_a_server(tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    with server.serving():
        check_that_a_text_is_taken_out(server.url, None, server.folder / "artifacts", tmp_path)
