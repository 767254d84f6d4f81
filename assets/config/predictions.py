"""What the champion labels, batch by batch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from assets.config.section import Section
from assets.config.values import distinct, known_encoding

OWN_COLUMNS = {"row_id", "text", "label", "predicted", "confidence", "scores"}
"""Columns that predictions have of their own or never; no column of the source may be carried along under them."""


class UnlabelledColumns(Section):
    """Which columns of the unlabelled files hold what."""

    text: str = "text"
    """Column that holds the text."""
    keep: Annotated[tuple[str, ...], AfterValidator(distinct)] = ()
    """Further columns to carry along as text, for instance an id to join predictions by."""

    @model_validator(mode="after")
    def _no_clash(self) -> Self:
        if self.text in self.keep:
            raise ValueError(f"the same column stands for two things: {self.text}; fix: leave it out of keep")
        taken = sorted(set(self.keep) & OWN_COLUMNS)
        if taken:
            raise ValueError(f"keep: freshtune uses {', '.join(taken)} itself; rename the column in the files")
        return self


class Unlabelled(Section):
    """Texts without labels, in files."""

    files: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    """Paths, globs, URLs or files of an installed package, as in `source.files`. A pattern may match no file yet."""
    format: Literal["auto", "csv", "tsv", "json", "jsonl", "parquet", "arrow"] = "auto"
    """What the files are, each plain or compressed, as in `source.format`."""
    names: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(distinct)] | None = None
    """Column names of CSV and TSV files that have no header line."""
    quoting: Literal["auto", "minimal", "none"] = "auto"
    """Whether `"` quotes fields of CSV and TSV files; `auto`: in CSV yes, in TSV no."""
    encoding: Annotated[str, AfterValidator(known_encoding)] = "auto"
    """Encoding of text files, as in `source.encoding`."""
    columns: UnlabelledColumns = UnlabelledColumns()
    """Which columns hold what."""

    @model_validator(mode="after")
    def _names_cover_columns(self) -> Self:
        if self.names is None:
            return self
        if self.format not in {"auto", "csv", "tsv"}:
            raise ValueError(f"names: a {self.format} file names its columns itself; fix: leave names out")
        missing = sorted({self.columns.text, *self.columns.keep} - set(self.names))
        if missing:
            raise ValueError(f"names: {', '.join(missing)} of columns is not among {', '.join(self.names)}")
        return self


class Predictions(Section):
    """What the champion labels: files of texts without labels, each file once for each champion."""

    source: Unlabelled
    """Where the texts come from."""
