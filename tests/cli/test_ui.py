from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

import pytest

from tests.cli.chain import Tiny
from tests.cli.conftest import Freshtune


@pytest.fixture
def started(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Commands that took the place of this process."""
    commands: list[Any] = []
    launch = sys.modules["assets.orchestration.launch"]
    monkeypatch.setattr(launch, "ui_command", lambda port: (["dagster", str(port)], {"A": "b"}), raising=False)
    monkeypatch.setattr(os, "execve", lambda *arguments: commands.append(arguments))
    return commands


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_takes_the_place_of_this_process(freshtune: Freshtune, started: list[Any]) -> None:
    port = free_port()
    result = freshtune("ui", "--port", str(port))
    assert result.exit_code == 0
    assert f"http://127.0.0.1:{port} " in result.stdout
    assert started == [("dagster", ["dagster", str(port)], {"A": "b"})]


def test_in_the_background_it_ends_when_it_is_told_to(freshtune: Freshtune, started: list[Any]) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert freshtune("ui", "--port", str(free_port())).exit_code == 0
        # What handles a signal is not handed on to what takes the place of a process; that it is ignored is.
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_port_in_use(freshtune: Freshtune, started: list[Any]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = freshtune("ui", "--port", str(port))
    assert result.exit_code == 2
    assert f"port {port} cannot be used: Address already in use" in result.stderr
    assert f"fix: freshtune ui --port {port + 1}" in result.stderr
    assert started == []


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_no_port(freshtune: Freshtune, started: list[Any], port: str) -> None:
    assert freshtune("ui", "--port", port).exit_code == 2
    assert started == []
