"""Data sets of the hub and folders of `datasets`: which files they are, and every way they can be wrong."""

# ruff: noqa: E501 - a message is easier to compare on one line

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from assets.config.pipeline import ClassificationTask, Pipeline, PretrainedModel, Source
from assets.config.sources import HuggingFace
from assets.errors import ConfigurationError, DataError, TransientError
from assets.raw.sources import observe
from assets.store.index import FileIndex
from assets.store.step import Observation
from tests.raw.conftest import Read

COMMITS = ("a" * 40, "b" * 40)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "project"
    (project / "pipelines").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    monkeypatch.chdir(project)
    return project


def look(name: str, **settings: str) -> Observation:
    config = Pipeline(
        task=ClassificationTask(labels=("ham", "spam")),
        source=Source(huggingface=HuggingFace(name=name, **settings)),
        base_model=PretrainedModel(name="owner/name"),
    )
    return observe(config, FileIndex(Path("files.json")))["source"]


def names(seen: Observation) -> list[str]:
    return [file.name for file in seen.files]


# Folders


@pytest.fixture(scope="module")
def _quiet() -> Iterator[None]:
    import datasets

    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture
def folder(root: Path, _quiet: None) -> Path:
    """A DatasetDict in `data/all`, whose part `train` has two files, and a Dataset in `data/one`."""
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["ham", "spam"])}
    )
    rows = {"text": ["one", "two", "three", "four"], "label": [0, 1, -1, 1]}
    whole = datasets.Dataset.from_dict(rows, features=features)
    test = datasets.Dataset.from_dict({"text": ["five"], "label": [0]}, features=features)
    parts = datasets.DatasetDict(train=whole, test=test)
    parts.save_to_disk(root / "data" / "all", num_shards={"train": 2, "test": 1})
    # Rows taken out by indices, and a cache beside the data.
    whole.select([3, 1]).save_to_disk(root / "data" / "one")
    (root / "data" / "one" / "cache-1.arrow").write_bytes(b"not of the data set")
    return root / "data"


def read(read_files: Read, seen: Observation) -> set[tuple[str | None, str | None]]:
    return read_files({file.name: Path(file.path).read_bytes() for file in seen.files}).pairs


def test_a_folder_of_datasets_is_read_with_names_of_classes(folder: Path, read_files: Read) -> None:
    seen = look("data/all")
    assert names(seen) == [
        "data/all/test/data-00000-of-00001.arrow",
        "data/all/train/data-00000-of-00002.arrow",
        "data/all/train/data-00001-of-00002.arrow",
    ]
    assert (seen.kind, seen.location) == ("source", "data/all")
    assert read(read_files, seen) == {
        ("one", "ham"), ("two", "spam"), ("three", None), ("four", "spam"), ("five", "ham"),
    }  # fmt: skip
    assert names(look("data/all", split="test")) == ["data/all/test/data-00000-of-00001.arrow"]


def test_a_folder_of_one_data_set(folder: Path, read_files: Read) -> None:
    seen = look(str(folder / "one"))
    assert names(seen) == ["data/one/data-00000-of-00001.arrow"]
    assert read(read_files, seen) == {("four", "spam"), ("two", "spam")}


def write(path: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_text(text)


@pytest.mark.parametrize(
    ("damage", "settings", "message"),
    [
        (lambda folder: None, {"split": "dev"}, r"^source\.huggingface\.split: there is no split 'dev': it has train, test\n"),
        (lambda folder: None, {"name": "data/one", "split": "train"}, r"'train': the folder is one data set without splits\n  fix: leave"),
        (lambda folder: None, {"config": "en"}, r"^source\.huggingface\.config: a folder has no configurations, and 'en' is set"),
        (lambda folder: (folder / "all" / "test" / "state.json").unlink(), {}, r"no folder of save_to_disk: there is neither .*\n  fix: write it with save_to_disk"),
        (lambda folder: (folder / "all" / "train" / "data-00001-of-00002.arrow").unlink(), {}, r"state\.json tells of data-00001-of-00002\.arrow, and it is not there"),
        (write("all/train/state.json", "{"), {}, r"the file is damaged: it has no list '_data_files'"),
        (write("all/train/state.json", '{"_data_files": [{"filename": "../../secret"}]}'), {}, r"'\.\./\.\./secret' is no name of a file in this folder"),
        (write("all/dataset_dict.json", '{"splits": ["../one"]}'), {}, r"'\.\./one' is no name of a file"),
        (write("all/dataset_dict.json", "[]"), {}, r"the file is damaged: it has no list 'splits'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_folder_is_said(
    folder: Path, damage: Callable[[Path], object], settings: dict[str, str], message: str
) -> None:
    damage(folder)
    with pytest.raises((ConfigurationError, DataError), match=message) as caught:
        look(**{"name": "data/all", **settings})
    assert caught.value.fix


def test_neither_folder_nor_hub_name(root: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'imdb' is no folder: there is none at .*owner/name\[@revision\]"):
        look("imdb")


# The hub


@dataclass
class Hub:
    """A hub with one data set `owner/name`, and its cache on this machine.

    Attributes:
        cache: folder of what was downloaded.
        commits: files of each commit, the newest last.
        revisions: what a branch or tag stands for.
        offline: whether it cannot be reached.
        downloaded: what was asked for, and was not in the cache.
    """

    cache: Path
    commits: dict[str, dict[str, str]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    offline: bool = False
    downloaded: list[str] = field(default_factory=list)

    def push(self, files: dict[str, str]) -> None:
        commit = COMMITS[len(self.commits)]
        self.commits[commit], self.revisions["main"] = files, commit

    def snapshot_download(self, repository: str, *, repo_type: str, revision: str, allow_patterns: list[str]) -> str:
        """As the library's: without a network, what the revision meant last and is here."""
        from huggingface_hub.errors import LocalEntryNotFoundError

        assert (repository, repo_type) == ("owner/name", "dataset")
        assert not any(pattern.endswith(".py") or pattern == "*" for pattern in allow_patterns)
        known = self.cache / "refs.json"
        refs = json.loads(known.read_text()) if known.exists() else {}
        if not self.offline and revision not in COMMITS:
            refs[revision] = self.revisions[revision]
            self.cache.mkdir(exist_ok=True)
            known.write_text(json.dumps(refs))
        commit = refs.get(revision, revision)
        folder = self.cache / commit
        wanted = [
            path for path in self.commits.get(commit, {}) for each in allow_patterns if fnmatch.fnmatchcase(path, each)
        ]
        missing = [path for path in wanted if not (folder / path).exists()]
        if self.offline and (missing or not folder.exists()):
            raise LocalEntryNotFoundError("no network, and not in the cache")
        for path in missing:
            self.downloaded.append(path)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(self.commits[commit][path])
        return str(folder)

    def list_repo_files(self, repository: str, *, repo_type: str, revision: str) -> list[str]:
        from huggingface_hub.errors import OfflineModeIsEnabled

        assert (repository, repo_type) == ("owner/name", "dataset")
        if self.offline:
            raise OfflineModeIsEnabled("offline mode is enabled")
        return list(self.commits[revision])


@pytest.fixture
def hub(root: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    import huggingface_hub

    made = Hub(root / "cache")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
    monkeypatch.setattr(huggingface_hub, "list_repo_files", made.list_repo_files)
    return made


FILES = {
    "README.md": "---\nlicense: mit\n---\n# Messages\n",
    "data/train-00000-of-00001.csv": "text,label\none,ham\n",
    "data/validation-00000-of-00001.csv": "text,label\ntwo,spam\n",
    "data/unlabelled.csv": "text,label\n",
    "name.py": "raise SystemExit('run')",
    "dataset_infos.json": "{}",
    ".gitattributes": "",
    "picture.png": "",
}
README = "---\nconfigs:\n{}\n---\n"
URL = "hf://datasets/owner/name/"


def test_a_data_set_of_the_hub_is_its_files_at_the_commit_that_its_revision_means(hub: Hub, read_files: Read) -> None:
    hub.push(FILES)
    seen = look("owner/name")
    assert names(seen) == [f"{URL}data/train-00000-of-00001.csv", f"{URL}data/validation-00000-of-00001.csv"]
    assert read(read_files, seen) == {("one", "ham"), ("two", "spam")}
    assert not any(path.endswith(".py") for path in hub.downloaded)

    hub.push({**FILES, "README.md": "# Only this changed\n"})
    assert look("owner/name").digest == seen.digest
    hub.revisions["v1"] = COMMITS[0]
    hub.commits[COMMITS[1]] = {**FILES, "data/train-00000-of-00001.csv": "text,label\nother,ham\n"}
    (hub.cache / COMMITS[1] / "data" / "train-00000-of-00001.csv").unlink()
    assert look("owner/name").digest != seen.digest
    assert look("owner/name@v1").digest == look(f"owner/name@{COMMITS[0]}").digest == seen.digest


def test_only_files_that_are_read_are_downloaded(hub: Hub) -> None:
    hub.push(FILES)
    assert names(look("owner/name", split="validation")) == [f"{URL}data/validation-00000-of-00001.csv"]
    assert hub.downloaded == ["README.md", "data/validation-00000-of-00001.csv"]


def test_without_a_network_it_is_what_it_was_last(hub: Hub) -> None:
    hub.push(FILES)
    hub.offline = True
    with pytest.raises(
        TransientError, match=r"^source\.huggingface\.name: owner/name@main cannot be fetched from the hub"
    ):
        look("owner/name")
    hub.offline = False
    seen = look("owner/name")
    hub.offline = True
    assert look("owner/name") == seen
    hub.push({**FILES, "data/test-0.csv": "text,label\n"})
    assert look("owner/name") == seen


def test_without_a_network_some_files_are_not_taken_for_all(hub: Hub) -> None:
    hub.push(FILES)
    seen = look("owner/name", split="validation")
    hub.offline = True
    assert look("owner/name", split="validation") == seen
    with pytest.raises(TransientError, match="cannot be fetched from the hub"):
        look("owner/name")


def test_a_network_that_fails_after_the_first_answer(hub: Hub) -> None:
    hub.push(FILES)
    hub.snapshot_download("owner/name", repo_type="dataset", revision="main", allow_patterns=["README.md"])
    hub.offline = True
    with pytest.raises(TransientError, match="offline mode is enabled"):
        look("owner/name")


@pytest.mark.parametrize(
    ("declared", "settings", "found"),
    [
        ("- config_name: default\n  data_files: a.csv", {}, ["a.csv"]),
        ("- data_files: ['*.csv']", {}, ["a.csv", "b.csv"]),
        ("- config_name: en\n  data_files:\n  - split: train\n    path: a.csv\n  - split: dev\n    path: [b.csv, c/x.jsonl]", {"split": "dev"}, ["b.csv", "c/x.jsonl"]),
        ("- config_name: en\n  data_files: {train: a.csv, dev: [b.csv]}", {"split": "dev"}, ["b.csv"]),
        # A word in a path tells its split, and then files without one are of none.
        ("- config_name: en\n  data_dir: c", {}, ["c/test.csv"]),
        ("- data_files: '**/*.csv'", {}, ["a.csv", "b.csv", "c/test.csv"]),
        ("- config_name: en\n  data_dir: c\n  data_files: '*.jsonl'", {}, ["c/x.jsonl"]),
        ("- {config_name: en, data_files: a.csv}\n- {config_name: default, data_files: b.csv}", {}, ["b.csv"]),
        ("- {config_name: en, data_files: a.csv}\n- {config_name: default, data_files: b.csv}", {"config": "en"}, ["a.csv"]),
    ],
)  # fmt: skip
def test_configurations_that_the_readme_declares(
    hub: Hub, declared: str, settings: dict[str, str], found: list[str]
) -> None:
    files = dict.fromkeys(["a.csv", "b.csv", "c/x.jsonl", "c/test.csv"], "x")
    hub.push({**files, "README.md": README.format(declared)})
    assert names(look("owner/name", **settings)) == [URL + path for path in found]


def test_configurations_that_are_folders(hub: Hub) -> None:
    hub.push(dict.fromkeys(["en/train/0000.csv", "en/test/0000.csv", "de/train/0000.csv"], "x"))
    assert names(look("owner/name", config="en", split="train")) == [f"{URL}en/train/0000.csv"]
    with pytest.raises(ConfigurationError, match=r"there is no configuration 'fr'; folders: de, en"):
        look("owner/name", config="fr")


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        ({"name.py": "", "README.md": ""}, {}, r"^source\.huggingface\.name: owner/name has no CSV, .*only a loading script, and code of others is never run\)\n  fix: .*owner/name@refs/convert/parquet"),
        ({"README.md": "", "a.png": ""}, {}, r"has no CSV, JSON, Parquet or Arrow files \(it has 2 files\)"),
        (FILES, {"split": "dev"}, r"there is no split 'dev': it has train, validation\n  fix: name one of them"),
        ({**FILES, "README.md": "---\n- [\n---\n"}, {}, r"the YAML at the head of README\.md is broken"),
        ({"a.csv": "", "README.md": README.format("- {config_name: en, data_files: a.csv}\n- {config_name: de, data_files: a.csv}")}, {}, r"owner/name: it has several configurations; it has en, de"),
        ({"a.csv": "", "README.md": README.format("- {config_name: en, data_files: a.csv}")}, {"config": "de"}, r"there is no configuration 'de'; it has en"),
        ({"a.csv": "", "README.md": README.format("- data_files: b.csv")}, {}, r"its README declares 'b\.csv', and no file is called so"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_data_set_is_said(
    hub: Hub, files: dict[str, str], settings: dict[str, str], message: str
) -> None:
    hub.push(files)
    with pytest.raises((ConfigurationError, DataError), match=message) as caught:
        look("owner/name", **settings)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (
            "RepositoryNotFoundError",
            ConfigurationError,
            "owner/name@main is neither a folder of this project nor a data",
        ),
        ("GatedRepoError", ConfigurationError, r"asks for permission(.|\n)*HF_TOKEN"),
        ("RevisionNotFoundError", ConfigurationError, "has no such revision"),
        ("HTTPError", TransientError, "cannot be fetched from the hub: said the hub"),
    ],
)
def test_hub_errors(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, raised: str, kind: type[Exception], message: str
) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    def fail(*_: Any, **__: Any) -> None:
        of: type[Exception] = getattr(errors, raised)
        error = of.__new__(of)
        Exception.__init__(error, "said the hub")
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(kind, match=message):
        look("owner/name")
