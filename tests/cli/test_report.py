from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from tests.cli.chain import Tiny
from tests.cli.conftest import Freshtune


def test_path(freshtune: Freshtune, tiny: Tiny) -> None:
    freshtune("run", "tiny")
    first = freshtune("report", "tiny").stdout
    assert Path(first.removesuffix("\n")).read_text() == "<html>report</html>"
    tiny.write(f1=0.95)
    freshtune("run", "tiny")
    decision = tiny.open_runner("tiny").store.log("test", "tiny")[-1].fields
    assert decision["release"]["trace"] in freshtune("report", "tiny").stdout
    assert freshtune("run", "tiny").stdout.count(decision["release"]["trace"]) == 1


def test_of_the_latest_decision_after_a_rollback(freshtune: Freshtune, tiny: Tiny) -> None:
    for f1 in (0.9, 0.95):
        tiny.write(f1=f1)
        freshtune("run", "tiny")
    before = freshtune("report", "tiny").stdout
    assert freshtune("models", "tiny", "rollback", "--why", "x").exit_code == 0
    assert freshtune("report", "tiny").stdout == before


def test_open(freshtune: Freshtune, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def first_time_only(url: str) -> bool:
        opened.append(url)
        return len(opened) == 1

    monkeypatch.setattr(webbrowser, "open", first_time_only)
    freshtune("run", "tiny")
    result = freshtune("report", "tiny", "--open")
    assert result.exit_code == 0
    assert opened == [Path(result.stdout.removesuffix("\n")).as_uri()]
    result = freshtune("report", "tiny", "--open")
    assert result.exit_code == 1
    assert "no browser was found" in result.stderr


def test_none_yet(freshtune: Freshtune, tiny: Tiny) -> None:
    result = freshtune("report", "tiny")
    assert result.exit_code == 2
    assert "there is no report yet" in result.stderr
    assert "fix: freshtune run tiny" in result.stderr


def test_of_a_step(freshtune: Freshtune, tiny: Tiny) -> None:
    result = freshtune("report", "tiny", "--step", "release")
    assert result.exit_code == 2
    assert "release was not run yet" in result.stderr
    assert "fix: freshtune run tiny --to release" in result.stderr
    freshtune("run", "tiny")
    assert freshtune("report", "tiny", "--step", "release").stdout == freshtune("report", "tiny").stdout
    result = freshtune("report", "tiny", "--step", "model")
    assert result.exit_code == 2
    assert "model has no report" in result.stderr
    result = freshtune("report", "tiny", "--step", "search")
    assert result.exit_code == 2
    assert "no step 'search'" in result.stderr
