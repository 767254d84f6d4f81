"""`freshtune predictions`: what the champion said about the unlabelled files, counted and exported."""

from __future__ import annotations

import json as json_module
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from assets import session
from assets.cli.console import messages, output, print_json, table
from assets.cli.options import Json, Name
from assets.cli.records import Format
from assets.cli.registered import Registered
from assets.cli.written import writable, writer
from assets.errors import ConfigurationError
from assets.store.runner import Runner, StepResult

if TYPE_CHECKING:
    import pyarrow as pa

EXAMPLES = (
    "freshtune predictions sms_spam",
    "freshtune predictions sms_spam --export predictions.parquet",
    "freshtune predictions sms_spam --export s3://bucket/predictions.parquet",
)

STEP = "predictions"
PARQUET = ".parquet"
AT_ONCE = 10_000
"""Rows that are Python objects at once."""

Export = Annotated[
    str | None,
    typer.Option(
        "--export", metavar="FILE|URL", help="Write every row there (.parquet, .csv, .tsv, .jsonl).", show_default=False
    ),
]
WithTexts = Annotated[bool, typer.Option("--with-texts", help="Export the texts too.")]


def predictions(name: Name, export: Export = None, with_texts: WithTexts = False, json: Json = False) -> None:
    """Show what the champion said about the files of [bold]predictions.source[/] in the last run, or export it.

    Each distinct row has [bold]row_id[/], the columns that are carried along, [bold]predicted[/], [bold]confidence[/]
    and, but for CSV and TSV, [bold]scores[/].
    """
    runner = session.open_runner(name)
    stood = _standing(runner)
    if with_texts and export is None:
        raise ConfigurationError(
            "--with-texts is about --export, which is missing", where=name, fix="add --export FILE"
        )
    if export is not None:
        rows = _export(runner, stood, export, texts=with_texts)
        messages().print(Text(f"{rows:,} rows written to {export}"), soft_wrap=True)
    told = {**stood.measurements, "content": stood.record.content}
    if json:
        print_json(told)
    elif export is None:
        _show(runner, told)


def _standing(runner: Runner) -> StepResult:
    if STEP not in {step.name for step in runner.chain}:
        raise ConfigurationError(
            "no files to predict are declared",
            where=runner.name,
            fix="add `predictions:` with `source.files`; one file now: `freshtune predict NAME --input FILE`",
        )
    found = runner.standing(STEP)
    if found is None:
        raise ConfigurationError("nothing was predicted yet", where=runner.name, fix=f"freshtune run {runner.name}")
    return found


def _export(runner: Runner, stood: StepResult, place: str, *, texts: bool) -> int:
    """Write every row; the file is there only when it is whole."""
    from assets.predictions.rows import read_predictions  # imports pyarrow

    kind = None if place.endswith(PARQUET) else writable(place, "--export")
    if kind is Format.TXT:
        raise ConfigurationError("a prediction does not fit into a line of text", where="--export", fix="name it .csv")
    content = runner.store.open("objects", stood.record.content)
    labels = json_module.loads((content / "predictions.json").read_bytes())["labels"]
    rows = read_predictions(content, texts=texts)
    try:
        with tempfile.TemporaryDirectory(dir=None if "://" in place else Path(place).absolute().parent) as folder:
            whole = Path(folder) / "whole"
            _write(whole, rows, kind, labels)
            if "://" in place:
                _put(whole, place)
            else:
                whole.replace(place)
    except OSError as error:
        raise ConfigurationError(
            f"{place!r} cannot be written: {error}", where="--export", fix="name another place"
        ) from error
    return len(rows)


def _put(whole: Path, url: str) -> None:
    import fsspec  # a file on this machine does not need it

    try:
        system, path = fsspec.core.url_to_fs(url)
        system.put_file(str(whole), path)
    except Exception as error:
        # Each file system has errors of its own, which derive from nothing in common.
        raise ConfigurationError(
            f"{url!r} cannot be written: {type(error).__name__}: {error}",
            where="--export",
            fix="check the URL, the file system that it needs (for s3://: pip install 'freshtune[s3]'), and the "
            "credentials in the environment",
        ) from error


def _write(path: Path, rows: pa.Table, kind: Format | None, labels: list[str]) -> None:
    import pyarrow.parquet as pq

    if kind is None:
        pq.write_table(rows, path, compression="zstd")
        return
    with path.open("w", encoding="utf-8", newline="") as stream, writer(stream, kind, labels) as write:
        for batch in rows.to_batches(max_chunksize=AT_ONCE):
            write([
                {**record, "scores": record["scores"] and dict(zip(labels, record["scores"], strict=True))}
                for record in batch.to_pylist()
            ])  # fmt: skip


def _show(runner: Runner, told: dict[str, Any]) -> None:
    console = output()
    if told["reason"]:
        console.print(f"Nothing is predicted: {told['reason']}.")
        return
    left = f"{told['without_text']:,} without a text, {told['rejected']:,} that could not be read"
    said = Registered.of(runner).said(told["model"])
    console.print(
        f"{told['predicted']:,} of {told['read']:,} rows in {told['files']:,} files predicted by {said}; {left}."
    )
    labels = table("predicted", "rows", "share", right=("rows", "share"))
    whole = sum(told["labels"].values())
    for label, count in told["labels"].items():
        labels.add_row(Text(label), f"{count:,}", f"{count / whole:.1%}")
    console.print(labels)
    console.print(f"Export them: freshtune predictions {runner.name} --export predictions.parquet", soft_wrap=True)
