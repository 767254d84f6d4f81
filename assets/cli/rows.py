"""`freshtune rows`: those in quarantine, those whose label is likely wrong, what became of some, and ruling on them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from assets import session
from assets.cli.console import messages, output, print_json, table
from assets.cli.options import Json, Name
from assets.cli.registered import now
from assets.errors import ConfigurationError
from assets.store.build import by
from assets.store.runner import Runner

if TYPE_CHECKING:
    from assets.cli.doubtful import Doubtful
    from assets.cli.ruling import Change, Rows, Wish
    from assets.validated.rulings import Ruling

EXAMPLES = (
    "freshtune rows sms_spam quarantine --expectation regex",
    "freshtune rows sms_spam quarantine --export bad.csv",
    "freshtune rows sms_spam review --export tasks.json --format label_studio",
    'freshtune rows sms_spam rule 3f2a91c4 --relabel spam --why "asks for money"',
    "freshtune rows sms_spam rule --import annotated.json",
    'freshtune rows sms_spam trace --text "win a prize now"',
)
SHOWN = 20
"""Rows that a table shows if nobody says how many."""
CUT = 160
"""Characters of a text that a table shows."""


class Verb(StrEnum):
    """What to do with the rows of a pipeline."""

    QUARANTINE = "quarantine"
    REVIEW = "review"
    RULE = "rule"
    TRACE = "trace"


class ExportFormat(StrEnum):
    """Formats of an export; `label_studio` is JSON that Label Studio imports as tasks."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    LABEL_STUDIO = "label_studio"


VerbArgument = Annotated[
    Verb, typer.Argument(help="quarantine, review, rule or trace.", metavar="VERB", show_default=False)
]
RowIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="ROW_ID", help="Rows to rule on or trace, by the first digits.", show_default=False),
]
Expectation = Annotated[
    str | None, typer.Option("--expectation", metavar="TEXT", help="Only rows with this in their expectation's name.")
]
LabelOption = Annotated[str | None, typer.Option("--label", help="Only rows with this label.")]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help=f"Only N rows; a table shows {SHOWN} if left out.")
]
Export = Annotated[Path | None, typer.Option("--export", metavar="FILE", help="Write the rows there.")]
ExportFormatOption = Annotated[
    ExportFormat | None, typer.Option("--format", help="What --export is, if its name does not say.")
]
Readmit = Annotated[bool, typer.Option("--readmit", help="Accept the rows, whatever they fail.")]
Relabel = Annotated[str | None, typer.Option("--relabel", metavar="LABEL", help="Let the rows count with this label.")]
Drop = Annotated[bool, typer.Option("--drop", help="Keep the rows out.")]
Why = Annotated[str | None, typer.Option("--why", help="The reason, kept with the ruling; asked for if left out.")]
Import = Annotated[
    Path | None, typer.Option("--import", metavar="FILE", help="Rule as Label Studio's JSON export of such tasks says.")
]

Whole = Annotated[str | None, typer.Option("--text", metavar="TEXT", help="Trace rows with this text, all of it.")]
OfFile = Annotated[
    str | None, typer.Option("--file", metavar="FILE", help="Trace rows of this file of the source, by name or sha256.")
]

Everywhere = Annotated[
    bool, typer.Option("--everywhere", help="With --text: list the files of freshtune that hold the text instead.")
]


def rows(
    name: Name,
    verb: VerbArgument,
    row_ids: RowIds = None,
    expectation: Expectation = None,
    label: LabelOption = None,
    limit: Limit = None,
    export: Export = None,
    format: ExportFormatOption = None,  # noqa: A002 - the option's name
    readmit: Readmit = False,
    relabel: Relabel = None,
    drop: Drop = False,
    why: Why = None,
    import_file: Import = None,
    text: Whole = None,
    file: OfFile = None,
    everywhere: Everywhere = False,
    json: Json = False,
) -> None:
    """Look at the rows that are kept out, rule on them, and see what became of rows in every model.

    [bold]quarantine[/]: rows that steps have set aside, each with its reason and where it came from
    [bold]review[/]: rows whose label is likely wrong, most doubtful first
    [bold]rule ROW_ID…[/]: readmit, relabel or drop rows
    [bold]trace ROW_ID…[/]: for every model, whether it was trained on the rows; also by --text or --file

    Rulings are lines of pipelines/NAME/rulings.jsonl: review and commit them like code. Taking a line out undoes it.
    """
    if verb is Verb.TRACE:
        others = (expectation, label, limit, export, format, relabel, why, import_file)
        fits = all(each is None for each in others) and not (readmit or drop)
        if everywhere and text is not None and fits and not (row_ids or file):
            _search(name, text, json=json)
        else:
            _trace(name, row_ids or [], text, file, fits=fits and not everywhere, json=json)
        return
    _refuse_tracing(name, text, file, everywhere=everywhere)
    looks, rules = (expectation, label, limit, export, format), (row_ids, readmit, relabel, drop, why, import_file)
    if verb is not Verb.RULE and any(rules):
        raise ConfigurationError(
            f"{verb} takes no rows to rule on and no --readmit, --relabel, --drop, --why, --import",
            where="rows",
            fix=f"freshtune rows {name} {verb}, or freshtune rows {name} {Verb.RULE} ROW_ID --drop",
        )
    if verb is Verb.RULE and any(each is not None for each in looks):
        raise ConfigurationError(
            "rule takes no --expectation, --label, --limit, --export, --format",
            where="rows",
            fix=f"freshtune rows {name} rule ROW_ID --drop",
        )
    if format is not None and export is None:
        raise ConfigurationError("--format is about --export, which is missing", where="rows", fix="add --export FILE")
    kind = None if export is None else _export_format(export, format)
    if verb is Verb.RULE:
        _refuse_unclear(name, row_ids or [], readmit, relabel, drop, import_file)
    runner = session.open_runner(name)
    if verb is Verb.RULE:
        _rule(runner, row_ids or [], relabel, drop=drop, why=why, import_file=import_file, json=json)
        return
    _look(runner, verb, expectation, label, limit, export, kind, json=json)


def _look(
    runner: Runner,
    verb: Verb,
    expectation: str | None,
    label: str | None,
    limit: int | None,
    export: Path | None,
    kind: ExportFormat | None,
    *,
    json: bool,
) -> None:
    from assets.cli import doubtful  # imports pyarrow

    found = doubtful.suspects(runner) if verb is Verb.REVIEW else doubtful.quarantined(runner)
    found = doubtful.chosen(found, expectation, label)
    if export is not None and kind is not None:
        _export(runner, found[:limit], export, kind)
    elif json:
        listed = [row.json() for row in found[:limit]]
        print_json({"pipeline": runner.name, "found": len(found), "rows": listed})
    else:
        _show(runner, verb, found, limit or SHOWN)


def _export_format(path: Path, given: ExportFormat | None) -> ExportFormat:
    """The format of an export, by the ending of its name if it is not given."""
    ending = path.suffix.lower().removeprefix(".")
    if given is None and ending not in list(ExportFormat):
        raise ConfigurationError(
            f"the format of {path.name!r} is unknown",
            where="--export",
            fix=f"name it .csv, .jsonl or .parquet, or say which it is with --format: {', '.join(ExportFormat)}",
        )
    return given or ExportFormat(ending)


def _refuse_unclear(
    name: str, row_ids: Sequence[str], readmit: bool, relabel: str | None, drop: bool, import_file: Path | None
) -> None:
    wanted = sum([readmit, relabel is not None, drop])
    fix = f'freshtune rows {name} rule ROW_ID --relabel LABEL --why "the reason"'
    if import_file is not None:
        if wanted or row_ids:
            raise ConfigurationError(
                "--import says itself which rows are ruled how", where="rows", fix="leave it alone"
            )
    elif not row_ids:
        raise ConfigurationError("rule needs rows, or --import", where="rows", fix=fix)
    elif wanted != 1:
        raise ConfigurationError(
            "rule needs one of --readmit, --relabel LABEL and --drop",
            where="rows",
            fix=fix if not wanted else "choose one",
        )


def _show(runner: Runner, verb: Verb, found: Sequence[Doubtful], limit: int) -> None:
    console = output()
    console.print(Text(runner.name, style="bold"))
    if not found:
        console.print("No row." if verb is Verb.REVIEW else "No row is in quarantine.")
        return
    listed = table("row", "where", "label", "what", wrap="what")
    for row in found[:limit]:
        what = Text(_plain(f"{row.expectation}: {row.detail}"), style="yellow").append(
            f"\n{_plain(row.text or '')}", style="default"
        )
        listed.add_row(row.row_id[:8], _plain(_where(row)), _plain(row.label or "–"), what)
    console.print(listed)
    if len(found) > limit:
        console.print(
            f"\n{limit:,} of {len(found):,} rows; --limit shows more, --export FILE all of them.", soft_wrap=True
        )
    console.print(
        f'\nRule on them: freshtune rows {runner.name} rule ROW --readmit | --relabel LABEL | --drop --why "…"',
        soft_wrap=True,
        markup=False,
    )


def _where(row: Doubtful) -> str:
    if row.file is None:
        return "–"
    more = f" and {row.places - 1:,} more" if row.places > 1 else ""
    return f"{row.file}:{row.line}{more}"


def _plain(text: str) -> str:
    """A text on one line that cannot move the cursor or colour the terminal."""
    text = "".join(character if character.isprintable() else " " for character in text[: 2 * CUT])
    text = " ".join(text.split())
    return text if len(text) <= CUT else f"{text[: CUT - 1]}…"


def _export(runner: Runner, found: Sequence[Doubtful], path: Path, kind: ExportFormat) -> None:
    from assets.cli.exported import DROP, label_config, write_rows  # imports pyarrow

    labels = runner.config.task.labels
    neutralised = write_rows(path, found, kind, labels)
    said = messages()
    said.print(f"{len(found):,} rows written to {path}", soft_wrap=True, markup=False)
    if neutralised:
        said.print(
            f"{neutralised:,} {'cell begins' if neutralised == 1 else 'cells begin'} like a formula and got a ' in "
            "front, so that no spreadsheet runs it; "
            "jsonl and parquet have them as they are.",
            soft_wrap=True,
        )
    if kind is ExportFormat.LABEL_STUDIO:
        said.print("Labelling interface for Label Studio's project:", soft_wrap=True)
        said.print(label_config(labels), soft_wrap=True, markup=False)
        said.print(
            f"The choice {DROP} keeps a row out. Afterwards: export as JSON, then "
            f"freshtune rows {runner.name} rule --import FILE",
            soft_wrap=True,
            markup=False,
        )


def _rule(
    runner: Runner,
    row_ids: Sequence[str],
    relabel: str | None,
    *,
    drop: bool,
    why: str | None,
    import_file: Path | None,
    json: bool,
) -> None:
    from assets.cli import ruling  # imports pyarrow

    known = ruling.Rows(runner)
    if import_file is not None:
        wishes = _imported(known, import_file, why)
    else:
        targets = known.find(row_ids)
        action = "drop" if drop else "readmit" if relabel is None else "relabel"
        reason = why or _asked(runner.name)
        wishes = [ruling.Wish(each, action, relabel, reason, by(), now()) for each in targets]  # type: ignore[arg-type]
    changes = ruling.rule(known, wishes)
    if json:
        print_json({"pipeline": runner.name, "ruled": [change.json() for change in changes]})
        return
    _say(runner, changes, asked=len(wishes))


def _imported(known: Rows, path: Path, why: str | None) -> list[Wish]:
    from assets.cli import ruling  # imports pyarrow

    found = ruling.read_label_studio(path, known, why=why or "labelled in Label Studio", by=by(), when=now())
    told = {
        "without an annotation": found.open,
        "about rows that are not there": found.gone,
        "that change nothing": found.agreed,
    }
    for what, count in told.items():
        if count:
            messages().print(f"{count:,} {'task' if count == 1 else 'tasks'} {what}", soft_wrap=True)
    return found.wishes


def _asked(name: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "a ruling keeps its reason, and --why is missing", where=name, fix='add --why "the reason"'
        )
    reason: str = typer.prompt("Why (kept with the ruling)", err=True)
    return reason


def _say(runner: Runner, changes: Sequence[Change], *, asked: int) -> None:
    console = output()
    console.print(Text(runner.name, style="bold"))
    if asked > len(changes):
        console.print(f"{asked - len(changes):,} of {asked:,} were ruled so already.", soft_wrap=True)
    if not changes:
        return
    listed = table("row", "ruling", "before", "text", wrap="text")
    for change in changes:
        before = "–" if change.before is None else f"{_outcome(change.before)} ({change.before.by})"
        listed.add_row(change.row_id[:8], _plain(_outcome(change.ruling)), _plain(before), _plain(change.ruling.text))
    console.print(listed)
    console.print(
        f"\nWritten to pipelines/{runner.name}/rulings.jsonl. Next: freshtune run {runner.name}", soft_wrap=True
    )


def _outcome(ruling: Ruling) -> str:
    if ruling.action == "relabel":
        return f"{ruling.label or 'no label'} → {ruling.to}"
    return "drop" if ruling.action == "drop" else f"readmit as {ruling.label}"


def _refuse_tracing(name: str, text: str | None, file: str | None, *, everywhere: bool) -> None:
    if text is not None or file is not None or everywhere:
        raise ConfigurationError(
            "--text, --file and --everywhere are for trace only",
            where="rows",
            fix=f"freshtune rows {name} {Verb.TRACE} --text TEXT",
        )


def _trace(name: str, row_ids: Sequence[str], text: str | None, file: str | None, *, fits: bool, json: bool) -> None:
    if not fits or not (row_ids or text is not None or file is not None):
        raise ConfigurationError(
            "trace takes ROW_ID, --text or --file, and --json; or --text and --everywhere"
            if not fits
            else "trace needs rows",
            where="rows",
            fix=f'freshtune rows {name} {Verb.TRACE} ROW_ID, or --text "the whole text", or --file NAME',
        )
    from assets.cli.trace import Wanted, trace  # imports pyarrow

    runner = session.open_runner(name)
    found = trace(runner, Wanted(row_ids, text, file))
    if json:
        print_json({"pipeline": runner.name, "found": len(found), "rows": [row.json() for row in found]})
        return
    console = output()
    console.print(Text(runner.name, style="bold"))
    listed = table("row", "model", "gate", "what became of it", wrap="what became of it")
    for row in found[:SHOWN]:
        first = ", ".join(f"{file}:{line}" for file, line in row.places[:3])
        more = f" and {len(row.places) - 3:,} more" if len(row.places) > 3 else ""
        listed.add_row(row.row_id[:8], "", "", _plain(f"{first}{more}  {row.label or '–'}  {row.text or ''}"))
        for fate in row.models:
            model = fate.model[:12] if fate.version is None else f"version {fate.version}"
            listed.add_row("", f"{model} {fate.alias or ''}".strip(), fate.decision, _plain(fate.said()))
        if not row.models:
            listed.add_row("", "–", "–", "no model yet")
    console.print(listed)
    if len(found) > SHOWN:
        console.print(f"\n{SHOWN} of {len(found):,} rows; --json has all of them.", soft_wrap=True)


def _search(name: str, text: str, *, json: bool) -> None:
    from assets.cli.everywhere import search  # imports pyarrow

    runner = session.open_runner(name)
    files, away = search(runner, text)
    if json:
        print_json({"pipeline": runner.name, "files": [str(path) for path in files], "not_searched": away})
        return
    console = output()
    for path in files:
        console.print(str(path), soft_wrap=True, markup=False)
    count = "1 file of freshtune holds" if len(files) == 1 else f"{len(files):,} files of freshtune hold"
    messages().print(f"{count} the text; the source itself was not searched.", soft_wrap=True)
    for url in away:
        messages().print(f"Not on this machine, and not searched: {url}", style="yellow", soft_wrap=True, markup=False)
