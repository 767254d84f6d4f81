"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer


def _names(incomplete: str) -> list[str]:
    """Names of pipelines, for completion in the shell."""
    from assets.config.home import project_root  # only for completion
    from assets.config.load import pipeline_names  # only for completion

    return [name for name in pipeline_names(project_root()) if name.startswith(incomplete)]


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The pipeline: a folder under pipelines/.", autocompletion=_names)
]
OptionalName = Annotated[
    str | None, typer.Argument(metavar="NAME", help="The pipeline: a folder under pipelines/.", autocompletion=_names)
]
To = Annotated[str | None, typer.Option("--to", metavar="STEP", help="The last step that is wanted.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, for programs.")]
