"""What evaluation looks at beside the metrics of the whole test side, and how scores become decisions."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from assets.config.section import Section

Share = Annotated[float, Field(gt=0.0, le=1.0)]
NEEDED = MappingProxyType(
    {"column": {"column"}, "text_length": {"limits"}, "source": {"files"}, "label": set(), "time": {"column", "every"}}
)
"""Fields of a slice that belong to what it is by; `values` may stand beside `column`."""
CONSTRAINT = MappingProxyType({"f1": None, "precision": "recall", "recall": "precision", "cost": "costs"})
"""Field of a threshold that belongs to its goal."""


class Slice(Section):
    """Parts of the test rows that get metrics of their own."""

    by: Literal["column", "text_length", "source", "label", "time"]
    """What tells the parts: the value of a kept column, the length of the text, the file that a row lies in, the label,
    or the time of a kept column."""
    column: Annotated[str, Field(min_length=1)] | None = None
    """Column of `source.columns.keep`, by column (a part for each of the 20 most frequent values, one for all others)
    and by time (ISO 8601)."""
    values: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """By column: a part for each of these values, and one for all others."""
    limits: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] | None = None
    """By text length: where the next part begins, in characters, ascending; `[50, 200]` gives three parts."""
    files: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None = None
    """By source: names of files as the plan shows them, or patterns of them (`data/web*.csv`); a part for each, and one
    for all other rows."""
    every: Literal["day", "month", "quarter", "year"] | None = None
    """By time: how long a part is (UTC). The 24 newest are shown, and all that is older as one."""

    @model_validator(mode="after")
    def _fields_of_its_kind(self) -> Self:
        optional = {"values"} if self.by == "column" else set()
        given = {name for name in type(self).model_fields if name != "by" and getattr(self, name) is not None}
        if missing := sorted(NEEDED[self.by] - given):
            raise ValueError(f"a slice by {self.by} needs {' and '.join(missing)}; fix: add {' and '.join(missing)}")
        if unused := sorted(given - NEEDED[self.by] - optional):
            names = ", ".join(sorted(NEEDED[self.by] | optional)) or "nothing"
            raise ValueError(f"{', '.join(unused)}: a slice by {self.by} has {names} beside `by`; fix: leave it out")
        if self.limits is not None and list(self.limits) != sorted(set(self.limits)):
            raise ValueError(f"limits {list(self.limits)} are not ascending; fix: write each once, the smallest first")
        for name in ("values", "files"):
            found = getattr(self, name) or ()
            if len(set(found)) < len(found):
                raise ValueError(f"{name} {', '.join(found)} has one of them twice; fix: name each once")
        return self

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What is not said adds nothing to a key, here as elsewhere: slices are one value there.
        return {name: value for name, value in handler(self).items() if value is not None}


class Threshold(Section):
    """From which score on a row gets a label, chosen on the validation side."""

    label: str
    """The label that is predicted where its score reaches the threshold; elsewhere the likeliest of the others is."""
    goal: Literal["f1", "precision", "recall", "cost"] = "f1"
    """What is made best on the validation side: the F1 of the label; its precision, where `recall` is reached; its
    recall, where `precision` is reached; or the cost of all mistakes."""
    recall: Share | None = None
    """Least recall of the label, with goal precision."""
    precision: Share | None = None
    """Least precision of the label, with goal recall."""
    costs: dict[str, dict[str, Annotated[float, Field(ge=0.0)]]] | None = None
    """True label → predicted label → cost of that mistake, with goal cost; mistakes that are not named cost nothing."""

    @model_validator(mode="after")
    def _what_the_goal_needs(self) -> Self:
        needed = CONSTRAINT[self.goal]
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f"goal {self.goal} needs {needed}; fix: add {needed}")
        unused = [name for name in ("recall", "precision", "costs") if name != needed and getattr(self, name)]
        if unused:
            raise ValueError(f"{' and '.join(unused)} mean nothing with goal {self.goal}; fix: leave them out")
        for true, row in (self.costs or {}).items():
            if true in row:
                raise ValueError(f"costs: {true} → {true} is no mistake; fix: leave it out")
        if self.costs is not None and not any(cost for row in self.costs.values() for cost in row.values()):
            raise ValueError("costs: no mistake costs anything; fix: give at least one a cost above 0")
        return self

    def labels(self) -> set[str]:
        """Every label that it names."""
        return {self.label, *(self.costs or ()), *(label for row in (self.costs or {}).values() for label in row)}


class Evaluation(Section):
    """What is looked at on the test side beside the metrics of all rows."""

    slices: Annotated[tuple[Slice, ...], Field(min_length=1)] | None = None
    """Parts of the test rows that get metrics of their own, or null."""
    threshold: Threshold | None = None
    """The score from which on a label is predicted, or null: the likeliest label is predicted."""
    samples: Annotated[int, Field(ge=0, le=50)] = 0
    """How many rows' texts the databases of Dagster and MLflow may hold, for people to look at. The report and the
    files of the store have them in any case."""

    @model_validator(mode="after")
    def _each_slice_once(self) -> Self:
        kinds = [(each.by, each.column) for each in self.slices or ()]
        repeated = sorted({" ".join(filter(None, kind)) for kind in kinds if kinds.count(kind) > 1})
        if repeated:
            raise ValueError(f"slices: two by {', '.join(repeated)}; fix: make them one")
        return self

    @property
    def source_files(self) -> tuple[str, ...] | None:
        """Patterns of files that slices are by: what `raw` is asked to say of rows."""
        return next((each.files for each in self.slices or () if each.by == "source"), None)
