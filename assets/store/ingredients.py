"""What a key is made of: code, the step's part of the configuration, versions of libraries, inputs."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import BaseModel

from assets.config.pipeline import Pipeline
from assets.config.section import of_the_machine
from assets.errors import ConfigurationError
from assets.store.code import code_digest
from assets.store.code_index import code_pieces
from assets.store.digests import digest_json
from assets.store.step import Observation, ObservedFile, Step

LOCK = "FRESHTUNE_LOCK"
"""Environment variable with the constraints file of the image that runs the steps, where that is another image."""

BEFORE = "before"
"""Input of a step that remembers: content digest of what it stood for."""
SAMPLE = "run.sample"
"""Path of the one argument that is the run's and not the configuration's."""


@dataclass(frozen=True)
class Made:
    """What a key is digested from, and what was observed for it.

    Attributes:
        ingredients: `step`, `code` (piece → digest), `configuration` (dotted path → value), `environment` (library →
            version), `inputs` (name → digest; steps and what lies outside the store).
        externals: what was observed of each input outside the store.
        files: their files, name → [sha256, bytes].
        arguments: what the function is given beside them.
    """

    ingredients: dict[str, Any]
    externals: Mapping[str, Observation]
    files: dict[str, dict[str, list[Any]]]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """The key."""
        return digest_json({**self.ingredients, "code": code_digest(self.ingredients["code"])})


def made_of(
    step: Step,
    config: Pipeline,
    sample: int | None,
    inputs: Mapping[str, str],
    observed: Mapping[str, Observation],
    before: str | None = None,
) -> Made:
    """What the key of a step is made of.

    Args:
        step: the step.
        config: the pipeline's configuration.
        sample: rows of a sample, or None.
        inputs: content digest of each input step.
        observed: what it reads from outside the store.
        before: content digest of what the step stood for, where it is to remember that.
    """
    earlier = {} if before is None else {BEFORE: before}
    return Made(
        ingredients={
            "step": step.name,
            "code": _code(step, config),
            "configuration": _settings(step, config, sample),
            "environment": versions(libraries(step, config)),
            "inputs": {**inputs, **{name: seen.digest for name, seen in observed.items()}, **earlier},
        },
        externals=observed,
        files={name: {file.name: [file.sha256, file.size] for file in seen.files} for name, seen in observed.items()},
        arguments={name: value for name, (_, value) in arguments_of(step, config, sample).items()},
    )


@dataclass
class Making:
    """What makes parts of a step's result: code and libraries, looked at once for all parts of one function.

    A step asks for as many parts as there are shards, and each look goes over every file of the package.
    """

    _seen: dict[tuple[str, tuple[str, ...]], tuple[dict[str, str], dict[str, str]]] = field(default_factory=dict)
    _looking: Lock = field(default_factory=Lock)

    def of(self, function: str, environment: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Pieces of code that a function reaches, and versions of libraries."""
        with self._looking:
            asked = (function, tuple(environment))
            if asked not in self._seen:
                self._seen[asked] = code_pieces([function]), versions(environment)
            return self._seen[asked]


def made_part(
    function: str,
    given: Mapping[str, Any],
    inputs: Mapping[str, str],
    files: Sequence[ObservedFile],
    environment: Sequence[str],
    making: Making,
) -> Made:
    """What the key of a part of a step's result is made of: see `Build.part`. Of files only the bytes count."""
    code, libraries = making.of(function, environment)
    digests = {"files": [file.sha256 for file in files]} if files else {}
    return Made(
        ingredients={
            "step": function,
            "code": code,
            "configuration": {**given, **digests},
            "environment": libraries,
            "inputs": dict(inputs),
        },
        externals={"files": Observation("source", "", digest_json(digests), tuple(files))} if files else {},
        files={},
    )


def code_version(step: Step, config: Pipeline, sample: int | None) -> str:
    """Digest of a step's code, configuration and environment, 16 hexadecimal digits."""
    return digest_json([_code(step, config), _settings(step, config, sample), versions(libraries(step, config))])[:16]


def libraries(step: Step, config: Pipeline) -> tuple[str, ...]:
    """Libraries whose versions are part of a step's key."""
    return (*step.environment, *(step.libraries(config) if step.libraries else ()))


def roots(step: Step, config: Pipeline) -> tuple[str, ...]:
    """Where the code that a step's function reaches begins."""
    return (step.function, *(step.roots(config) if step.roots else ()))


def arguments_of(step: Step, config: Pipeline, sample: int | None) -> dict[str, tuple[str, Any]]:
    """A step's part of the configuration: argument name → (dotted path, plain JSON value)."""
    found: dict[str, tuple[str, Any]] = {}
    for path in step.configuration:
        if path == SAMPLE:
            found["sample"] = (path, sample)
            continue
        value: Any = config
        for part in path.split("."):
            value = getattr(value, part)
        plain = _plain(value)
        if isinstance(value, BaseModel) and "." not in path:
            found |= {name: (f"{path}.{name}", plain[name]) for name in plain}
        else:
            found[path.rsplit(".", 1)[-1]] = (path, plain)
    return found


def versions(environment: Sequence[str]) -> dict[str, str]:
    """Versions of libraries, cut to the granularity declared, without importing them.

    They are those of the lock file of the image that runs the steps where `FRESHTUNE_LOCK` names one, else those
    installed.

    Raises:
        ConfigurationError: if a library is not installed, or the lock file does not pin it.
    """
    found = {}
    for declared in environment:
        name, _, granularity = declared.partition(":")
        parts = _version(name).split("+")[0].split(".")
        found[name] = ".".join(parts[: {"major": 1, "minor": 2}.get(granularity, len(parts))])
    return found


def _version(library: str) -> str:
    lock = os.environ.get(LOCK)
    if lock is None:
        return _installed(library)
    pinned = re.search(rf"^{re.escape(library)}==(\S+)$", Path(lock).read_text(encoding="utf-8"), re.MULTILINE)
    if pinned is None:
        raise ConfigurationError(
            f"{library} is not pinned in {lock}", where=LOCK, fix="name the file that the image was built from"
        )
    return pinned[1]


def _installed(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigurationError(
            f"the configuration asks for {library}, which is not installed here",
            where="environment",
            fix=f"pip install {_extra_with(library) or library!r}, or take out the setting that needs it",
        ) from error


def _extra_with(library: str) -> str | None:
    """`freshtune[…]` with the smallest extra that brings this library (`dev` has much), or None."""
    from packaging.requirements import Requirement  # read only for this error
    from packaging.utils import canonicalize_name

    try:
        lines = importlib.metadata.requires("freshtune") or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    of_extras: dict[str, list[str]] = {}
    for requirement in map(Requirement, lines):
        for extra in re.findall(r"extra == ['\"]([\w-]+)['\"]", str(requirement.marker or "")):
            of_extras.setdefault(extra, []).append(canonicalize_name(requirement.name))
    found = [extra for extra, names in of_extras.items() if canonicalize_name(library) in names]
    return f"freshtune[{min(found, key=lambda extra: len(of_extras[extra]))}]" if found else None


def _code(step: Step, config: Pipeline) -> dict[str, str]:
    """Pieces of code; none for a decision, which is fresh while it names the same model, test set and settings."""
    return {} if step.decides else code_pieces(roots(step, config))


def _settings(step: Step, config: Pipeline, sample: int | None) -> dict[str, Any]:
    """What the configuration adds to a step's key: dotted path → value. What is None adds nothing."""
    leaves: dict[str, Any] = {}
    for path, value in arguments_of(step, config, sample).values():
        if path == SAMPLE or not _of_the_machine(config, path):
            leaves |= _leaves(path, value)
    return leaves


def _of_the_machine(config: Pipeline, path: str) -> bool:
    section: Any = config
    *sections, name = path.split(".")
    for each in sections:
        section = getattr(section, each)
    # What a section works out of its fields (a property) is none.
    field = type(section).model_fields.get(name)
    return field is not None and of_the_machine(field)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _leaves(path: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {name: leaf for key in value for name, leaf in _leaves(f"{path}.{key}", value[key]).items()}
    return {} if value is None else {path: value}
