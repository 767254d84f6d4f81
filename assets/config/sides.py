"""How rows are shared out to sides."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from assets.config.section import Section
from assets.times import parse_time


def _instant(value: str) -> str:
    try:
        # In one form, so that another way to write the same time changes no key.
        return parse_time(value).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{value!r} is no time in ISO 8601; for instance 2026-03-01 or 2026-03-01T12:00:00+01:00"
        ) from None


class ByTime(Section):
    """Sides by the time of each row: older rows train, newer ones test."""

    column: Annotated[str, Field(min_length=1)]
    """Column of `source.columns.keep` with times in ISO 8601 (UTC where they name no time zone)."""
    validation_from: Annotated[str, AfterValidator(_instant)]
    """Time of the first rows for validation, in ISO 8601 and in quotes; earlier ones are for training."""
    test_from: Annotated[str, AfterValidator(_instant)]
    """Time of the first rows of the test set, likewise."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if parse_time(self.validation_from) >= parse_time(self.test_from):
            raise ValueError(
                f"validation_from {self.validation_from} is not before test_from {self.test_from}; "
                "fix: change one of the two"
            )
        return self


class FrozenTest(Section):
    """A test set that came with the data: by the files that hold it, or by a column's value."""

    files: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None = None
    """Names among the files of `source.files`, or patterns of them (`data/test*.csv`; `*` stands for folders too)."""
    column: Annotated[str, Field(min_length=1)] | None = None
    """Column of `source.columns.keep` that tells the rows of the test set; with `value`."""
    value: str | None = None
    """What that column has in the rows of the test set."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.files is None) == (self.column is None) or (self.column is None) != (self.value is None):
            raise ValueError("name the test set either by files, or by column and value; fix: keep one of the two")
        return self


class Splits(Section):
    """How rows are shared out; every text hashes to a side, and a group goes where its lowest member goes."""

    validation: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Share of rows for choosing the best checkpoint."""
    test: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of rows for the test set."""
    salt: str = ""
    """Changes which rows go where."""
    min_rows_per_label: Annotated[int, Field(ge=1)] = 2
    """Fewest rows of each label that each side must have."""
    group_by: Annotated[str, Field(min_length=1)] | None = None
    """Column of `source.columns.keep` whose values stay on one side, beside near-duplicates (a user, a document, a
    day), or null. Rows without a value are free."""
    by_time: ByTime | None = None
    """Sides by time in place of shares and hash, or null. A group goes where its oldest row goes."""
    frozen: FrozenTest | None = None
    """The test set that came with the data, in place of a share `test`, or null. `validation` is then the share of all
    other rows; those that are near-duplicates of the test set are on no side."""

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.by_time is not None and self.frozen is not None:
            raise ValueError("by_time and frozen both say what the test set is; fix: leave one of them out")
        for rule, unused in (("by_time", ("validation", "test", "salt")), ("frozen", ("test",))):
            told = [name for name in unused if getattr(self, name) != type(self).model_fields[name].default]
            if getattr(self, rule) is not None and told:
                raise ValueError(
                    f"{' and '.join(told)} mean nothing with {rule}, which says it; fix: leave out one or the other"
                )
        return self

    @model_validator(mode="after")
    def _room_for_train(self) -> Self:
        if self.frozen is None and self.validation + self.test >= 1.0:
            raise ValueError(f"validation {self.validation} + test {self.test} leave nothing to train on")
        return self
