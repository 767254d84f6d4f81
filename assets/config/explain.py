"""Says in plain words what is wrong with a value, what is accepted, and how to put it right."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from assets.config.document import FieldPath, Place

_Schema = dict[str, Any]

_NUMBERS = {"int", "float"}
_QUOTES = "put it in quotes"
_BOUNDS = (
    ("exclusiveMinimum", "more than"),
    ("minimum", "at least"),
    ("exclusiveMaximum", "less than"),
    ("maximum", "at most"),
)


class Explainer:
    """Plain words for what a JSON schema says about the fields of a configuration."""

    def __init__(self, schema: _Schema) -> None:
        self._schema = schema

    def is_coerced(self, path: FieldPath, place: Place) -> bool:
        """Whether pydantic would take a value of another kind for the field's: a quoted number, `true` for 1."""
        kinds = self._kinds(self._at(path))
        if place.kind == "str":
            return bool(kinds & {"number", "integer", "boolean"}) and "string" not in kinds
        return bool(kinds & {"number", "integer"}) and "boolean" not in kinds

    def wrong_kind(self, path: FieldPath, place: Place) -> str:
        """A value of another kind than the field's."""
        schema = self._at(path)
        kinds = self._kinds(schema)
        found = {
            "str": "text",
            "bool": "read by YAML as true or false",
            "null": "nothing",
            "map": "a section",
            "seq": "a list",
        }.get(place.kind, "a number")
        if place.kind == "null":
            what = "has no value"
        elif place.kind in {"map", "seq"}:
            what = f"is {found}"
        else:
            what = f"{place.written} is {found}"
        return f"{what}; accepted: {self._words(schema)}; fix: {self._fix(schema, kinds, place)}"

    def out_of_range(self, path: FieldPath, place: Place) -> str:
        """A value of the right kind that is not accepted."""
        schema = self._at(path)
        near = difflib.get_close_matches(place.written, self._choices(schema), n=1)
        fix = f"did you mean {near[0]}?" if near else f"write one that is accepted{_or_default(schema)}"
        what = f"{place.written} is not accepted" if place.kind not in {"map", "seq"} else "is not accepted"
        return f"{what}; accepted: {self._words(schema)}; fix: {fix}"

    def unknown(self, path: FieldPath) -> str:
        """A field that does not exist."""
        names = self.names(path[:-1])
        near = difflib.get_close_matches(str(path[-1]), names, n=2)
        where = self._elsewhere(path)
        fix = f"did you mean {' or '.join(near)}?" if near else where or "remove it"
        return f"there is no such field; accepted: {', '.join(names) or 'no fields'}; fix: {fix}"

    def missing(self, path: FieldPath) -> str:
        """A field that must be given."""
        schema = self._at(path)
        return f"is missing; accepted: {self._words(schema)}; fix: add it{_meaning(schema)}"

    def names(self, path: FieldPath) -> list[str]:
        """Fields of a section."""
        found: list[str] = []
        for option in self._options(self._at(path)):
            found += list(option.get("properties", {}))
        return found

    def accepted(self, path: FieldPath) -> str:
        """What a field accepts."""
        return self._words(self._at(path))

    def _elsewhere(self, path: FieldPath) -> str:
        """Where a field of that name does exist."""
        found = [name for name in self.names(()) if path[-1] in self.names((name,))]
        return f"did you mean {found[0]}.{path[-1]}?" if found else ""

    def _at(self, path: FieldPath) -> _Schema:
        schema = self._schema
        for part in path:
            options = self._options(schema)
            if isinstance(part, int):
                schema = next((option["items"] for option in options if "items" in option), {})
            else:
                named = [s["properties"][part] for s in options if part in s.get("properties", {})]
                # Of a mapping whose keys are the user's own.
                others = [s["additionalProperties"] for s in options if isinstance(s.get("additionalProperties"), dict)]
                schema = next(iter([*named, *others]), {})
        return self._follow(schema)

    def _follow(self, schema: _Schema) -> _Schema:
        reference = schema.get("$ref")
        if reference is None:
            return schema
        return {**self._schema["$defs"][reference.rpartition("/")[2]], **schema}

    def _options(self, schema: _Schema) -> list[_Schema]:
        schema = self._follow(schema)
        options: list[_Schema] = schema.get("anyOf") or schema.get("oneOf") or [schema]
        about = {"description": schema.get("description", "")}
        return [{**about, **self._follow(option)} for option in options]

    def _kinds(self, schema: _Schema) -> set[str]:
        return {option["type"] for option in self._options(schema) if "type" in option}

    def _choices(self, schema: _Schema) -> list[str]:
        found: list[str] = []
        for option in self._options(schema):
            found += [str(value) for value in _values(option)]
        return found

    def _words(self, schema: _Schema) -> str:
        return " or ".join(self._one(option) for option in self._options(schema))

    def _one(self, schema: _Schema) -> str:
        if _values(schema):
            return ", ".join(str(value) for value in _values(schema))
        kind = schema.get("type")
        bounds = ", ".join(f"{word} {schema[name]:g}" for name, word in _BOUNDS if name in schema)
        words = {"number": "a number", "integer": "a whole number", "boolean": "true or false", "null": "null"}.get(
            kind or ""
        )
        if words:
            return f"{words}, {bounds}" if bounds else words
        if kind == "string":
            return f"text of the form {schema['pattern']}{_meaning(schema)}" if "pattern" in schema else "text"
        if kind == "array":
            least = schema.get("minItems", 0)
            many = f" with at least {least} {'entry' if least == 1 else 'entries'}" if least else ""
            return f"a list{many} of {self._words(schema.get('items', {}))}"
        if schema.get("properties"):
            return f"a section with {', '.join(schema['properties'])}"
        return "a section" if kind == "object" else "any value"

    def _fix(self, schema: _Schema, kinds: set[str], place: Place) -> str:
        if place.quoted and _reads_as(place.written[1:-1]) & kinds:
            return "remove the quotes"
        if "string" in kinds and place.kind in _NUMBERS | {"bool"} and not self._choices(schema):
            return f'{_QUOTES}: "{place.written}"'
        if "array" in kinds and place.kind in _NUMBERS | {"str"}:
            return f"write [{place.written}]"
        return f"write one that is accepted{_or_default(schema)}"


def _or_default(schema: _Schema) -> str:
    if "default" not in schema or isinstance(schema["default"], Mapping):
        return ""
    return f", or remove the line for the default {json.dumps(schema['default'], ensure_ascii=False)}"


def _values(schema: _Schema) -> list[Any]:
    return list(schema["enum"]) if "enum" in schema else [schema["const"]] if "const" in schema else []


def _meaning(schema: _Schema) -> str:
    description = " ".join(str(schema.get("description", "")).split())
    return f" ({description.rstrip('.')})" if description else ""


def _reads_as(text: str) -> set[str]:
    if text.lower() in {"true", "false"}:
        return {"boolean"}
    try:
        return {"number", "integer"} if float(text).is_integer() else {"number"}
    except (ValueError, OverflowError):
        return set()
