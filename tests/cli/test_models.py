from __future__ import annotations

import json
from typing import Any

import pytest

from assets.cli import models
from assets.errors import TransientError
from assets.store.runner import Runner
from assets.store.store import Store
from tests.cli.chain import Tiny
from tests.cli.conftest import Freshtune


@pytest.fixture
def trained(freshtune: Freshtune, tiny: Tiny) -> Tiny:
    """Version 1, promoted (f1 0.9), version 2, refused (0.4), version 3, promoted (0.95) and champion."""
    tiny.config["gate"] = {"floor": 0.8}
    for f1 in (0.9, 0.4, 0.95):
        tiny.write(f1=f1)
        assert freshtune("run", "tiny", "--json").exit_code == 0
    return tiny


def listed(freshtune: Freshtune) -> Any:
    return json.loads(freshtune("models", "tiny", "--json").stdout)


def test_json(freshtune: Freshtune, trained: Tiny) -> None:
    found = listed(freshtune)
    entries = trained.open_runner("tiny").store.log("test", "tiny")
    digests = [entry.fields["challenger"] for entry in entries]
    assert {name: found[name] for name in ("pipeline", "champion")} == {"pipeline": "tiny", "champion": 3}
    for version in found["versions"]:
        assert version.pop("report").endswith("/report.html")
        assert version.pop("when").startswith("20")
    assert found["versions"] == [
        {
            "version": number,
            "model": digests[number - 1],
            "alias": "champion" if number == 3 else None,
            "decision": "refused" if number == 2 else "promoted",
            "metrics": {"accuracy": 1.0, "f1_macro": f1},
        }
        for number, f1 in ((3, 0.95), (2, 0.4), (1, 0.9))
    ]
    for entry in found["log"]:
        assert "@" in entry.pop("by")
        assert entry.pop("when").startswith("20")
    refusal = "macro F1 0.4000; at least 0.8000 is required"
    assert found["log"] == [
        {
            "number": number,
            "kind": "decision",
            "decision": decision,
            "challenger": number + 1,
            "champion": champion,
            "why": why,
        }
        for number, (decision, champion, why) in enumerate(
            [("promoted", 1, ""), ("refused", 1, refusal), ("promoted", 3, "")]
        )
    ]


def test_table(freshtune: Freshtune, trained: Tiny) -> None:
    rows = [line.split() for line in freshtune("models", "tiny").stdout.splitlines()]
    assert rows[1] == ["version", "alias", "gate", "macro", "F1", "when", "model"]
    assert rows[2][:4] == ["3", "champion", "promoted", "0.9500"]
    assert rows[3][:3] == ["2", "refused", "0.4000"]


def test_none_yet(freshtune: Freshtune, tiny: Tiny) -> None:
    result = freshtune("models", "tiny")
    assert result.exit_code == 0
    assert "No model yet. Next: freshtune run tiny" in result.stdout
    assert listed(freshtune) == {"pipeline": "tiny", "champion": None, "versions": [], "log": []}


def test_promote_and_rollback(freshtune: Freshtune, trained: Tiny) -> None:
    result = freshtune("models", "tiny", "promote", "2", "--why", "better on [short] texts")
    assert result.exit_code == 0, result.output
    assert "tiny version 2 is the champion." in result.stderr
    assert "promote, version 2 in use: better on [short] texts (" in result.stdout
    assert listed(freshtune)["champion"] == 2
    assert trained.open_runner("tiny").store.settled("test", "tiny")["champion"] == 2  # type: ignore[index]
    assert freshtune("models", "tiny", "rollback", "--why", "no, it is not").exit_code == 0
    found = listed(freshtune)
    assert found["champion"] == 3
    assert [entry["kind"] for entry in found["log"]] == ["decision"] * 3 + ["promote", "rollback"]
    assert found["log"][-1]["why"] == "no, it is not"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "9", "--why", "x"], "no version 9; there are 1, 2, 3"),
        (["promote", "3", "--why", "x"], "is the champion already"),
        (["promote"], "promote needs a version"),
        (["rollback", "2"], "rollback takes no version, and got 2"),
        (["list", "2"], "list takes no version, and got 2"),
        (["promote", "2"], "--why is missing"),
        (["remove", "2"], "remove"),
    ],
)
def test_wrong_use(freshtune: Freshtune, trained: Tiny, arguments: list[str], message: str) -> None:
    before = listed(freshtune)
    result = freshtune("models", "tiny", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert listed(freshtune) == before


def test_rollback_without_a_champion_before(freshtune: Freshtune, tiny: Tiny) -> None:
    assert "there is no champion" in freshtune("models", "tiny", "rollback", "--why", "x").stderr
    freshtune("run", "tiny")
    result = freshtune("models", "tiny", "rollback", "--why", "x")
    assert result.exit_code == 2
    assert "is the first champion" in result.stderr


def test_the_reason_is_asked_for(freshtune: Freshtune, trained: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_interactive", lambda: True)
    result = freshtune("models", "tiny", "rollback", input="customers complain\n")
    assert result.exit_code == 0
    assert listed(freshtune)["log"][-1]["why"] == "customers complain"
    # What cannot be done is refused before anybody is asked.
    assert "no version 9" in freshtune("models", "tiny", "promote", "9", input="").stderr


def test_two_at_once(freshtune: Freshtune, trained: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    before = listed(freshtune)
    monkeypatch.setattr(Store, "append", lambda *_: False)
    result = freshtune("models", "tiny", "rollback", "--why", "x")
    assert result.exit_code == 1
    assert "the promotion log changed at this very moment, and nothing was done" in result.stderr
    assert listed(freshtune) == before


def test_the_registry_cannot_be_reached(freshtune: Freshtune, trained: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_: Runner) -> None:
        raise TransientError("no answer", where="http://mlflow", fix="wait")

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "settle", unreachable)
        result = freshtune("models", "tiny", "rollback", "--why", "x")
    assert result.exit_code == 1
    assert "http://mlflow: the promotion log says so, but the registry does not yet: no answer" in result.stderr
    assert "fix: wait; `freshtune run tiny` brings the registry in line" in result.stderr
    assert listed(freshtune)["champion"] == 1
    assert "The registry lacks the last 1 of the promotion log" in freshtune("models", "tiny").stderr


def test_all_pipelines(freshtune: Freshtune, trained: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "pipeline_names", lambda _: ["tiny", "other"])
    assert json.loads(freshtune("models", "--json").stdout) == {
        "pipelines": [
            {"pipeline": "tiny", "champion": 3, "models": 3},
            {"pipeline": "other", "champion": None, "models": 0},
        ]
    }
    rows = [line.split() for line in freshtune("models").stdout.splitlines()]
    assert rows == [["pipeline", "champion", "models"], ["tiny", "version", "3", "3"], ["other", "none", "yet", "0"]]
