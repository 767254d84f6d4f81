"""Which pretrained model a pipeline starts from: packages, folders and hub names, and every way they can be wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assets.errors import ConfigurationError, DataError, TransientError
from assets.model.base import fetch, observe
from assets.store.digests import digest_file
from assets.store.step import Observation, ObservedFile
from tests.tiny import make_base_model

COMMIT = "0123456789" * 4


class Index:
    """Digests without remembering."""

    def sha256(self, path: Path, *, strictly: bool = False) -> str:
        return digest_file(path)

    def sha256_at(self, url: str, facts: list[int | str], digest: Callable[[], str]) -> str:
        return digest()


def see(name: str, sha256: str | None = None) -> Observation:
    return observe(SimpleNamespace(base_model=SimpleNamespace(name=name, sha256=sha256)), Index())["base_model"]


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base_model(tmp_path_factory.mktemp("master"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, master: Path) -> Path:
    """A project with a model in `models/tiny`."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pyproject.toml").touch()
    shutil.copytree(master, tmp_path / "models" / "tiny")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_counts_by_the_files_that_training_reads_wherever_it_is(project: Path) -> None:
    seen = see("models/tiny")

    names = [file.name for file in seen.files]
    assert names == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert (seen.kind, seen.location) == ("input", "models/tiny")
    assert fetch(seen) == project / "models" / "tiny"

    moved = project / "elsewhere"
    shutil.copytree(project / "models" / "tiny", moved)
    for extra in ("README.md", "pytorch_model.bin", "model.onnx", "modeling_evil.py", "adapter_model.safetensors"):
        (moved / extra).write_text("irrelevant")
    assert see(str(moved)).digest == seen.digest

    (moved / "tokenizer_config.json").write_text("{}")
    assert see(str(moved)).digest != seen.digest


def test_a_package_is_found_without_being_imported(
    project: Path, monkeypatch: pytest.MonkeyPatch, master: Path
) -> None:
    package = project / "site" / "some_model"
    shutil.copytree(master, package / "weights")
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(project / "site")

    seen = see("package://some_model/weights")

    assert seen.digest == see("models/tiny").digest
    assert fetch(seen) == package / "weights"
    with pytest.raises(ConfigurationError, match=r"has no 'weight' \(there it has: __init__.py, weights\)"):
        see("package://some_model/weight")


def test_a_package_that_is_not_installed() -> None:
    with pytest.raises(ConfigurationError, match=r"base_model.name: .*no package 'not_installed_model' is installed"):
        see("package://not_installed_model/model")


def test_neither_folder_nor_hub_name(project: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'minilm' is no folder: there is none at .*owner/name\[@revision\]"):
        see("minilm")


def lose(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose("config.json"), r"has no config.json \(it holds: model.safetensors, tokenizer.json"),
        (lose("model.safetensors"), r"has no model.safetensors; a model folder holds config.json"),
        (pickle_only, r"weights are pickled \(pytorch_model.bin\).*never loaded.*\n  fix: convert it"),
        (lose("tokenizer.json"), r"has no tokenizer"),
        (write("config.json", "{"), r"config.json is not a JSON object"),
        (write("config.json", "[]"), r"config.json is not a JSON object"),
        (write("config.json", "{}"), r"config.json has no model_type"),
    ],
)
def test_a_folder_that_is_no_model(project: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(project / "models" / "tiny")

    with pytest.raises(ConfigurationError, match=message) as caught:
        see("models/tiny")
    assert caught.value.where == "base_model.name"
    assert caught.value.fix


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:5],
        lambda whole: whole[:1000],
        lambda whole: whole[:-1],
        lambda whole: whole + b"0",
        lambda whole: b"version https://git-lfs.github.com/spec/v1",
        lambda whole: (2).to_bytes(8, "little") + b"[]",
    ],
    ids=["empty", "5 bytes", "1000 bytes", "a byte short", "a byte more", "a pointer of Git LFS", "no tensors"],
)
def test_weights_damaged(project: Path, damage: Callable[[bytes], bytes]) -> None:
    weights = project / "models" / "tiny" / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))

    with pytest.raises(DataError, match="model.safetensors is damaged or cut short"):
        see("models/tiny")


def test_the_demanded_digest(project: Path) -> None:
    right = digest_file(project / "models" / "tiny" / "model.safetensors")

    assert see("models/tiny", right).digest == see("models/tiny").digest
    with pytest.raises(ConfigurationError, match=f"its sha256 is {right}, demanded is {'0' * 64}"):
        see("models/tiny", "0" * 64)


def test_a_file_that_changed_after_the_plan_is_not_trained_on(project: Path) -> None:
    seen = see("models/tiny")
    (project / "models" / "tiny" / "tokenizer.json").write_text("{}")

    with pytest.raises(DataError, match="tokenizer.json is not the file that was planned with"):
        fetch(seen)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A hub whose models are all at one commit; keeps what it was asked."""
    import huggingface_hub

    asked: list[tuple[str, str]] = []

    def model_info(self: object, repository: str, *, revision: str, timeout: float) -> Any:
        asked.append((repository, revision))
        return SimpleNamespace(sha=COMMIT)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    return asked


def test_a_hub_name_is_resolved_once(project: Path, hub: list[tuple[str, str]]) -> None:
    first = see("owner/name")
    other = see("owner/name@v2")

    assert first.location == f"owner/name@{COMMIT}"
    assert first.digest == other.digest
    assert first.files == ()
    assert see("owner/name") == first
    assert hub == [("owner/name", "main"), ("owner/name", "v2")]
    lock = project / "pipelines" / "base_models.lock.json"
    assert json.loads(lock.read_text()) == {"owner/name": COMMIT, "owner/name@v2": COMMIT}
    assert [path.name for path in lock.parent.iterdir()] == [lock.name]


def test_a_hub_name_with_a_commit_needs_no_hub(project: Path, hub: list[tuple[str, str]]) -> None:
    assert see(f"owner/name@{'a' * 40}").location == f"owner/name@{'a' * 40}"
    assert hub == []
    assert see(f"owner/name@{'b' * 40}").digest != see(f"owner/name@{'a' * 40}").digest


def test_a_folder_is_preferred_to_a_hub_name(project: Path, hub: list[tuple[str, str]]) -> None:
    see("models/tiny")
    assert hub == []


def test_a_hub_model_is_downloaded_at_its_commit_and_verified(
    project: Path, hub: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def snapshot_download(repository: str, *, revision: str, allow_patterns: list[str]) -> str:
        assert (repository, revision) == ("owner/name", COMMIT)
        assert "config.json" in allow_patterns
        assert not any(pattern.endswith((".bin", ".py", ".pt")) or pattern == "*" for pattern in allow_patterns)
        return str(project / "models" / "tiny")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    right = digest_file(project / "models" / "tiny" / "model.safetensors")

    assert fetch(see("owner/name", right)) == project / "models" / "tiny"
    with pytest.raises(DataError, match="model.safetensors is not the file that was planned with"):
        fetch(see("owner/name", "0" * 64))
    (project / "models" / "tiny" / "config.json").unlink()
    with pytest.raises(ConfigurationError, match="has no config.json"):
        fetch(see("owner/name"))


def hub_error(name: str) -> Exception:
    from huggingface_hub import errors

    if name == "offline":
        return errors.OfflineModeIsEnabled("offline mode is enabled")
    kind: type[Exception] = getattr(errors, name)
    error = kind.__new__(kind)
    Exception.__init__(error, "said the hub")
    return error


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (
            "RepositoryNotFoundError",
            ConfigurationError,
            "owner/name@main is neither a folder of this project nor a model",
        ),
        ("GatedRepoError", ConfigurationError, r"asks for permission.*\n  fix: .*HF_TOKEN"),
        ("RevisionNotFoundError", ConfigurationError, "has no such revision"),
        ("HTTPError", TransientError, "cannot be fetched from the hub: said the hub"),
        ("offline", TransientError, "offline mode is enabled"),
    ],
)
def test_hub_errors(
    project: Path, monkeypatch: pytest.MonkeyPatch, raised: str, kind: type[Exception], message: str
) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> None:
        raise hub_error(raised)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)

    with pytest.raises(kind, match=message):
        see("owner/name")
    with pytest.raises(kind):
        fetch(Observation("input", f"owner/name@{COMMIT}", "", ()))
    assert not list((project / "pipelines").iterdir())


def test_a_shard_that_is_gone_is_said_to_be_missing(project: Path) -> None:
    gone = ObservedFile("model-00002.safetensors", "anywhere", "0" * 64, 1)
    seen = see("models/tiny")

    with pytest.raises(DataError, match="model-00002.safetensors is not .* its sha256 is missing"):
        fetch(Observation(seen.kind, seen.location, seen.digest, (*seen.files, gone)))


def test_declaring_the_steps_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "sklearn", "datasets", "pandas", "matplotlib", "huggingface_hub", "dagster")
    code = (
        "import sys, assets.model, assets.evaluation, assets.tasks\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
