"""The pretrained model to start from: a package's folder, any folder, or a model of the Hugging Face hub.

Only files that training reads count: `config.json`, safetensors weights and the tokenizer's files. A hub name is
resolved once to a commit, which is written down in `pipelines/base_models.lock.json`; later plans need no network, and
the files are downloaded where training runs.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from assets.config.home import project_root
from assets.errors import ConfigurationError, DataError, FreshtuneError, TransientError
from assets.store.digests import digest_file, digest_json
from assets.store.packages import SCHEME, package_path
from assets.store.step import FileIndex, Observation, ObservedFile

FIELD = "base_model.name"
HUB_NAME = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
ACCEPTED = "accepted: a folder, package://NAME/path, or a hub name owner/name[@revision]"
WEIGHTS = ("model.safetensors", "model-*.safetensors")
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "*.model", "*.spm")
RELEVANT = (
    "config.json",
    *WEIGHTS,
    "model.safetensors.index.json",
    *TOKENIZERS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def observe(config: Any, index: FileIndex) -> dict[str, Observation]:
    """See which pretrained model a pipeline starts from, without loading it.

    Args:
        config: the pipeline's configuration.
        index: remembers digests of files.

    Returns:
        `base_model`. For a hub name its files are empty, or only what `base_model.sha256` demands of
        `model.safetensors`; its location is `owner/name@commit`.

    Raises:
        ConfigurationError: there is no such package, folder or hub model, it is not a model that can be used, or its
            digest is not the configured one.
        DataError: its weights are damaged.
        TransientError: the hub cannot be reached.
    """
    name, sha256 = config.base_model.name, config.base_model.sha256
    folder = package_path(name, FIELD) if name.startswith(SCHEME) else project_root() / name
    if folder.is_dir():
        return {"base_model": _seen_folder(name, folder, sha256, index)}
    match = HUB_NAME.fullmatch(name)
    if match is None:
        raise ConfigurationError(
            f"{name!r} is no folder: there is none at {folder} ({ACCEPTED})", where=FIELD, fix="correct the name"
        )
    repository = match["repository"]
    commit = _commit(name, repository, match["revision"] or "main")
    weights = "model.safetensors"
    expected = [ObservedFile(weights, f"hf://{repository}@{commit}/{weights}", sha256, 0)] if sha256 else []
    digest = digest_json({"repository": repository, "commit": commit})
    return {"base_model": Observation("input", f"{repository}@{commit}", digest, tuple(expected))}


def fetch(seen: Observation) -> Path:
    """Folder of an observed model, downloaded if it comes from the hub, its files verified.

    Raises:
        DataError: a file is not the one that was observed or demanded.
        ConfigurationError: the hub no longer has it.
        TransientError: the hub cannot be reached.
    """
    configuration = next((file for file in seen.files if file.name == "config.json"), None)
    folder = Path(configuration.path).parent if configuration else _download(seen.location)
    for file in seen.files:
        found = digest_file(folder / file.name) if (folder / file.name).is_file() else "missing"
        if found != file.sha256:
            raise DataError(
                f"{file.name} is not the file that was planned with: its sha256 is {found}, not {file.sha256}",
                where=seen.location,
                fix="run again if the file was changed on purpose, else restore it",
            )
    return folder


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _seen_folder(name: str, folder: Path, sha256: str | None, index: FileIndex) -> Observation:
    held = sorted(path.name for path in folder.iterdir() if path.is_file())
    _check_files(name, folder, held)
    files = tuple(
        ObservedFile(file, str(folder / file), index.sha256(folder / file), (folder / file).stat().st_size)
        for file in held
        if _matches(file, RELEVANT)
    )
    if sha256 is not None:
        found = {file.name: file.sha256 for file in files}.get("model.safetensors", "none: there is no such file")
        if found != sha256:
            raise ConfigurationError(
                f"model.safetensors of {name!r} is not the demanded file: its sha256 is {found}, demanded is {sha256}",
                where="base_model.sha256",
                fix="get the right model, or correct the digest if you trust this one",
            )
    return Observation("input", name, digest_json({file.name: file.sha256 for file in files}), files)


def _check_files(name: str, folder: Path, held: list[str]) -> None:
    """Refuse a folder that holds no usable model, saying what is missing."""
    needed = "a model folder holds config.json, *.safetensors weights and a tokenizer (tokenizer.json or a vocabulary)"

    def refuse(what: str, fix: str) -> NoReturn:
        raise ConfigurationError(f"{name!r} is no model folder: {what}; {needed} (in {folder})", where=FIELD, fix=fix)

    if "config.json" not in held:
        refuse(f"it has no config.json (it holds: {', '.join(held[:8]) or 'no files'})", "name the folder of a model")
    try:
        model_type = json.loads((folder / "config.json").read_bytes()).get("model_type")
    except (ValueError, AttributeError):
        refuse("its config.json is not a JSON object", "restore config.json")
    if not isinstance(model_type, str):
        refuse("its config.json has no model_type", "use a model that transformers saved (save_pretrained)")
    weights = [file for file in held if _matches(file, WEIGHTS)]
    if not weights:
        pickled = [file for file in held if _matches(file, PICKLED)]
        if pickled:
            refuse(
                f"its weights are pickled ({', '.join(pickled)}), and pickle can run code, so it is never loaded",
                "convert it where you trust it: load it with transformers and save_pretrained() it as safetensors",
            )
        refuse("it has no model.safetensors", "download the model's weights too")
    if not any(_matches(file, TOKENIZERS) for file in held):
        refuse("it has no tokenizer", "save the tokenizer beside the model: tokenizer.save_pretrained(folder)")
    for file in weights:
        _check_weights(folder / file)


def _check_weights(path: Path) -> None:
    """Read only the header, which says how long the file must be.

    The format is 8 bytes with the length of a JSON header, the header, and the tensors at the offsets that it tells
    (https://huggingface.co/docs/safetensors). The library would import numpy for it, in every plan.
    """
    held = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length < held else b""
    try:
        tensors = [tensor for name, tensor in json.loads(header).items() if name != "__metadata__"]
        due = 8 + length + max(tensor["data_offsets"][1] for tensor in tensors)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        what = "it has no safetensors header"
    else:
        what = "" if held == due else f"it has {held:,} bytes and its header tells of {due:,}"
    if what:
        raise DataError(f"{path.name} is damaged or cut short: {what}", where=str(path), fix="download the model again")


def _commit(name: str, repository: str, revision: str) -> str:
    """The commit that a hub name stands for: as written down, else resolved and written down."""
    if COMMIT.fullmatch(revision):
        return revision
    path = project_root() / "pipelines" / "base_models.lock.json"
    locked: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if name not in locked:
        locked[name] = _resolve(repository, revision)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(locked, sort_keys=True, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    return locked[name]


def _resolve(repository: str, revision: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # of httpx or httpx2, by its version

    try:
        commit: str | None = HfApi().model_info(repository, revision=revision, timeout=30).sha
    except (HTTPError, OSError) as error:
        raise _hub_error(f"{repository}@{revision}", error) from error
    assert commit is not None
    return commit


def _download(location: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined] # of httpx or httpx2, by its version

    repository, _, commit = location.rpartition("@")
    try:
        folder = Path(snapshot_download(repository, revision=commit, allow_patterns=list(RELEVANT)))
    except (HTTPError, OSError) as error:
        raise _hub_error(location, error) from error
    _check_files(location, folder, sorted(path.name for path in folder.iterdir() if path.is_file()))
    return folder


def _hub_error(location: str, error: Exception) -> FreshtuneError:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    reasons: Mapping[type[Exception], tuple[str, str]] = {
        GatedRepoError: ("asks for permission", "accept its terms on the hub and set HF_TOKEN"),
        RepositoryNotFoundError: ("is neither a folder of this project nor a model of the hub", "correct the name"),
        RevisionNotFoundError: ("has no such revision", "correct what stands behind the @"),
    }
    for kind, (what, fix) in reasons.items():
        if isinstance(error, kind):
            return ConfigurationError(f"{location} {what} ({ACCEPTED})", where=FIELD, fix=fix)
    return TransientError(
        f"{location} cannot be fetched from the hub: {error}",
        where=FIELD,
        fix="try again with a network, or name a local folder",
    )
