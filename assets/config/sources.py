"""Where rows may come from beside files: a query of a database, and what the library `datasets` reads."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from assets.config.section import Section

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _name_of_variable(value: str) -> str:
    # What stands here instead may be a secret, so it is not said.
    if "://" in value:
        raise ValueError(
            "this is a URL, and URLs hold passwords; accepted: the name of an environment variable, for instance "
            "REVIEWS_DB_URL; fix: put the URL into that variable"
        )
    if not _NAME.fullmatch(value):
        raise ValueError(
            "this is no name of an environment variable; accepted: letters, digits and _, for instance REVIEWS_DB_URL"
        )
    return value


def _select(value: str) -> str:
    first = _COMMENT.sub(" ", value).split(maxsplit=1)[:1]
    if not first or first[0].upper().split("(")[0] not in {"SELECT", "WITH"}:
        found = f"this begins with {first[0][:20]}" if first else "this is empty"
        raise ValueError(f"{found}; accepted: one SELECT (or WITH … SELECT), which changes nothing")
    return value


class Sql(Section):
    """Labelled examples as the rows of a query."""

    url_env: Annotated[str, AfterValidator(_name_of_variable)]
    """Name of the environment variable with the database's URL, as SQLAlchemy has it
    (`postgresql+psycopg2://user:password@host/database`, `sqlite:///data/reviews.db`)."""
    query: Annotated[str, AfterValidator(_select)]
    """One SELECT; the columns that it gives are those of `source.columns`, `key` and `watermark`."""
    key: Annotated[str, Field(min_length=1)]
    """Column that tells rows apart: never null, never twice."""
    watermark: Annotated[str, Field(min_length=1)] | None = None
    """Column that tells which rows are new (a time or a number), or null. It orders the rows, so that new ones change
    only the newest windows."""
    window: Annotated[int, Field(ge=1)] = 10_000
    """About how many rows make a window, which is taken in at once."""
    overlap: Annotated[int, Field(ge=0)] | None = None
    """A look reads again at least so many of the newest rows by `watermark`; of older ones only `key` and `watermark`,
    so that an older row that was changed must have got another watermark. Null: a look reads everything."""

    @model_validator(mode="wrap")
    @classmethod
    def _without_values(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Let errors name fields and say what is accepted, and never a value: it may be a URL with its password."""
        try:
            return handler(data)
        except ValidationError as error:
            told = [
                InitErrorDetails(type=each["type"], loc=each["loc"], input="(not shown)", ctx=each.get("ctx", {}))
                for each in error.errors(include_url=False)
            ]
            title = error.title
        raise ValidationError.from_exception_data(title, told)

    @model_validator(mode="after")
    def _overlap_has_a_watermark(self) -> Self:
        if self.overlap is not None and self.watermark is None:
            raise ValueError(
                "overlap: without a watermark no row is newer than another; fix: name one, or leave overlap out"
            )
        return self


class HuggingFace(Section):
    """Labelled examples as a data set of the Hugging Face hub, or a folder that `datasets` wrote."""

    name: Annotated[str, Field(min_length=1)]
    """Hub name (`owner/name`, optionally `owner/name@revision`), or a folder of `Dataset.save_to_disk` or
    `DatasetDict.save_to_disk`."""
    config: Annotated[str, Field(min_length=1)] | None = None
    """Configuration (subset) of a data set of the hub, or null where it has one only."""
    split: Annotated[str, Field(min_length=1)] | None = None
    """Split to read, or null for all: freshtune makes its own sides."""
