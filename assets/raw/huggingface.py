"""Data sets of the Hugging Face hub, and folders that `datasets` wrote, as the files that they consist of.

Files are data only: CSV, JSON, Parquet, Arrow. A loading script of a data set is never downloaded, still less run.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from assets.config.home import home, project_root
from assets.errors import ConfigurationError, DataError, FreshtuneError, TransientError, explained
from assets.raw.kinds import COMPRESSED, SUFFIXES
from assets.store.step import FileIndex, ObservedFile
from assets.store.storage import LocalStorage

if TYPE_CHECKING:
    from assets.config.sources import HuggingFace

NAME = "source.huggingface.name"
HUB_NAME = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")
ACCEPTED = "accepted: a folder of save_to_disk, or a hub name owner/name[@revision]"
SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""Words in a path that tell the split of a file where the data set does not declare it, as `datasets` has them."""
FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---", re.DOTALL)


def look(source: HuggingFace, index: FileIndex) -> list[ObservedFile]:
    """Look at the files of a data set.

    Args:
        source: what is configured.
        index: digests of files that were looked at before.

    Returns:
        A folder's files are called by their path, those of the hub `hf://datasets/OWNER/NAME/PATH` without the commit,
        so that a commit that leaves a file as it is changes nothing.

    Raises:
        ConfigurationError: there is no such data set, configuration or split, or the hub asks for permission.
        DataError: the folder is damaged.
        TransientError: the hub cannot be reached, and the data set is not in its cache.
    """
    folder = project_root() / source.name
    if folder.is_dir():
        return _in_folder(source, folder, index)
    match = HUB_NAME.fullmatch(source.name)
    if match is None:
        raise ConfigurationError(
            f"{source.name!r} is no folder: there is none at {folder} ({ACCEPTED})", where=NAME, fix="correct the name"
        )
    repository = match["repository"]
    snapshot, held = _snapshot(repository, match["revision"] or "main")
    wanted = _chosen(source, snapshot, held)
    _download(repository, snapshot.name, wanted)
    return [_seen(f"hf://datasets/{repository}/{path}", snapshot / path, index) for path in wanted]


# Folders


def _in_folder(source: HuggingFace, folder: Path, index: FileIndex) -> list[ObservedFile]:
    if source.config is not None:
        raise ConfigurationError(
            f"a folder has no configurations, and {source.config!r} is set",
            where="source.huggingface.config",
            fix="leave it out, or name the folder of that configuration",
        )
    parts = {"": folder}
    if (folder / "dataset_dict.json").is_file():
        splits = _told(folder / "dataset_dict.json", "splits")
        parts = {str(split): folder / _plain(str(split), folder) for split in splits}
    if source.split is not None:
        if source.split not in parts:
            raise _no_split(source.split, [split for split in parts if split])
        parts = {source.split: parts[source.split]}
    return [_seen(_name(path), path, index) for part in parts.values() for path in _tables(source.name, part)]


def _tables(name: str, folder: Path) -> list[Path]:
    """Arrow files of one data set; others beside them (caches of `datasets`) are none of its."""
    if not (folder / "state.json").is_file():
        raise ConfigurationError(
            f"{name!r} is no folder of save_to_disk: there is neither dataset_dict.json nor state.json in {folder}",
            where=NAME,
            fix="write it with save_to_disk; CSV, JSON, Parquet and Arrow files as such go under source.files",
        )
    names = [_plain(str(each["filename"]), folder) for each in _told(folder / "state.json", "_data_files")]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"state.json tells of {', '.join(missing)}, and it is not there",
            where=str(folder),
            fix="copy the whole folder, or write it again with save_to_disk",
        )
    return [folder / name for name in names]


def _told(path: Path, field: str) -> list[Any]:
    try:
        return list(json.loads(path.read_bytes())[field])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the file is damaged: it has no list {field!r}", where=str(path), fix="write the folder again"
        ) from error


def _plain(name: str, folder: Path) -> str:
    """A name out of a file; it must not lead out of the folder."""
    if name != PurePosixPath(name).name or name in {"", "..", "."}:
        raise DataError(
            f"{name!r} is no name of a file in this folder", where=str(folder), fix="write the folder again"
        )
    return name


def _name(path: Path) -> str:
    root = project_root()
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _seen(name: str, path: Path, index: FileIndex) -> ObservedFile:
    try:
        return ObservedFile(
            name=name, path=str(path), sha256=index.sha256(path, strictly=True), size=path.stat().st_size
        )
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror or error}", where=name, fix="make it readable for the user who runs this"
        ) from error


def _no_split(split: str, splits: Sequence[str]) -> ConfigurationError:
    held = f"it has {', '.join(splits)}" if splits else "the folder is one data set without splits"
    fix = "name one of them, or leave it out to read all" if splits else "leave it out"
    return ConfigurationError(f"there is no split {split!r}: {held}", where="source.huggingface.split", fix=fix)


# The hub


def _snapshot(repository: str, revision: str) -> tuple[Path, list[str]]:
    """Folder of the commit that a revision means now, and the files that the commit has.

    Without a network it is the commit that it meant when the hub was asked last.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # of httpx or httpx2, by its version

    try:
        folder = Path(
            snapshot_download(repository, repo_type="dataset", revision=revision, allow_patterns=["README.md"])
        )
        return folder, _listing(repository, folder.name)
    except (HTTPError, OSError) as error:
        said = explained(error, home().path) if isinstance(error, OSError) else None
        raise said or _hub_error(f"{repository}@{revision}", error) from error


def _listing(repository: str, commit: str) -> list[str]:
    """Every file of a commit. It is kept: the files that happen to be in the hub's cache may be some of them only."""
    from huggingface_hub import list_repo_files

    kept, name = LocalStorage(home().path / "spool" / "hub"), f"{repository.replace('/', '--')}/{commit}.json"
    try:
        found: list[str] = json.loads(kept.read(name))
    except (FileNotFoundError, ValueError):
        found = sorted(list_repo_files(repository, repo_type="dataset", revision=commit))
        kept.replace(name, json.dumps(found).encode())
    return found


def _download(repository: str, commit: str, paths: Sequence[str]) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # of httpx or httpx2, by its version

    patterns = [re.sub(r"([*?\[])", r"[\1]", path) for path in paths]
    try:
        snapshot_download(repository, repo_type="dataset", revision=commit, allow_patterns=patterns)
    except (HTTPError, OSError) as error:
        raise _hub_error(f"{repository}@{commit}", error) from error


def _chosen(source: HuggingFace, snapshot: Path, held: Sequence[str]) -> list[str]:
    """Paths of the files that the configuration and the split consist of."""
    splits = _declared(source, snapshot, held) or _by_name(source, held)
    if source.split is not None and source.split not in splits:
        raise _no_split(source.split, sorted(splits))
    chosen = splits if source.split is None else {source.split: splits[source.split]}
    return sorted({path for paths in chosen.values() for path in paths})


def _declared(source: HuggingFace, snapshot: Path, held: Sequence[str]) -> dict[str, list[str]]:
    """Files of each split, as the data set's README declares them; nothing where it does not."""
    from fsspec.utils import glob_translate  # as `datasets` understands patterns

    configs = _configs(snapshot)
    if not configs:
        return {}
    names = list(configs)
    name = source.config or (names[0] if len(names) == 1 else "default")
    if name not in configs:
        what = f"there is no configuration {source.config!r}" if source.config else "it has several configurations"
        raise ConfigurationError(
            f"{source.name}: {what}; it has {', '.join(names)}",
            where="source.huggingface.config",
            fix="name one of them",
        )
    base = str(configs[name].get("data_dir") or "")
    declared = configs[name].get("data_files")
    if declared is None:
        return _by_words([path for path in held if _is_data(path) and PurePosixPath(path).is_relative_to(base)])
    splits: defaultdict[str, list[str]] = defaultdict(list)
    for split, patterns in _patterns(declared):
        for pattern in patterns:
            full = (PurePosixPath(base) / pattern).as_posix()
            matches = re.compile(glob_translate(full)).fullmatch
            found = [path for path in held if path == full or matches(path)]
            if not found:
                raise DataError(
                    f"its README declares {pattern!r}, and no file is called so",
                    where=source.name,
                    fix="name a revision that has it (owner/name@revision), or tell the data set's owner",
                )
            splits[split] += found
    return dict(splits)


def _configs(snapshot: Path) -> dict[str, Mapping[str, Any]]:
    path = snapshot / "README.md"
    head = FRONT_MATTER.match(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
    try:
        told = yaml.safe_load(head[1]) if head else None
    except yaml.YAMLError as error:
        raise DataError(
            f"the YAML at the head of README.md is broken: {' '.join(str(error).split())[:200]}",
            where=str(path),
            fix="name a revision whose README is whole (owner/name@revision)",
        ) from error
    listed = told.get("configs") if isinstance(told, dict) else None
    return {str(each.get("config_name", "default")): each for each in listed or () if isinstance(each, dict)}


def _patterns(declared: Any) -> list[tuple[str, list[str]]]:
    """Split and patterns, in all forms in which `data_files` may be written."""
    if isinstance(declared, str):
        return [("train", [declared])]
    if isinstance(declared, dict):
        return [(str(split), [paths] if isinstance(paths, str) else list(paths)) for split, paths in declared.items()]
    if all(isinstance(each, str) for each in declared):
        return [("train", list(declared))]
    return [
        (str(each["split"]), [each["path"]] if isinstance(each["path"], str) else list(each["path"]))
        for each in declared
    ]


def _by_name(source: HuggingFace, held: Sequence[str]) -> dict[str, list[str]]:
    """Files of each split by the words in their paths; those of a configuration lie in a folder of its name."""
    data = [path for path in held if _is_data(path)]
    if source.config is not None:
        folders = sorted({PurePosixPath(path).parts[0] for path in data if "/" in path})
        data = [path for path in data if PurePosixPath(path).is_relative_to(source.config)]
        if not data:
            raise ConfigurationError(
                f"{source.name}: there is no configuration {source.config!r}; folders: {', '.join(folders) or 'none'}",
                where="source.huggingface.config",
                fix="correct it, or leave it out",
            )
    if not data:
        scripts = [path for path in held if path.endswith(".py")]
        has = "only a loading script, and code of others is never run" if scripts else f"it has {len(held)} files"
        raise ConfigurationError(
            f"{source.name} has no CSV, JSON, Parquet or Arrow files ({has})",
            where=NAME,
            fix=f"name the branch into which the hub converts data sets: {source.name.partition('@')[0]}"
            "@refs/convert/parquet",
        )
    return _by_words(data)


def _by_words(paths: Sequence[str]) -> dict[str, list[str]]:
    splits: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        words = set(re.split(r"[-._ 0-9/]+", path.lower()))
        split = next((split for split, names in SPLITS.items() if words & set(names)), None)
        if split is not None:
            splits[split].append(path)
    return dict(splits) or {"train": list(paths)}


def _is_data(path: str) -> bool:
    pure = PurePosixPath(path)
    suffix = PurePosixPath(pure.stem).suffix if pure.suffix in COMPRESSED else pure.suffix
    # What a data set says of itself, and what `datasets` and git keep beside it.
    about = {"dataset_infos.json", "dataset_info.json", "state.json", "dataset_dict.json"}
    return suffix.lower() in SUFFIXES and pure.name not in about and not any(part[0] in "._" for part in pure.parts)


def _hub_error(what: str, error: Exception) -> FreshtuneError:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    reasons: Mapping[type[Exception], tuple[str, str]] = {
        GatedRepoError: ("asks for permission", "accept its terms on the hub and set HF_TOKEN"),
        RepositoryNotFoundError: (
            "is neither a folder of this project nor a data set of the hub",
            "correct the name; a private one needs HF_TOKEN",
        ),
        RevisionNotFoundError: ("has no such revision", "correct what stands behind the @"),
    }
    for kind, (said, fix) in reasons.items():
        if isinstance(error, kind):
            return ConfigurationError(f"{what} {said} ({ACCEPTED})", where=NAME, fix=fix)
    return TransientError(
        f"{what} cannot be fetched from the hub: {' '.join(str(error).split())}",
        where=NAME,
        fix="try again with a network, or name a local folder",
    )
