"""Finds and reads the pipelines of a project, and says at once everything that is wrong with one."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from assets.config.document import Document, FieldPath, Place, Problem, dotted, read_document
from assets.config.explain import Explainer
from assets.config.pipeline import Pipeline
from assets.config.settings import with_settings
from assets.errors import ConfigurationError

COMPONENT = "assets.orchestration.FineTuningPipeline"
"""What every `defs.yaml` is an instance of."""

_FILE = "defs.yaml"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_KEYS = ("type", "attributes")
_WRONG_KIND = {
    "bool_parsing",
    "bool_type",
    "date_type",
    "dict_type",
    "float_parsing",
    "float_type",
    "int_from_float",
    "int_parsing",
    "int_type",
    "list_type",
    "model_attributes_type",
    "model_type",
    "string_type",
    "tuple_type",
}


def pipeline_names(root: Path) -> list[str]:
    """Names of a project's pipelines, sorted: the folders of `pipelines/` with a `defs.yaml`."""
    return sorted(path.parent.name for path in root.glob(f"pipelines/*/{_FILE}"))


def load_pipeline(name: str, root: Path) -> Pipeline:
    """Read a pipeline.

    Args:
        name: folder under `pipelines/`.
        root: folder of the project.

    Raises:
        ConfigurationError: there is no such pipeline, or its file is wrong; names every error, one a line.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no name of a pipeline; accepted: lower-case letters, digits and _, beginning with a letter",
            fix=_suggestion(name, root),
        )
    file = root / "pipelines" / name / _FILE
    if not file.is_file():
        raise ConfigurationError(f"there is no pipeline {name!r}", where=str(root), fix=_suggestion(name, root))
    where = file.relative_to(root).as_posix()
    read = read_document(file.read_bytes(), where)
    if read.data is None and not read.problems:
        raise ConfigurationError(
            "is empty",
            where=where,
            fix=f"write `type: {COMPONENT}` and, under `attributes:`, the pipeline's configuration",
        )
    problems = list(read.problems)
    pipeline = None
    if isinstance(read.data, dict):
        problems += _top_level(read)
        if "attributes" in read.data and read.places[("attributes",)].kind in {"map", "null"}:
            pipeline, more = _validate(read)
            problems += more
    else:
        problems.append(Problem(1, (), f"is no section; accepted: {' and '.join(_KEYS)}; fix: write these two"))
    if problems or pipeline is None:
        raise _all(problems, where)
    return pipeline


def _suggestion(name: str, root: Path) -> str:
    names = pipeline_names(root)
    if not names:
        return f"this project has none yet: make {root / 'pipelines' / 'NAME' / _FILE}"
    near = difflib.get_close_matches(name.lower().replace("-", "_"), names, n=3, cutoff=0.5)
    question = f"did you mean {' or '.join(near)}? " if near else ""
    return f"{question}there are: {', '.join(names)}"


def _top_level(read: Document) -> list[Problem]:
    problems = []
    for key in read.data:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            fix = f"did you mean {near[0]}?" if near else "move it under `attributes:` or remove it"
            text = f"there is no such key; accepted: {', '.join(_KEYS)}; fix: {fix}"
            problems.append(Problem(read.places[key,].line, (key,), text))
    if "type" not in read.data:
        problems.append(Problem(1, ("type",), f"is missing; accepted: {COMPONENT}; fix: add `type: {COMPONENT}`"))
    elif read.data["type"] != COMPONENT and ("type",) not in read.replaced:
        place = read.places["type",]
        text = f"{place.written} is not accepted; accepted: {COMPONENT}; fix: write `type: {COMPONENT}`"
        problems.append(Problem(place.line, ("type",), text))
    if "attributes" not in read.data:
        text = "is missing; accepted: a section with the pipeline's configuration; fix: add `attributes:`"
        problems.append(Problem(1, ("attributes",), text))
    elif read.places["attributes",].kind not in {"map", "null"}:
        place = read.places["attributes",]
        text = (
            f"is {place.written}; accepted: a section with the pipeline's configuration; fix: write its fields below it"
        )
        problems.append(Problem(place.line, ("attributes",), text))
    return problems


def _validate(read: Document) -> tuple[Pipeline | None, list[Problem]]:
    """Check what stands under `attributes`."""
    found: dict[FieldPath, Problem] = {}
    places = {path[1:]: place for path, place in read.places.items() if path[0] == "attributes"}
    for path, place in places.items():
        if (place.kind == "bool" or place.is_quoted_literal) and _explainer().is_coerced(path, place):
            found[path] = Problem(place.line, path, _explainer().wrong_kind(path, place))
    pipeline = None
    try:
        pipeline = Pipeline.model_validate(read.data["attributes"] or {})
    except ValidationError as error:
        for details in error.errors(include_url=False):
            if details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]:
                continue  # only because entries are wrong, which is said of them
            path = _path(details, places)
            if path not in found and ("attributes", *path) not in read.replaced:
                place = places.get(path) or _nearest(path, places)
                found[path] = Problem(place.line, path, _explain(details, path, place))
    return pipeline, [*found.values(), *(_searched(pipeline, places) if pipeline is not None else ())]


def _searched(pipeline: Pipeline, places: dict[FieldPath, Place]) -> Iterator[Problem]:
    """Values in `search.space` that their fields do not take."""
    for setting, dimension in (pipeline.search.space if pipeline.search else {}).items():
        field = tuple(setting.split("."))
        for inside, value in dimension.values():
            path = ("search", "space", setting, *inside)
            try:
                with_settings(pipeline, {setting: value})
            except ValidationError:
                place = places[path]
                accepted = _explainer().accepted(field)
                text = f"{place.written} is no value of {setting}; accepted: {accepted}; fix: change it"
                yield Problem(place.line, path, text)
            except LookupError:
                text = (
                    f"there is no section {dotted(field[:-1])}; accepted: settings of what is configured; fix: add it"
                )
                yield Problem(places[path[:3]].line, path[:3], text)
                break


@functools.cache
def _explainer() -> Explainer:
    return Explainer(Pipeline.model_json_schema())


def _path(details: ErrorDetails, places: dict[FieldPath, Place]) -> FieldPath:
    """The path as it is written; pydantic puts names of its own between, for instance those of a union's members."""
    path: FieldPath = ()
    for number, part in enumerate(details["loc"], start=1):
        absent = details["type"] == "missing" and number == len(details["loc"])
        if (*path, part) in places or absent:
            path = (*path, part)
    return path


def _nearest(path: FieldPath, places: dict[FieldPath, Place]) -> Place:
    while path and path not in places:
        path = path[:-1]
    return places[path]


def _explain(details: ErrorDetails, path: FieldPath, place: Place) -> str:
    kind = details["type"]
    explainer = _explainer()
    if kind == "missing":
        return explainer.missing(path)
    if kind == "extra_forbidden":
        return explainer.unknown(path)
    if kind in _WRONG_KIND:
        return explainer.wrong_kind(path, place)
    if kind == "value_error":
        reason = str(details.get("ctx", {}).get("error"))
        if "; fix: " in reason:
            return reason
        alone = place.kind not in {"map", "seq"}
        return f"{reason}; fix: {'write one that is accepted' if alone else 'change one of the values'}"
    return explainer.out_of_range(path, place)


def _field(problem: Problem) -> str:
    path = problem.path
    return dotted(path[1:] if len(path) > 1 and path[0] == "attributes" else path)


def _all(problems: list[Problem], where: str) -> ConfigurationError:
    lines = [
        ": ".join(part for part in (f"{where}:{problem.line}", _field(problem), problem.text) if part)
        for problem in sorted(problems, key=lambda problem: (problem.line, dotted(problem.path)))
    ]
    count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
    return ConfigurationError("\n  ".join([f"the configuration has {count}", *lines]))
