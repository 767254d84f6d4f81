"""Forgetting rows, over the real steps up to `splits`; the log's decisions are written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from assets.cli.everywhere import holding
from assets.session import open_runner
from tests.cli.conftest import Freshtune
from tests.cli.test_trace import Project, project

__all__ = ["project"]

SECRET = "plain message number 7"
SPACED = "plain  message number 7"


def forget(freshtune: Freshtune, *wanted: str) -> dict[str, Any]:
    result = freshtune("rows", "tiny", "rule", "--forget", *wanted, "--why", "request 17", "--json")
    assert result.exit_code == 0, result.output + str(result.exception)
    (certificate,) = json.loads(result.stdout)["forgotten"]
    return dict(certificate)


def held(project: Project) -> list[Path]:
    """Files of freshtune that hold the text as a value; `plain message number 7` is no part of another."""
    return holding([project.folder / "home", project.folder / "pipelines"], [SECRET, SPACED])


def test_nothing_holds_the_text_any_more(project: Project, freshtune: Freshtune) -> None:
    project.decide("m1")
    assert held(project)
    certificate = forget(freshtune, "--text", SPACED)
    assert held(project) == []
    assert SECRET not in json.dumps(certificate)
    runner = open_runner("tiny")
    for name in ("raw", "validated", "cleaned", "splits"):
        runner.run_step(name)
    assert held(project) == []
