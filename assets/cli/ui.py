"""`freshtune ui`: Dagster's UI over the same instance that `freshtune run` writes to."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Annotated

import typer

from assets.errors import ConfigurationError

EXAMPLES = ("freshtune ui", "freshtune ui --port 3001")

LOOPBACK = "127.0.0.1"

Port = Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on loopback.")]


def ui(port: Port = 3000) -> None:
    """Open Dagster's UI on loopback: the asset graph, checks, runs, and what each step measured. Ctrl-C stops it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} cannot be used: {error.strerror}", where="--port", fix=f"freshtune ui --port {port + 1}"
            ) from None
    from assets.orchestration.launch import ui_command  # imports Dagster

    command, environment = ui_command(port)
    typer.echo(f"Dagster's UI: http://{LOOPBACK}:{port}  (ready in some seconds; Ctrl-C stops it)")
    sys.stdout.flush()
    # A shell that starts it in the background lets it ignore SIGINT, and Dagster makes SIGTERM mean the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # In place of this process, so that every signal reaches it.
    os.execve(command[0], command, environment)  # noqa: S606 - a list, never a shell
