"""Settings by their dotted path: the configuration with some of them replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.config.pipeline import Pipeline


def with_settings(config: Pipeline, settings: Mapping[str, Any]) -> Pipeline:
    """The configuration with other values in some places.

    Args:
        config: a configuration.
        settings: dotted path, of a section and a field below it → value.

    Raises:
        LookupError: there is no such section.
        pydantic.ValidationError: if a field does not take its value.
    """
    changed: dict[str, dict[str, Any]] = {}
    for path, value in settings.items():
        name, *inner, field = path.split(".")
        section = changed.setdefault(name, getattr(config, name).model_dump())
        for each in inner:
            if section[each] is None:
                raise LookupError(f"there is no section {each} in {name}")
            section = section[each]
        section[field] = value
    return config.model_copy(
        update={name: type(getattr(config, name)).model_validate(section) for name, section in changed.items()}
    )
