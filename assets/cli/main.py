"""The `freshtune` command. A command's module is imported only when that command is asked for."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from assets.errors import FreshtuneError, explained

COMMANDS = ("plan", "run", "report", "predict", "predictions", "models", "rows", "store", "ui", "doctor")
"""Names of the commands, in the order of the help: `assets.cli.NAME` has the function `NAME`, and its `EXAMPLES`."""


class Commands(TyperGroup):
    """The commands, each loaded when it is asked for, and how their errors are said."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"assets.cli.{cmd_name}")
        examples = "\n".join(["[bold]Examples[/]", *(f"  {line}" for line in module.EXAMPLES)])
        one = typer.Typer(add_completion=False, rich_markup_mode="rich")
        one.command(cmd_name, epilog=examples)(getattr(module, cmd_name))
        return typer.main.get_command(one)

    def invoke(self, ctx: Any) -> Any:
        """Run a command: an error that is meant for people is said in plain words, any other keeps its traceback."""
        try:
            return self._explaining(ctx)
        except FreshtuneError as error:
            from assets.cli.console import say_error  # rich is not needed where all goes well

            say_error(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("Stopped. What was finished is kept; the same command goes on from there.", err=True)
            raise typer.Exit(130) from None

    def _explaining(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except OSError as error:
            from assets.config.home import home

            raise (explained(error, home().path) or error) from error.__cause__


app = typer.Typer(
    cls=Commands,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    epilog="[bold]Start with[/]\n  freshtune run sms_spam\n\n"
    "Exit codes: 0 done; 1 the work failed; 2 wrong use or configuration.",
)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"freshtune {importlib.metadata.version('freshtune')}")
        raise typer.Exit


@app.callback()
def freshtune(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Keep fine-tuned language models fresh: rerun only what a change makes stale."""


def main() -> None:
    """Run the command line and exit with its code."""
    app()


if __name__ == "__main__":
    main()
