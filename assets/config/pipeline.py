"""The configuration of one pipeline: the `attributes` of `pipelines/<name>/defs.yaml`.

Declarations only: no logic, no templates, no secrets (a secret is the name of an environment variable). Every class is
frozen and refuses fields that it does not know.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from assets.config.automation import Freshness, Schedule, Sensor
from assets.config.evaluation import Evaluation
from assets.config.gate import Gate
from assets.config.predictions import Predictions
from assets.config.registry import Registry
from assets.config.search import Search
from assets.config.section import Section
from assets.config.sides import Splits
from assets.config.sources import HuggingFace, Sql
from assets.config.training import Training
from assets.config.values import distinct, known_encoding

Share = Annotated[float, Field(ge=0.0, le=1.0)]
PLACES = ("files", "sql", "huggingface")
"""Fields of `source` that say where rows come from."""
PersonalData = Literal["email", "phone", "credit_card", "iban", "ip_address", "url"]
OWN_COLUMNS = {"row_id", "text", "label", "group", "count", "side", "text_stripped", "text_script", "text_language"}
"""Names of columns that the steps add; no column of the source may be carried along under them."""


def _script_or_language(value: str) -> str:
    if re.fullmatch("[a-z]{2,3}", value):
        return value
    from fontTools.unicodedata import Scripts  # read only where a script is named

    if value not in Scripts.NAMES.values():
        raise ValueError(
            f"{value!r} is neither a script by its Unicode name, for instance Latin, Cyrillic, Han, nor a language by "
            "its code, for instance en, de, zh"
        )
    return value


def _not_kept(column: str, kept: tuple[str, ...]) -> str:
    return f"{column} is not among source.columns.keep: {', '.join(kept) or 'none'}; fix: add it there"


def _no_template(value: Any) -> Any:
    if isinstance(value, str) and ("{{" in value or "{%" in value):
        raise ValueError("templates are not evaluated; write the value itself, or name an environment variable")
    return value


class ClassificationTask(Section):
    """One label for each text."""

    type: Literal["classification"] = "classification"
    """What kind of task it is."""
    labels: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(distinct)]
    """Every label that may occur, at least two, in the model's order; rows with another label go to quarantine."""


class Columns(Section):
    """Which columns of the source hold what."""

    text: str = "text"
    """Column that holds the text."""
    label: str = "label"
    """Column that holds the label."""
    keep: Annotated[tuple[str, ...], AfterValidator(distinct)] = ()
    """Further columns to carry along as text, for expectations and for tracing."""

    @model_validator(mode="after")
    def _no_clash(self) -> Self:
        named = [self.text, self.label, *self.keep]
        if len(set(named)) < len(named):
            raise ValueError(f"the same column stands for two things: {', '.join(named)}")
        taken = sorted(set(self.keep) & OWN_COLUMNS)
        if taken:
            raise ValueError(f"keep: freshtune uses {', '.join(taken)} itself; rename the column in the source")
        return self


class Source(Section):
    """Labelled examples: exactly one of `files`, `sql` and `huggingface` says where they come from."""

    files: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] = ()
    """Paths, globs (`data/*.csv`, relative to the project's folder), URLs (`s3://bucket/data/*.csv`) or files of an
    installed package (`package://NAME/path`)."""
    sql: Sql | None = None
    """A query of a database."""
    huggingface: HuggingFace | None = None
    """A data set of the Hugging Face hub, or a folder that `datasets` wrote."""
    format: Literal["auto", "csv", "tsv", "json", "jsonl", "parquet", "arrow", "label_studio"] = "auto"
    """What the files are, each plain or compressed by gzip or zstd; `auto` goes by the ending of each name, that before
    `.gz` or `.zst`. `json` is one array of objects, `arrow` also streams and Feather, `label_studio` its export."""
    names: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(distinct)] | None = None
    """Column names of CSV and TSV files that have no header line. Commas, tabs, semicolons or bars divide a CSV file,
    whichever give the columns; tabs a TSV file."""
    quoting: Literal["auto", "minimal", "none"] = "auto"
    """Whether `"` quotes fields of CSV and TSV files; `auto`: in CSV yes, in TSV no."""
    encoding: Annotated[str, AfterValidator(known_encoding)] = "auto"
    """Encoding of text files (a byte order mark is taken off). `auto`: what the byte order mark says, else UTF-8, also
    where up to a tenth of the lines are not (they go to quarantine), else what the bytes surely are, else an error."""
    columns: Columns = Columns()
    """Which columns hold what."""
    mode: Literal["mirror", "append"] = "mirror"
    """What becomes of rows whose file is changed or gone. `mirror`: the rows are what the source holds now. `append`:
    what was once taken in stays, so that a file may be taken away."""
    labels: dict[str, str] | None = None
    """Labels as the source has them → labels of the task, for those that were renamed (`{junk: spam}`). Applied where
    rows are read; a label that is not here stays as it is. In mode `append`, rows whose file is gone are not read
    again: they keep the label that they got."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [name for name in PLACES if getattr(self, name)]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            fix = "keep one of them" if given else "add one of them"
            raise ValueError(
                f"exactly one of {', '.join(PLACES)} says where rows come from; given: {found}; fix: {fix}"
            )
        # What does not count must not look as if it did.
        about_files = sorted({"format", "names", "quoting", "encoding"} & self.model_fields_set)
        if self.sql is not None and about_files:
            raise ValueError(
                f"{', '.join(about_files)}: only files have that, and rows come from sql; fix: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _names_cover_columns(self) -> Self:
        if self.names is None:
            return self
        if self.format not in {"auto", "csv", "tsv"}:
            raise ValueError(f"names: a {self.format} file names its columns itself; fix: leave names out")
        missing = sorted({self.columns.text, self.columns.label, *self.columns.keep} - set(self.names))
        if missing:
            raise ValueError(f"names: {', '.join(missing)} of columns is not among {', '.join(self.names)}")
        return self


class TextLength(Section):
    """Accepted length of a text, in characters, after white space at both ends is taken off."""

    min: Annotated[int, Field(ge=1)] = 1
    """Shortest accepted text, in characters."""
    max: Annotated[int, Field(ge=1)] = 20_000
    """Longest accepted text, in characters."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


class Expectation(Section):
    """One expectation of Great Expectations, by its own name."""

    type: Annotated[str, Field(pattern=r"^expect_[a-z0-9_]+$")]
    """Name as Great Expectations writes it, for instance `expect_column_value_lengths_to_be_between`."""
    kwargs: dict[str, Any] = Field(default={})
    """Its arguments; columns are `text`, `label` and those of `source.columns.keep`."""
    severity: Literal["critical", "warning"] = "critical"
    """`critical`: failing rows go to quarantine, a failing whole-table expectation blocks. `warning`: said only."""


class Validation(Section):
    """What a row must be like to be trained on."""

    text_length: TextLength = TextLength()
    """Accepted length of a text."""
    language: (
        Annotated[
            tuple[Annotated[str, AfterValidator(_script_or_language)], ...],
            Field(min_length=1),
            AfterValidator(distinct),
        ]
        | None
    ) = None
    """Accepted scripts by their Unicode names (`Latin`, `Cyrillic`, `Han`) and languages by their codes (`en`, `de`;
    these need the extra `language`), or null for any. Most letters of a text must be of one of the scripts, if there
    are any, and the text in one of the languages, if there are any. A text without letters passes; so does one with
    fewer than 30, whose language cannot be told."""
    expectations: tuple[Expectation, ...] = ()
    """Expectations beside the built-in ones."""
    max_quarantined: Share = 0.1
    """Largest share of rows in quarantine before the steps after validation refuse to run."""


class NearDuplicates(Section):
    """When two texts count as nearly the same; they are kept on one side of the split."""

    similarity: Annotated[float, Field(gt=0.0, le=1.0)] = 0.6
    """Least Jaccard similarity of their sets of word n-grams."""
    ngram: Annotated[int, Field(ge=1, le=10)] = 3
    """Words in an n-gram; a shorter text is one n-gram."""


class Cleaning(Section):
    """What is made the same before rows are compared and trained on."""

    unicode: Literal["NFC", "NFKC"] | None = "NFC"
    """Unicode normal form, or null for none."""
    whitespace: bool = True
    """Whether runs of white space become one space and both ends are trimmed."""
    mask_pii: Annotated[tuple[PersonalData, ...], Field(min_length=1), AfterValidator(distinct)] | None = None
    """Kinds of personal data that are replaced by their names, as in `<EMAIL>`, or null; needs the extra `pii`."""
    near_duplicates: NearDuplicates | None = NearDuplicates()
    """When two texts are grouped, or null for exact duplicates only."""
    max_group: Share = 0.1
    """Largest share of the texts that one group may have before the steps after cleaning refuse to run; it may have
    100 texts in any case."""
    conflicts: Literal["quarantine", "majority", "newest"] = "quarantine"
    """What goes to quarantine of rows with equal texts and different labels: all of them, or those that have not the
    label of most of them (`majority`) or of the newest (`newest`); all of them where that is not one label."""
    id: Annotated[str, Field(min_length=1)] | None = None
    """Column of `source.columns.keep` with an id that a row keeps when it is corrected, or null. Of several rows with
    one id only the newest by `newest_by` counts, and the others go to quarantine."""
    newest_by: Annotated[str, Field(min_length=1)] | None = None
    """Column of `source.columns.keep` with times in ISO 8601, by which rows are new where `conflicts` is `newest`, or
    where rows have an `id`."""

    @model_validator(mode="after")
    def _newest_has_a_column(self) -> Self:
        if (self.conflicts == "newest" or self.id is not None) != (self.newest_by is not None):
            fix = "leave newest_by out" if self.newest_by else "add newest_by, a column of source.columns.keep"
            raise ValueError(
                "newest_by names the column of times where `conflicts` is newest or rows have an `id`, and only there; "
                f"fix: {fix}"
            )
        return self


class Review(Section):
    """Likely label errors: rows whose label a classifier does not expect that was trained on the other rows."""

    quarantine: bool = False
    """Whether rows with a doubtful label are left out; `false`: they are only listed."""
    min_confidence: Share = 0.9
    """Least probability of the suggested label for a row to be left out."""
    max_quarantined: Share = 0.05
    """Largest share of the cleaned rows that may be left out before the steps after review refuse to run."""
    max_rows: Annotated[int, Field(ge=1000)] = 50_000
    """Rows that the classifier learns from, whatever the number of rows that it judges: it bounds what review costs."""


class PretrainedModel(Section):
    """The pretrained model to start from."""

    name: Annotated[str, Field(min_length=1)]
    """Hub name (`owner/name`, optionally `owner/name@revision`), folder, or a package's folder (`package://NAME/path`)."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Expected digest of `model.safetensors`."""


class Drift(Section):
    """When new rows count as different from those that the champion was made from."""

    level: Annotated[float, Field(gt=0.0, le=0.2)] = 0.01
    """Chance that any of the tests alarms although nothing changed (corrected by Holm)."""
    rows: Annotated[int, Field(ge=100)] = 10_000
    """Most rows that are looked at, of new ones and of the champion's each; those with the lowest `row_id`, a hash."""
    min_rows: Annotated[int, Field(ge=20)] = 50
    """Fewest new rows, near-duplicates counted once, that are compared at all."""
    label_shift: Share = 0.05
    """Least share of new rows with another label than before (total variation) that alarms. However many rows there
    are, a smaller difference does not, and so for the following."""
    length_shift: Share = 0.1
    """Least difference between the shares of texts up to any length (Kolmogorov–Smirnov) that alarms."""
    vocabulary_shift: Share = 0.02
    """Least share of words that the champion was not trained on, beyond that of rows held out from its training, that
    alarms."""
    separation: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1
    """Least area under the ROC curve of a classifier of new and old rows, above the 0.5 of chance, that alarms."""


class Quality(Section):
    """When the champion is too bad on newly labelled rows, by `gate.metric`."""

    floor: Share
    """Least value of the metric on a batch of rows that the champion was not made from."""
    batches: Annotated[int, Field(ge=1, le=100)] = 5
    """How many batches are looked at, the newest ones; each is what came in from one look to the next."""
    failing: Annotated[int, Field(ge=1)] = 3
    """How many of them must lie below the floor, the newest among them, before the alarm stands."""
    min_rows: Annotated[int, Field(ge=1)] = 100
    """Fewest rows of a batch; smaller ones are taken together with the next, and the newest rows wait."""

    @model_validator(mode="after")
    def _can_alarm(self) -> Self:
        if self.failing > self.batches:
            raise ValueError(f"failing {self.failing} is more than batches {self.batches}: the alarm could never stand")
        return self


class Pipeline(Section):
    """One model kept fresh."""

    description: str = ""
    """What the model is for, in a sentence."""
    task: ClassificationTask
    """What is learned."""
    source: Source
    """Where labelled examples come from."""
    base_model: PretrainedModel
    """The pretrained model to start from."""
    validation: Validation = Validation()
    """What a row must be like."""
    cleaning: Cleaning = Cleaning()
    """What is made the same."""
    review: Review | None = None
    """How likely label errors are found, or null not to look for them; `{}` makes the list."""
    splits: Splits = Splits()
    """How rows are shared out."""
    training: Training = Training()
    """How the model is fine-tuned."""
    search: Search | None = None
    """Which of these settings are searched for, or null for none; needs the extra `search`."""
    evaluation: Evaluation = Evaluation()
    """What is looked at on the test side, and how scores become decisions."""
    gate: Gate = Gate()
    """When a challenger becomes the champion."""
    registry: Registry = Registry()
    """Who is told when it did."""
    drift: Drift | None = None
    """When new rows count as different from the champion's, or null for no comparison; `{}` has sound values."""
    quality: Quality | None = None
    """When the champion is too bad on newly labelled rows, or null for no measurement."""
    predictions: Predictions | None = None
    """What the champion is to label whenever there is more of it, or null for nothing."""
    schedule: Schedule | None = None
    """When to run without being asked, or null."""
    sensor: Sensor | None = Sensor()
    """How to watch the source, or null."""
    freshness: Freshness | None = None
    """When Dagster shows the model as overdue, or null for never."""

    @model_validator(mode="after")
    def _renamed_to_labels_of_the_task(self) -> Self:
        known = self.task.labels
        for old, new in (self.source.labels or {}).items():
            if new not in known:
                raise ValueError(
                    f"source.labels: {old} → {new}: {new} is not among task.labels: {', '.join(known)}; "
                    "fix: name one that is, or add it there"
                )
        return self

    @model_validator(mode="after")
    def _grouped_by_what_is_kept(self) -> Self:
        column, kept = self.splits.group_by, self.source.columns.keep
        if column is not None and column not in kept:
            raise ValueError(f"splits.group_by: {_not_kept(column, kept)}")
        return self

    @model_validator(mode="after")
    def _split_by_what_is_kept(self) -> Self:
        kept = self.source.columns.keep
        for name, section in (("by_time", self.splits.by_time), ("frozen", self.splits.frozen)):
            if section is not None and section.column is not None and section.column not in kept:
                raise ValueError(f"splits.{name}.column: {_not_kept(section.column, kept)}")
        return self

    @model_validator(mode="after")
    def _newest_by_what_is_kept(self) -> Self:
        kept = self.source.columns.keep
        for field, column in (("id", self.cleaning.id), ("newest_by", self.cleaning.newest_by)):
            if column is not None and column not in kept:
                raise ValueError(f"cleaning.{field}: {_not_kept(column, kept)}")
        return self

    @model_validator(mode="after")
    def _sliced_by_what_is_kept(self) -> Self:
        kept = self.source.columns.keep
        for at, each in enumerate(self.evaluation.slices or ()):
            if each.column is not None and each.column not in kept:
                raise ValueError(f"evaluation.slices[{at}].column: {_not_kept(each.column, kept)}")
        return self

    @model_validator(mode="after")
    def _threshold_of_labels_of_the_task(self) -> Self:
        named = set() if self.evaluation.threshold is None else self.evaluation.threshold.labels()
        if unknown := sorted(named - set(self.task.labels)):
            raise ValueError(
                f"evaluation.threshold: {', '.join(unknown)} is not among task.labels: {', '.join(self.task.labels)}; "
                "fix: name one that is"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _no_templates(cls, data: Any) -> Any:
        def walk(value: Any) -> None:
            if isinstance(value, dict):
                for item in value.values():
                    walk(item)
            elif isinstance(value, list | tuple):
                for item in value:
                    walk(item)
            else:
                _no_template(value)

        walk(data)
        return data
