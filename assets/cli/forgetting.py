"""`freshtune rows NAME rule --forget` and `rows NAME forgotten`: asks, forgets, and says what was done."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from assets.cli.certificates import in_words
from assets.cli.console import messages, output, print_json, table
from assets.cli.registered import local_time
from assets.cli.trace import Wanted
from assets.errors import ConfigurationError
from assets.store import forgotten
from assets.store.runner import Runner


def forget_rows(runner: Runner, wanted: Wanted, why: str | None, *, json: bool) -> None:
    """Forget rows and print the certificates."""
    from assets.cli.forget import forget  # imports much

    if wanted.prefixes or wanted.text is not None or wanted.file is not None:
        if why is None and not sys.stdin.isatty():
            raise ConfigurationError(
                "a request to forget rows keeps its reason, and --why is missing",
                where=runner.name,
                fix='add --why "the reason"; it is kept for ever, so name nobody in it',
            )
        why = why or typer.prompt("Why (kept for ever; name nobody)", err=True)
    elif all(request.certificate is not None for request in forgotten.requests(runner.store)):
        raise ConfigurationError(
            "--forget needs rows; nothing is unfinished",
            where=runner.name,
            fix=f'freshtune rows {runner.name} rule --forget ROW_ID, or --text "the whole text", or --file NAME',
        )
    done = forget(runner, wanted, why or "")
    if json:
        print_json({"pipeline": runner.name, "forgotten": done})
        return
    for certificate in done:
        output().print(in_words(certificate), soft_wrap=True, markup=False, highlight=False)
    messages().print(
        f"Certificates are in {runner.home.path / 'certificates'}. Next: freshtune run {runner.name}", soft_wrap=True
    )


def show_forgotten(runner: Runner, *, json: bool) -> None:
    """List the requests of the store, unfinished ones too."""
    requests = forgotten.requests(runner.store)
    if json:
        listed = [{**each.fields, "request": each.name, "certificate": each.certificate} for each in requests]
        print_json({"pipeline": runner.name, "requests": listed})
        return
    rows = table("request", "when", "who", "texts", "models", "state", "why", right=("texts", "models"), wrap="why")
    for each in requests:
        fields = each.fields
        state = "unfinished" if each.certificate is None else "done"
        rows.add_row(
            each.name,
            local_time(fields["when"]),
            fields["by"],
            f"{len(fields['hashes']):,}",
            _models(each.certificate),
            state,
            fields["why"],
        )
    output().print(rows)


def _models(certificate: Mapping[str, Any] | None) -> str:
    marked: Sequence[Any] = () if certificate is None else certificate["models"]
    return f"{len(marked):,}"
