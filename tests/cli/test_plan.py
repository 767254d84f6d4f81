from __future__ import annotations

import json

from assets.cli.plan import SHOWN, because
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
        "reasons": [{"kind": "config", "what": "training.epochs", "old": 3, "new": 7}],
    }
    assert [step["state"] for step in steps] == ["fresh", "fresh", "fresh", "stale", "pending", "pending"]


def test_table(freshtune: Freshtune, tiny: Tiny) -> None:
    assert "About" not in freshtune("plan", "tiny").stdout
    assert freshtune("run", "tiny", "--to", "model").exit_code == 0
    tiny.config["training"] = {"epochs": 7}
    shown = freshtune("plan", "tiny").stdout
    assert "config training.epochs 3 → 7" in shown
    assert "2 of the steps were never built" in shown
    assert "Next: freshtune run tiny" in shown
    tiny.config["training"] = {"epochs": 3}
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
