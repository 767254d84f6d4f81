"""`freshtune predict`: labels for texts, by the model in use."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from assets import session
from assets.cli.arriving import arriving
from assets.cli.console import messages, output, table
from assets.cli.options import Json, Name
from assets.cli.progress import watched
from assets.cli.records import PREDICTED, STDIN, Format, Record, format_of, read
from assets.cli.registered import Registered
from assets.cli.written import writable, writer, written
from assets.errors import ConfigurationError, DataError
from assets.labelling import CHUNK, Labeller, Prediction
from assets.progress import Progress, discard
from assets.store.runner import Runner

EXAMPLES = (
    'freshtune predict sms_spam "You have won a prize, call now"',
    "freshtune predict sms_spam -i messages.csv --column body -o scored.csv",
    "cat messages.txt | freshtune predict sms_spam --input - --json",
)

WAIT = 0.1
"""Seconds after which a row that came in is answered, however few are there."""
NAMED = 20
"""So many lines that are no rows are named; of more only their number is told."""

Texts = Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Texts to label.", show_default=False)]
Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        "-i",
        metavar="FILE|-",
        help="Rows of a file (.txt, .csv, .tsv, .jsonl, .json, .parquet, .arrow; also .gz, .zst), or standard input.",
    ),
]
InputFormat = Annotated[
    Format | None,
    typer.Option("--format", help="What --input is, if its name does not say; standard input is txt: one text a line."),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the rows there (.csv, .tsv, .jsonl, .parquet)."),
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
    (JSONL, Parquet: [bold]scores[/] of all labels too). A row without a text gets none.
    Lines that cannot be read are named and left out, and the exit code is 1 then, with the others predicted.
    A slow pipe gets each answer soon.
    """
    if bool(texts) == (input is not None):
        raise ConfigurationError(
            "give texts or --input, one of the two", where="predict", fix=f'freshtune predict {name} "some text"'
        )
    kind = _format(input, format)
    # Found before the model is loaded: a wrong name, a missing column, a file that is cut off.
    wanted = writable(output_file.name, "--output") if output_file else None
    total = None if input in {None, STDIN} else sum(isinstance(row, dict) for row in read(str(input), kind, column))
    runner = session.open_runner(name)
    records = iter([{column: text} for text in texts or ()]) if input is None else read(input, kind, column)
    # Rows that scroll over the terminal are progress enough.
    left_out = Counter[str]()
    quiet = input is not None and output_file is None and sys.stdout.isatty()
    with nullcontext(discard) if quiet else watched([name], messages()) as sink:
        progress = Progress(name, sink)
        labeller = _loaded(runner, version, progress)
        labelled = _labelled(labeller, records, column, progress, total, left_out)
        if texts and not json and output_file is None:
            shown = list(itertools.chain.from_iterable(labelled))
        else:
            _write(labelled, output_file, _output_format(wanted, kind, json=json), labeller.predictor.labels)
            shown = []
    if shown:
        _show(shown, column)
    if left_out["damaged"]:
        raise typer.Exit(1)


def _format(source: str | None, given: Format | None) -> Format:
    if given is not None:
        return given
    return Format.TXT if source in {None, STDIN} else format_of(str(source), "--input")


def _output_format(wanted: Format | None, kind: Format, *, json: bool) -> Format:
    if wanted is not None:
        # A prediction does not fit into a line of text.
        return Format.CSV if wanted is Format.TXT else wanted
    if json or kind in {Format.JSON, Format.PARQUET, Format.ARROW}:
        return Format.JSONL
    return Format.CSV if kind is Format.TXT else kind


def _loaded(runner: Runner, version: int | None, progress: Progress) -> Labeller:
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
    return Labeller.of(runner, model)


def _labelled(
    labeller: Labeller,
    records: Iterator[Record | DataError],
    column: str,
    progress: Progress,
    total: int | None,
    left_out: Counter[str],
) -> Iterator[list[Record]]:
    """Rows with their predictions, as many at a time as are there; `left_out` counts those that get none."""
    with progress.bar("predicting", total) as advance:
        for arrived in arriving(records, CHUNK, WAIT):
            rows = []
            for record in arrived:
                if isinstance(record, DataError):
                    left_out["damaged"] += 1
                    if left_out["damaged"] <= NAMED:
                        progress.message(f"left out: {record.where}: {record.what}")
                else:
                    rows.append(record)
            predictions = labeller.label([record[column] for record in rows])
            left_out["blank"] += predictions.count(None)
            yield [_joined(record, _fields(each)) for record, each in zip(rows, predictions, strict=True)]
            advance(len(rows))
    if blank := left_out["blank"]:
        progress.message(f"{blank:,} rows without a text were not predicted")
    if damaged := left_out["damaged"]:
        progress.message(f"{damaged:,} lines cannot be read as rows, and were left out")


def _fields(prediction: Prediction | None) -> Record:
    if prediction is None:
        return dict.fromkeys(PREDICTED)
    return dict(zip(PREDICTED, (prediction.label, prediction.confidence, dict(prediction.scores)), strict=True))


def _joined(record: Record, predicted: Mapping[str, Any]) -> Record:
    clash = sorted(set(record) & set(PREDICTED))
    if clash:
        raise ConfigurationError(
            f"the input has a column {clash[0]!r} already",
            where="--input",
            fix="rename it, so that none is overwritten",
        )
    return {**record, **predicted}


def _write(chunks: Iterable[Sequence[Record]], path: Path | None, kind: Format, labels: Sequence[str]) -> None:
    with ExitStack() as stack:
        stream = sys.stdout if path is None else stack.enter_context(written(path, binary=kind is Format.PARQUET))
        write = stack.enter_context(writer(stream, kind, labels))
        for chunk in chunks:
            write(chunk)
            # Whoever reads this line by line shall not wait for a full buffer.
            stream.flush()


def _show(records: Iterable[Record], column: str) -> None:
    rows = table("predicted", "confidence", "text", right=("confidence",), wrap="text")
    for record in records:
        confidence = "" if record["confidence"] is None else f"{record['confidence']:.1%}"
        rows.add_row(Text(record["predicted"] or "", style="bold"), confidence, Text(record[column]))
    output().print(rows)
