"""The configuration's reference, from the schema: `python -m assets.config.reference > docs/configuration.md`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from assets.config.pipeline import Pipeline

HEAD = """# Configuration

The `attributes` of `pipelines/<name>/defs.yaml`, beside `type: assets.orchestration.FineTuningPipeline`. Declarations
only: unknown fields are refused, templates are not evaluated, a secret is the name of an environment variable. Written
from the schema by `python -m assets.config.reference`.

| field | accepted | default | meaning |
|---|---|---|---|
"""


def markdown() -> str:
    """The whole page."""
    schema = Pipeline.model_json_schema()
    return HEAD + "".join(f"{row}\n" for row in _rows(schema, schema["$defs"], ""))


def _rows(section: dict[str, Any], definitions: dict[str, Any], prefix: str) -> Iterator[str]:
    required = set(section.get("required", ()))
    for name, field in section["properties"].items():
        path = f"{prefix}{name}"
        nested = _section(field, definitions)
        # Where a field says what its section says, the schema says it once.
        meaning = " ".join((field.get("description") or (nested or {}).get("description", "")).split())
        shown = "required" if name in required else f"`{json.dumps(field.get('default'), ensure_ascii=False)}`"
        if nested is not None and isinstance(field.get("default"), dict):
            shown = "see below"
        yield f"| `{path}` | {_accepted(field, definitions)} | {shown} | {meaning} |"
        if nested is not None:
            below = {"array": "[].", "object": ".NAME."}.get(field.get("type", ""), ".")
            yield from _rows(nested, definitions, f"{path}{below}")


def _section(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    for each in (field, field.get("items", {}), field.get("additionalProperties"), *field.get("anyOf", ())):
        # Of a mapping `true` stands for anything at all.
        if isinstance(each, dict) and "$ref" in each:
            found: dict[str, Any] = definitions[each["$ref"].rpartition("/")[2]]
            return found
    return None


def _accepted(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    if field.get("format") == "duration":
        return "duration"
    if "anyOf" in field:
        return " or ".join(_accepted(each, definitions) for each in field["anyOf"])
    if "$ref" in field:
        return "section"
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_accepted(field['items'], definitions)}"
    kinds = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "null": "null",
    }
    text = kinds.get(field.get("type", ""), "mapping")
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[key]:g}" for key, sign in bounds.items() if key in field]
    return f"{text} {', '.join(limits)}".strip()


if __name__ == "__main__":
    sys.stdout.write(markdown())
