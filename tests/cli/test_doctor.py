from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import subprocess
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assets import session
from assets.cli import doctor
from assets.cli.doctor import Finding
from assets.config.home import Home
from assets.config.pipeline import Pipeline
from assets.errors import ConfigurationError
from tests.cli.chain import Tiny
from tests.cli.conftest import Freshtune

CRON = {"cron": "0 3 * * *"}
TORCH = {"version": "2.13.0+cpu", "cuda": None, "device": "cpu", "name": "CPU (2 threads)", "precision": "bf16"}


@pytest.fixture
def healthy(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """A machine that has everything; the tiny pipeline is the only one."""
    probe(monkeypatch, TORCH)
    install(monkeypatch, ["rich>=14", "s3fs>=2025.3; extra == 's3'"], {"rich": "15.0.0"})
    monkeypatch.setattr(doctor, "gpus", list)
    monkeypatch.setattr(doctor, "home", lambda: tiny.home)
    monkeypatch.setattr(doctor, "project_root", lambda: tiny.folder)
    monkeypatch.setattr(doctor, "pipeline_names", lambda _: ["tiny"])
    return tiny


def probe(monkeypatch: pytest.MonkeyPatch, seen: dict[str, Any]) -> None:
    answer = SimpleNamespace(returncode=0, stdout=f"a warning\n{json.dumps(seen)}\n", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)


def install(monkeypatch: pytest.MonkeyPatch, required: list[str], installed: dict[str, str]) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    about = Message()
    about["Requires-Python"] = ">=3.11,<3.14"
    monkeypatch.setattr(importlib.metadata, "metadata", lambda _: about)
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: required)
    monkeypatch.setattr(importlib.metadata, "version", version)


def found() -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.findings()}


def test_all_is_well(freshtune: Freshtune, healthy: Tiny) -> None:
    result = freshtune("doctor", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["ok"] is True
    assert [check["name"] for check in report["checks"]] == [
        *("python", "packages", "torch", "gpu", "precision", "home", "disk", "store", "mlflow", "dagster", "tiny")
    ]
    assert report["checks"][7] == {"name": "store", "state": "ok", "message": healthy.home.store, "fix": ""}
    shown = freshtune("doctor")
    assert shown.exit_code == 0
    assert "All is well." in shown.stdout
    assert "2.13.0+cpu, CPU build" in shown.stdout


def test_something_is_wrong(freshtune: Freshtune, healthy: Tiny) -> None:
    healthy.home.dagster.mkdir()
    (healthy.home.dagster / "dagster.yaml").write_text("a: [")

    def fails(*_: Any, **__: Any) -> Any:
        raise ConfigurationError("no such file", where="source.files", fix="put one there")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "open_runner", fails)
        result = freshtune("doctor")
        report = json.loads(freshtune("doctor", "--json").stdout)
    assert result.exit_code == 1
    assert "2 of 11 checks are wrong." in result.stdout
    assert "source.files: no such file" in result.stdout
    assert "fix: put one there" in result.stdout
    wrong = [check["name"] for check in report["checks"] if check["state"] == "wrong"]
    assert (report["ok"], wrong) == (False, ["dagster", "tiny"])


def test_a_library_that_a_pipeline_asks_for_is_missing(healthy: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "libraries", lambda *_: ("presidio-analyzer:major",))
    install(monkeypatch, ["presidio-analyzer>=2; extra == 'pii'"], {})
    assert found()["tiny"] == Finding(
        "tiny",
        "wrong",
        "environment: the configuration asks for presidio-analyzer, which is not installed here",
        "pip install 'freshtune[pii]', or take out the setting that needs it",
    )


@pytest.mark.parametrize(("automation", "noted"), [({}, True), ({"sensor": {}}, False), ({"schedule": CRON}, False)])
def test_a_model_that_nobody_looks_at(automation: dict[str, Any], noted: bool) -> None:
    declared = {
        "task": {"labels": ["ham", "spam"]},
        "source": {"files": ["x.csv"]},
        "base_model": {"name": "base"},
        "freshness": {"fail_after": "P7D"},
    }
    notes = list(doctor.nobody_looks("tiny", Pipeline.model_validate({**declared, **automation})))
    assert [(note.state, note.fix.split(",")[0]) for note in notes] == [
        ("note", "add schedule or `sensor: {}`")
    ] * noted


@pytest.mark.usefixtures("healthy")
def test_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert doctor.packages() == Finding("packages", "ok", "1 required packages, in supported versions")
    install(monkeypatch, ["rich>=14", "typer>=0.16", "numpy>=2"], {"rich": "13.1", "numpy": "2.5"})
    finding = doctor.packages()
    assert (finding.state, finding.message) == ("wrong", "rich is 13.1, >=14 is needed; typer is missing")
    install(monkeypatch, ["rich>=14", "Torch>=2"], {"rich": "15.0", "Torch": "2.13.0+cpu"})
    (tmp_path / "constraints.txt").write_text("# pinned\nrich==14.2\ntorch==2.13.0\nother==1\n")
    finding = doctor.packages()
    assert (finding.state, finding.message) == ("note", "other versions than tested: rich 15.0 (not 14.2)")


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", missing)
    assert doctor.packages().message == "freshtune is not installed in this Python"
    assert doctor.packages().state == "wrong"
    assert doctor.python().state == "ok"


@pytest.mark.usefixtures("healthy")
def test_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.python().state == "ok"
    monkeypatch.setattr(platform, "python_version", lambda: "3.14.1")
    assert doctor.python().state == "wrong"
    assert ">=3.11,<3.14 is needed" in doctor.python().message.replace("<3.14,>=3.11", ">=3.11,<3.14")


@pytest.mark.usefixtures("healthy")
def test_a_gpu_that_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found()["gpu"] == Finding("gpu", "ok", "none; the CPU is used: CPU (2 threads)")
    monkeypatch.setattr(doctor, "gpus", lambda: ["NVIDIA H100"])
    finding = found()["gpu"]
    assert finding.state == "wrong"
    assert finding.message == "NVIDIA H100 is not used: the installed torch 2.13.0+cpu is a CPU build"
    assert "pip install 'torch===2.13.0'" in finding.fix
    probe(monkeypatch, {**TORCH, "version": "2.13.0", "cuda": "13.0"})
    finding = found()["gpu"]
    assert finding.state == "wrong"
    assert "cannot talk to its driver" in finding.message
    assert "update the NVIDIA driver" in finding.fix
    seen = {"version": "2.13.0", "cuda": "13.0", "device": "cuda", "name": "NVIDIA H100", "precision": "bf16"}
    probe(monkeypatch, seen)
    assert found()["gpu"] == Finding("gpu", "ok", "NVIDIA H100")
    assert found()["torch"].message == "2.13.0, CUDA 13.0 build"


@pytest.mark.usefixtures("healthy")
def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found()["precision"].message == "bfloat16, which this device computes natively"
    probe(monkeypatch, {**TORCH, "precision": "float32"})
    assert found()["precision"].message == "float32: this device does not compute bfloat16 natively"


@pytest.mark.usefixtures("healthy")
def test_torch_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SimpleNamespace(returncode=1, stdout="", stderr="Traceback …\nImportError: libgomp.so.1")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    checks = found()
    assert checks["torch"].state == "wrong"
    assert checks["torch"].message == "cannot be used: ImportError: libgomp.so.1"
    assert "gpu" not in checks
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=-4, stdout="", stderr=""))
    assert found()["torch"].message == "cannot be used: it ended with code -4"


def settings(folder: Path, **changed: Any) -> Home:
    given = {"store": str(folder / "store"), "tracking_uri": f"sqlite:///{folder}/mlflow.db", **changed}
    return Home(path=folder, environment="default", artifact_root=None, dagster=folder / "dagster", **given)


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, state in ((6, "ok"), (2, "note"), (0.5, "wrong")):
        usage = SimpleNamespace(free=int(free * doctor.GIGABYTE))
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        finding = doctor.disk(settings(tmp_path / "not" / "there"))
        assert finding.state == state
        assert f"{free:.1f} GB free" in finding.message


def test_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finding = doctor.writable(settings(tmp_path / "file" / "home"))
    assert finding.state == "wrong"
    assert "FRESHTUNE_HOME" in finding.fix
    assert doctor.writable(settings(tmp_path / "new" / "home")) == Finding("home", "ok", str(tmp_path / "new" / "home"))
    assert not (tmp_path / "new").exists()


def test_store(tmp_path: Path) -> None:
    assert doctor.store(settings(tmp_path)).state == "ok"
    (tmp_path / "store" / "format.json").write_text('{"format": 99}')
    finding = doctor.store(settings(tmp_path))
    assert finding.state == "wrong"
    assert "the store has format 99" in finding.message
    finding = doctor.store(settings(tmp_path, store="nonsense://bucket/store"))
    assert finding.state == "wrong"
    assert "nonsense://bucket/store cannot be opened" in finding.message


@pytest.mark.parametrize(
    ("uri", "state"),
    [
        ("sqlite:////tmp/mlflow.db", "ok"),
        ("postgresql+psycopg2://user:secret@host/db", "ok"),
        ("https://mlflow.example", "ok"),
        ("/tmp/mlruns", "ok"),
        ("htp://mlflow.example", "wrong"),
    ],
)
def test_tracking(tmp_path: Path, uri: str, state: str) -> None:
    finding = doctor.tracking(settings(tmp_path, tracking_uri=uri))
    assert finding.state == state
    assert "secret" not in finding.message


@pytest.mark.usefixtures("healthy")
def test_settings_that_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> Home:
        raise ConfigurationError("'A B' is no name", where="FRESHTUNE_ENVIRONMENT", fix="use lower-case letters")

    monkeypatch.setattr(doctor, "home", wrong)
    checks = found()
    assert checks["home"] == Finding(
        "home", "wrong", "FRESHTUNE_ENVIRONMENT: 'A B' is no name", "use lower-case letters"
    )
    assert "store" not in checks


@pytest.mark.usefixtures("healthy")
def test_no_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "pipeline_names", lambda _: [])
    assert found()["pipelines"].state == "note"


def test_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert doctor.gpus() == []
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0, stdout="NVIDIA H100\n"))
    assert doctor.gpus() == ["NVIDIA H100"]
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=9, stdout="no driver\n"))
    assert doctor.gpus() == []
