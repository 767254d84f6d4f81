from __future__ import annotations

import json

import pytest

from assets.cli.plan import SHOWN, because
from assets.store import ingredients
from assets.store.plan import Reason
from tests.cli.chain import Tiny
from tests.cli.conftest import Freshtune


def test_json_before_the_first_run(freshtune: Freshtune, tiny: Tiny) -> None:
    result = freshtune("plan", "tiny", "--to", "cleaned", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "pipeline": "tiny",
        "steps": [
            {"step": "raw", "state": "stale", "reasons": [{"kind": "missing", "what": "raw"}]},
            {"step": "validated", "state": "pending", "reasons": [{"kind": "input", "what": "raw"}]},
            {"step": "cleaned", "state": "pending", "reasons": [{"kind": "input", "what": "validated"}]},
        ],
    }
    assert result.stdout.count("\n") == 1


def test_json_after_a_change(freshtune: Freshtune, tiny: Tiny) -> None:
    assert freshtune("run", "tiny").exit_code == 0
    tiny.config["training"] = {"epochs": 7}
    steps = json.loads(freshtune("plan", "tiny", "--json").stdout)["steps"]
    model = steps[3]
    assert model.pop("estimated_seconds") >= 0
    assert model == {
        "step": "model",
        "state": "stale",
        "reasons": [{"kind": "config", "what": "training.epochs", "old": None, "new": 7}],
    }
    assert [step["state"] for step in steps] == ["fresh", "fresh", "fresh", "stale", "pending", "pending"]


def test_table(freshtune: Freshtune, tiny: Tiny) -> None:
    assert "About" not in freshtune("plan", "tiny").stdout
    assert freshtune("run", "tiny", "--to", "model").exit_code == 0
    tiny.config["training"] = {"epochs": 7}
    shown = freshtune("plan", "tiny").stdout
    assert "config training.epochs unset → 7" in shown
    assert "not counting 2 never built yet" in shown
    assert "Next: freshtune run tiny" in shown
    tiny.config["training"] = {}
    shown = freshtune("plan", "tiny", "--to", "model").stdout
    assert "Nothing to do: every step is fresh." in shown
    assert "Next" not in shown


def test_reusable_after_a_revert(freshtune: Freshtune, tiny: Tiny) -> None:
    for epochs in (3, 7):
        tiny.config["training"] = {"epochs": epochs}
        assert freshtune("run", "tiny").exit_code == 0
    tiny.config["training"] = {"epochs": 3}
    shown = freshtune("plan", "tiny").stdout
    assert "reusable" in shown
    assert "config training.epochs 7 → 3" in shown


def test_many_reasons_are_cut() -> None:
    reasons = tuple(Reason("code", f"piece_{number}") for number in range(SHOWN + 3))
    lines = because(reasons).plain.splitlines()
    assert lines[:2] == ["code piece_0", "code piece_1"]
    assert lines[SHOWN:] == ["and 3 more"]
    assert because(reasons[:SHOWN]).plain.splitlines() == [f"code piece_{number}" for number in range(SHOWN)]


def test_brackets_of_a_value_are_shown_as_they_are(freshtune: Freshtune, tiny: Tiny) -> None:
    assert "[bold]" in because((Reason("config", "task.labels", ["a"], "[bold]"),)).plain
    assert "[red]" in freshtune("plan", "[red]").stdout


def test_no_such_step(freshtune: Freshtune, tiny: Tiny) -> None:
    result = freshtune("plan", "tiny", "--to", "moddel")
    assert result.exit_code == 2
    assert "no step 'moddel'" in result.stderr
    assert "fix: steps are raw, validated" in result.stderr


@pytest.fixture
def code(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Digests of the tiny chain's code, which tests change at will."""
    changed: dict[str, str] = {}
    monkeypatch.setattr(ingredients, "code_pieces", lambda roots: {root: changed.get(root, "1") for root in roots})
    return changed


def test_accepting_keeps_results_after_a_refactoring(freshtune: Freshtune, tiny: Tiny, code: dict[str, str]) -> None:
    assert freshtune("run", "tiny").exit_code == 0
    code |= {"tests.cli.chain:raw": "2", "tests.cli.chain:model": "2"}
    result = freshtune("plan", "tiny", "--accept", "raw", "--why", "renamed [a] variable")
    assert result.exit_code == 0, result.output
    assert result.stderr == "accepted raw: code tests.cli.chain:raw\n"
    assert ": renamed [a] variable" in result.stdout
    found = json.loads(freshtune("plan", "tiny", "--accept", "all", "--why", "and another", "--json").stdout)
    assert found["accepted"] == [{"step": "model", "reasons": [{"kind": "code", "what": "tests.cli.chain:model"}]}]
    assert [step["state"] for step in found["steps"]] == ["fresh"] * 6
    assert {step["step"]: step["accepted"]["why"] for step in found["steps"] if "accepted" in step} == {
        "raw": "renamed [a] variable",
        "model": "and another",
    }
    assert "Nothing was accepted" in freshtune("plan", "tiny", "--accept", "all", "--why", "x").stderr


def test_all_leaves_what_is_stale_for_another_reason(freshtune: Freshtune, tiny: Tiny, code: dict[str, str]) -> None:
    assert freshtune("run", "tiny").exit_code == 0
    code |= {"tests.cli.chain:raw": "2", "tests.cli.chain:model": "2", "tests.cli.chain:evaluation": "2"}
    tiny.config["training"] = {"epochs": 7}
    found = json.loads(freshtune("plan", "tiny", "--accept", "all", "--why", "x", "--json").stdout)
    assert [each["step"] for each in found["accepted"]] == ["raw"]
    states = ["fresh", "fresh", "fresh", "stale", "stale", "pending"]
    assert [step["state"] for step in found["steps"]] == states
    refused = freshtune("plan", "tiny", "--accept", "model", "--why", "x")
    assert refused.exit_code == 2
    assert "step model cannot be accepted: config training.epochs unset → 7" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--accept", "model"], "--accept needs --why"),
        (["--why", "x"], "--why is about --accept, which is missing"),
        (["--accept", "modle", "--why", "x"], "no step 'modle'"),
        (["--accept", "model", "--why", "x"], "model cannot be accepted: it is fresh"),
    ],
)
def test_wrong_use_of_accept(
    freshtune: Freshtune, tiny: Tiny, code: dict[str, str], arguments: list[str], message: str
) -> None:
    assert freshtune("run", "tiny").exit_code == 0
    result = freshtune("plan", "tiny", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
