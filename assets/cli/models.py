"""`freshtune models`: the versions of a pipeline's model, which one is in use, and putting another one in use."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from assets import session
from assets.cli.model_list import list_pipelines, list_versions
from assets.cli.options import Json, OptionalName
from assets.errors import ConfigurationError
from assets.store.runner import Runner

EXAMPLES = (
    "freshtune models",
    "freshtune models sms_spam",
    'freshtune models sms_spam promote 2 --why "better on short texts"',
    "freshtune models sms_spam rollback",
    "freshtune models sms_spam lineage 2",
    "freshtune models sms_spam diff 1 2",
    'freshtune models sms_spam adopt path/to/model --why "in use since spring"',
)


class Verb(StrEnum):
    """What to do with the models of a pipeline."""

    LIST = "list"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    ADOPT = "adopt"
    RESTORE = "restore"
    LINEAGE = "lineage"
    DIFF = "diff"


TAKES = {
    Verb.PROMOTE: ("VERSION",),
    Verb.LINEAGE: ("VERSION",),
    Verb.DIFF: ("VERSION", "VERSION"),
    Verb.ADOPT: ("MODEL",),
}
"""What comes after a verb; nothing after the others."""

VerbArgument = Annotated[Verb, typer.Argument(help=f"{', '.join(Verb)}.", metavar="VERB")]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="VERSION|MODEL", help="The version; for diff two; for adopt a model.", show_default=False),
]
Why = Annotated[str | None, typer.Option("--why", help="The reason, kept in the promotion log; asked for if left out.")]


def models(
    name: OptionalName = None,
    verb: VerbArgument = Verb.LIST,
    given: Arguments = None,
    why: Why = None,
    json: Json = False,
) -> None:
    """List the models that were trained, and put another one in use.

    [bold]list[/]: versions of the pipeline's model; without NAME, every pipeline
    [bold]promote VERSION[/]: makes a version the champion, whatever the gate said
    [bold]rollback[/]: goes back to the champion before
    [bold]lineage VERSION[/]: where it came from: files, rows, settings, code, libraries, checks
    [bold]diff VERSION VERSION[/]: what is different between two
    [bold]adopt MODEL[/]: takes a model that was trained elsewhere as the first champion:
    a folder, models:/NAME/VERSION of MLflow, or owner/name of the Hugging Face hub
    [bold]restore[/]: sets what was changed in MLflow by hand back to the promotion log

    What was taken out by a rollback returns only by an explicit promotion.
    """
    arguments = given or []
    _check(name, verb, arguments)
    if name is None:
        list_pipelines(json=json)
        return
    runner = session.open_runner(name)
    if verb in {Verb.LINEAGE, Verb.DIFF}:
        _tell(runner, verb, [_version(each, verb) for each in arguments], json=json)
        return
    if verb is not Verb.LIST:
        _change(runner, verb, arguments, why)
    list_versions(runner, json=json)


def _check(name: str | None, verb: Verb, arguments: list[str]) -> None:
    takes = TAKES.get(verb, ())
    if len(arguments) == len(takes):
        return
    wanted = {0: "takes no version", 1: f"needs a {takes[0].lower()}" if takes else "", 2: "needs two versions"}
    got = f", and got {' '.join(arguments)}" if arguments else ""
    raise ConfigurationError(
        f"{verb} {wanted[len(takes)]}{got}",
        where="models",
        fix=f"freshtune models {name or 'NAME'} {' '.join([verb, *takes])}",
    )


def _version(text: str, verb: Verb) -> int:
    if not text.isdecimal():
        raise ConfigurationError(
            f"{text!r} is no version: a whole number, as `freshtune models NAME` lists them",
            where="models",
            fix=f"freshtune models NAME {' '.join([verb, *TAKES[verb]])}",
        )
    return int(text)


def _tell(runner: Runner, verb: Verb, versions: list[int], *, json: bool) -> None:
    from assets.cli import model_origins  # not needed by the others

    if verb is Verb.LINEAGE:
        model_origins.show_lineage(model_origins.lineage_of(runner, *versions), json=json)
    else:
        model_origins.show_difference(model_origins.difference_of(runner, *versions), json=json)


def _change(runner: Runner, verb: Verb, arguments: list[str], why: str | None) -> None:
    from assets.cli import model_changes  # not needed by those who only look

    if verb is Verb.PROMOTE:
        model_changes.promote(runner, _version(arguments[0], verb), why)
    elif verb is Verb.ROLLBACK:
        model_changes.rollback(runner, why)
    elif verb is Verb.ADOPT:
        model_changes.adopt(runner, arguments[0], why)
    else:
        model_changes.restore(runner)
