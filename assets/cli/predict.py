"""`freshtune predict`: labels for texts, by the model in use."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from assets import session
from assets.cleaned.normalise import normalise
from assets.cli.console import messages, output, table
from assets.cli.options import Json, Name
from assets.cli.progress import watched
from assets.cli.records import PREDICTED, STDIN, Format, Record, format_of, read, writer, written
from assets.cli.registered import Registered
from assets.errors import ConfigurationError
from assets.progress import Progress, discard
from assets.release import log
from assets.store.runner import Runner

if TYPE_CHECKING:
    from assets.evaluation.decisions import Decisions, Scores
    from assets.evaluation.predict import Predictor

EXAMPLES = (
    'freshtune predict sms_spam "You have won a prize, call now"',
    "freshtune predict sms_spam -i messages.csv --column body -o scored.csv",
    "cat messages.txt | freshtune predict sms_spam --input - --json",
)

CHUNK = 256
"""Rows predicted at once, so that a file of any length fits into memory."""

Texts = Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Texts to label.", show_default=False)]
Input = Annotated[
    str | None,
    typer.Option(
        "--input", "-i", metavar="FILE|-", help="Rows from a file (.txt, .csv, .tsv, .jsonl), or standard input."
    ),
]
InputFormat = Annotated[
    Format | None,
    typer.Option("--format", help="What --input is, if its name does not say; standard input is txt: one text a line."),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the rows there (.csv, .tsv, .jsonl).")
]
Column = Annotated[str, typer.Option("--column", help="Column of --input that holds the text.")]
Version = Annotated[
    int | None, typer.Option("--version", metavar="N", help="This version instead of the champion.", show_default=False)
]


def predict(
    name: Name,
    texts: Texts = None,
    input: Input = None,  # noqa: A002 - the option's name
    format: InputFormat = None,  # noqa: A002 - the option's name
    output_file: Output = None,
    column: Column = "text",
    version: Version = None,
    json: Json = False,
) -> None:
    """Label texts with the champion, or another version.

    Rows of a file keep their columns, and get [bold]predicted[/] and [bold]confidence[/]
    (JSONL: [bold]scores[/] of all labels too). A row without a text gets none.
    """
    if bool(texts) == (input is not None):
        raise ConfigurationError(
            "give texts or --input, one of the two", where="predict", fix=f'freshtune predict {name} "some text"'
        )
    kind = _format(input, format)
    # Found before the model is loaded: a wrong name, a missing column or a damaged line far down.
    wanted = format_of(output_file.name, "--output") if output_file else None
    total = None if input in {None, STDIN} else sum(1 for _ in read(str(input), kind, column))
    runner = session.open_runner(name)
    records = iter([{column: text} for text in texts or ()]) if input is None else read(input, kind, column)
    # Rows that scroll over the terminal are progress enough.
    quiet = input is not None and output_file is None and sys.stdout.isatty()
    with nullcontext(discard) if quiet else watched([name], messages()) as sink:
        progress = Progress(name, sink)
        predictor, decisions = _loaded(runner, version, progress)
        labelled = _labelled(runner, predictor, decisions, records, column, progress, total)
        if texts and not json and output_file is None:
            shown = list(labelled)
        else:
            _write(labelled, output_file, _output_format(wanted, kind, json=json))
            return
    _show(shown, column)


def _format(source: str | None, given: Format | None) -> Format:
    if given is not None:
        return given
    return Format.TXT if source in {None, STDIN} else format_of(str(source), "--input")


def _output_format(wanted: Format | None, kind: Format, *, json: bool) -> Format:
    if wanted is not None:
        # A prediction does not fit into a line of text.
        return Format.CSV if wanted is Format.TXT else wanted
    if json:
        return Format.JSONL
    return Format.CSV if kind is Format.TXT else kind


def _loaded(runner: Runner, version: int | None, progress: Progress) -> tuple[Predictor, Decisions]:
    """The model, and how the evaluation that it was decided by makes answers of its scores."""
    from assets.evaluation.decisions import Decisions, read
    from assets.evaluation.predict import load  # imports transformers

    registered = Registered.of(runner)
    model = registered.champion if version is None else registered.model(version)
    if model is None:
        refused = f", or name one that was refused with --version (`freshtune models {runner.name}`)"
        raise ConfigurationError(
            "no model is in use yet",
            where=runner.name,
            fix=f"freshtune run {runner.name}{refused if registered.models else ''}",
        )
    progress.message(f"loading {registered.said(model)}")
    evaluation = log.evaluation(registered.entries, model)
    decisions = Decisions() if evaluation is None else read(runner.store.open("objects", evaluation))
    return load(runner.store.open("objects", model) / "model"), decisions


def _labelled(
    runner: Runner,
    predictor: Predictor,
    decisions: Decisions,
    records: Iterator[Record],
    column: str,
    progress: Progress,
    total: int | None,
) -> Iterator[Record]:
    """Rows with their predictions, a chunk at a time."""
    from assets.evaluation.predict import predict as predict_texts  # imports transformers

    cleaning = runner.config.cleaning
    masked = _masking(cleaning.mask_pii)
    blank = 0
    # One bar for all rows; the predictor's own bars are of a chunk each.
    with progress.bar("predicting", total) as advance:
        while chunk := list(itertools.islice(records, CHUNK)):
            # As the texts were that the model was trained on.
            texts = [
                masked(normalise(record[column] or "", unicode=cleaning.unicode, whitespace=cleaning.whitespace))
                for record in chunk
            ]
            there = [text for text in texts if text.strip()]
            blank += len(texts) - len(there)
            scores = predict_texts(predictor, there, Progress("predict"))[1] if there else None
            found = iter(()) if scores is None else _predicted(predictor, decisions, scores)
            for record, text in zip(chunk, texts, strict=True):
                yield _joined(record, next(found) if text.strip() else dict.fromkeys(PREDICTED))
            advance(len(chunk))
    if blank:
        progress.message(f"{blank:,} rows without a text were not predicted")


def _masking(kinds: Sequence[str] | None) -> Callable[[str], str]:
    """What masks personal data in a text as cleaning does, or leaves it as it is."""
    if kinds is None:
        return str
    from assets.cleaned.masking import finder, mask_text

    find = finder(kinds)
    return lambda text: mask_text(text, find)[0]


def _predicted(predictor: Predictor, decisions: Decisions, scores: Scores) -> Iterator[Record]:
    calibrated = decisions.calibrated(scores)
    chosen = decisions.chosen(calibrated, predictor.labels)
    for at, row in zip(chosen.tolist(), calibrated.tolist(), strict=True):
        yield {
            "predicted": predictor.labels[at],
            "confidence": round(row[at], 6),
            "scores": {name: round(score, 6) for name, score in zip(predictor.labels, row, strict=True)},
        }


def _joined(record: Record, predicted: Mapping[str, Any]) -> Record:
    clash = sorted(set(record) & set(PREDICTED))
    if clash:
        raise ConfigurationError(
            f"the input has a column {clash[0]!r} already",
            where="--input",
            fix="rename it, so that none is overwritten",
        )
    return {**record, **predicted}


def _write(records: Iterable[Record], path: Path | None, kind: Format) -> None:
    with ExitStack() as stack:
        write = writer(sys.stdout if path is None else stack.enter_context(written(path)), kind)
        for record in records:
            write(record)


def _show(records: Iterable[Record], column: str) -> None:
    rows = table("predicted", "confidence", "text", right=("confidence",), wrap="text")
    for record in records:
        confidence = "" if record["confidence"] is None else f"{record['confidence']:.1%}"
        rows.add_row(Text(record["predicted"] or "", style="bold"), confidence, Text(record[column]))
    output().print(rows)
