"""`freshtune store`: collect garbage, verify every digest, bring the store to the present format."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from assets.cli.console import messages, output, print_json, table
from assets.cli.options import Json
from assets.config.home import Home, home
from assets.errors import ConfigurationError
from assets.store import garbage, migration, verification
from assets.store.garbage import KEEP
from assets.store.store import Store
from assets.store.verification import Fault

EXAMPLES = (
    "freshtune store gc",
    "freshtune store gc --keep 200 --yes",
    "freshtune store verify",
    "freshtune store migrate",
)


class Verb(StrEnum):
    """What to do with the store."""

    GC = "gc"
    VERIFY = "verify"
    MIGRATE = "migrate"


VerbArgument = Annotated[Verb, typer.Argument(help="gc, verify or migrate.", metavar="VERB", show_default=False)]
Keep = Annotated[
    int | None,
    typer.Option("--keep", metavar="N", min=0, help=f"Results of steps kept as the newest; {KEEP} if left out."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Remove the garbage; without it, it is only shown.")]


def store(verb: VerbArgument, keep: Keep = None, yes: Yes = False, json: Json = False) -> None:
    """Keep the store in order.

    [bold]gc[/]: shows what nothing needs any more, and removes it with --yes
    [bold]verify[/]: reads everything and checks every digest
    [bold]migrate[/]: brings a store of an earlier format to the present one

    gc keeps what pipelines stand for, what promotion logs name, the newest results, and what a running process uses;
    a sample that nobody changed for 30 days goes. What was removed is simply built again where it is wanted.
    """
    if verb is not Verb.GC and (keep is not None or yes):
        raise ConfigurationError(f"{verb} takes neither --keep nor --yes", where="store", fix=f"freshtune store {verb}")
    settings = home()
    if verb is Verb.MIGRATE:
        _migrate(settings, json=json)
    elif verb is Verb.VERIFY:
        _verify(settings, json=json)
    else:
        _gc(settings, KEEP if keep is None else keep, yes=yes, json=json)


def _opened(settings: Home) -> Store:
    return Store(settings.store, settings.path / "cache")


def _gc(settings: Home, keep: int, *, yes: bool, json: bool) -> None:
    from assets.cli.progress import watched

    with watched(["store"], messages()) as sink:
        found = garbage.gc(_opened(settings), work=settings.path / "work", keep=keep, delete=yes, sink=sink)
    if json:
        print_json(found.json())
        return
    console = output()
    gone = "removed" if found.deleted else "garbage"
    rows = table("kind", gone, "size", "kept", "size kept", right=(gone, "size", "kept", "size kept"))
    for kind in dict.fromkeys([*found.kept, *found.garbage]):
        cells = []
        for amount in (found.garbage.get(kind), found.kept.get(kind)):
            cells += ["", ""] if amount is None else [f"{amount.count:,}", _size(amount.bytes)]
        rows.add_row(kind, *cells)
    console.print(Text(settings.store, style="bold"), soft_wrap=True)
    console.print(rows)
    if found.deleted or not found.garbage:
        console.print(f"\n{_size(found.bytes)} freed." if found.garbage else "\nNo garbage.")
    else:
        console.print(f"\n{_size(found.bytes)} can be freed. Next: freshtune store gc --yes", soft_wrap=True)


def _verify(settings: Home, *, json: bool) -> None:
    from assets.cli.progress import watched

    with watched(["store"], messages()) as sink:
        found = verification.verify(_opened(settings), sink=sink)
    if json:
        print_json(found.json())
    else:
        console = output()
        console.print(Text(settings.store, style="bold"), soft_wrap=True)
        for kind, amount in found.checked.items():
            console.print(f"{amount.count:,} {kind} read, {_size(amount.bytes)}")
        for heading, faults, style in (("Damaged", found.faults, "bold red"), ("For information", found.notes, "bold")):
            if faults:
                console.print(Text(f"\n{heading}", style=style))
            for fault in faults:
                console.print(Text(_said(fault)), soft_wrap=True)
        console.print(Text(_fix(found.faults) if found.faults else "\nEvery digest is right."), soft_wrap=True)
    if found.faults:
        raise typer.Exit(1)


def _said(fault: Fault) -> str:
    return f"{fault.name}: {fault.what}" + (f" ({'; '.join(fault.affected)})" if fault.affected else "")


def _fix(faults: tuple[Fault, ...]) -> str:
    """What to do: the pipelines whose steps stand on what is damaged run again; the plan sees it already."""
    names = {each.split("/")[1] for fault in faults for each in fault.affected if each.count("/") == 2}
    lines = [f"  fix: freshtune run {name}" for name in sorted(names)]
    if any(each.startswith("promotion log") for fault in faults for each in fault.affected):
        lines.append(
            "  A result that only a promotion log names is built by a run with the configuration of that time."
        )
    if any(not fault.affected for fault in faults):
        lines.append("  What nothing stands on is built again when it is wanted; freshtune store gc --yes removes it.")
    return "\n".join(["", *lines])


def _migrate(settings: Home, *, json: bool) -> None:
    from assets.cli.progress import watched

    with watched(["store"], messages()) as sink:
        before, after = migration.migrate(settings.store, sink=sink)
    if json:
        print_json({"before": before, "after": after})
    elif before == after:
        output().print(f"The store has format {after}, which is the present one.")
    else:
        output().print(f"The store had format {before} and has format {after} now.")


def _size(size: float) -> str:
    """Bytes for people: `512 B`, `1.4 MB`."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.3g} {unit}"
    return f"{size / 1000:.3g} TB"
