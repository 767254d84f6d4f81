from __future__ import annotations

import pytest

from assets.cli.console import duration, say_error
from assets.errors import ConfigurationError


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0.00 s"),
        (9.994, "9.99 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (81.2, "1 min 21 s"),
        (3599.7, "1 h 00 min"),
        (7380, "2 h 03 min"),
    ],
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_an_error_is_said_whole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    say_error(ConfigurationError("'[a]' is not accepted; accepted: [b], [c]", where="defs.yaml:3", fix="write [b]"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Error: defs.yaml:3: '[a]' is not accepted; accepted: [b], [c]\n  fix: write [b]\n"
