"""What every section of the configuration has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """Base of every section: frozen, strict about unknown fields, documented by the docstrings of its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class OfTheMachine:
    """Mark of a field that says how a machine is used: recorded with a result, and no part of its key."""


def of_the_machine(field: FieldInfo) -> bool:
    """Whether a field has that mark."""
    return any(isinstance(mark, OfTheMachine) for mark in field.metadata)
