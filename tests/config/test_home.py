"""Where the project is, and where this machine keeps its things."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from assets.config.home import home, project_root
from assets.errors import ConfigurationError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "pipelines").mkdir()
    return tmp_path


def test_the_project_is_the_nearest_folder_with_both_marks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = project / "some" / "pipelines"
    inner.mkdir(parents=True)
    (project / "some" / "deep").mkdir()
    (project / "some" / "deep" / "pyproject.toml").touch()
    for folder in (project, inner, project / "some" / "deep"):
        monkeypatch.chdir(folder)
        assert project_root() == project


def test_outside_of_a_project_it_is_freshtune_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert project_root() == Path(__file__).resolve().parents[2]


def test_everything_has_a_default_in_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    found = home({})
    base = project / ".freshtune"
    assert found.path == base
    assert found.store == str(base / "store")
    assert found.environment == "default"
    assert found.tracking_uri == f"sqlite:///{base}/mlflow.db"
    assert found.artifact_root == f"file://{base}/mlartifacts"
    assert found.dagster == base / "dagster"


def test_the_environment_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = home(
        {
            "FRESHTUNE_HOME": "there",
            "FRESHTUNE_STORE": "s3://bucket/store",
            "FRESHTUNE_ENVIRONMENT": "prod-1",
            "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        }
    )
    assert found.path == tmp_path / "there"
    assert found.store == "s3://bucket/store"
    assert found.environment == "prod-1"
    assert found.tracking_uri == "http://mlflow:5000"
    assert found.artifact_root is None


def test_a_folder_of_the_store_means_the_same_for_processes_started_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert home({"FRESHTUNE_STORE": "objects"}).store == str(tmp_path / "objects")


def test_it_is_read_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHTUNE_ENVIRONMENT", "staging")
    assert home().environment == "staging"


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        home({}).environment = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["Prod", "-x", "_x", "a/b", "..", "a b", "é", "x\n"])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigurationError, match="FRESHTUNE_ENVIRONMENT: .* is no name of an environment\n  fix: use lower-case"
    ):
        home({"FRESHTUNE_ENVIRONMENT": name})
