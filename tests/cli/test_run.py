from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.chain import CHAIN, Tiny
from tests.cli.conftest import Freshtune
from tests.project import Project

ALL = [step.name for step in CHAIN]


def run_json(freshtune: Freshtune, *arguments: str, code: int = 0) -> Any:
    result = freshtune("run", "tiny", "--json", *arguments)
    assert result.exit_code == code, result.output
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def test_json_of_a_run(freshtune: Freshtune, tiny: Tiny) -> None:
    found = run_json(freshtune)
    standing = {step: tiny.open_runner("tiny").standing(step) for step in ALL}
    for step in found["steps"]:
        assert step.pop("seconds") >= 0
    assert found == {
        "pipeline": "tiny",
        "run_id": "run-1",
        "success": True,
        "steps": [
            {"step": step, "action": "built", "key": result.record.key, "digest": result.record.content}
            for step, result in standing.items()
            if result is not None
        ],
        "metrics": {"accuracy": 1.0, "f1_macro": 0.9},
        "release": {"decision": "promoted", "version": 1, "alias": "champion"},
    }
    assert len(found["steps"]) == len(ALL)


def test_nothing_to_do_starts_nothing(freshtune: Freshtune, tiny: Tiny) -> None:
    first = run_json(freshtune)
    again = run_json(freshtune)
    assert len(tiny.launched) == 1
    assert again["run_id"] is None
    assert again["success"] is True
    assert {step["action"] for step in again["steps"]} == {"fresh"}
    assert {step["seconds"] for step in again["steps"]} == {0.0}
    assert [step["digest"] for step in again["steps"]] == [step["digest"] for step in first["steps"]]
    assert (again["metrics"], again["release"]) == (first["metrics"], first["release"])


def test_only_what_is_not_fresh_is_launched(freshtune: Freshtune, tiny: Tiny) -> None:
    run_json(freshtune)
    tiny.config["training"] = {"epochs": 7}
    found = run_json(freshtune, "--to", "evaluation")
    assert tiny.launched[-1] == {"name": "tiny", "steps": ("model", "evaluation"), "sample": None, "forced": ()}
    assert [step["action"] for step in found["steps"]] == ["fresh", "fresh", "fresh", "built", "built"]
    assert [step["step"] for step in found["steps"]] == ALL[:5]
    assert found["release"] is None
    assert found["metrics"] == {"accuracy": 1.0, "f1_macro": 0.9}


def test_reused(freshtune: Freshtune, tiny: Tiny) -> None:
    run_json(freshtune)
    for training in ({"epochs": 7}, {}):
        tiny.config["training"] = training
        found = run_json(freshtune, "--to", "model")
    assert found["steps"][-1]["action"] == "reused"


def test_what_people_see(freshtune: Freshtune, tiny: Tiny) -> None:
    result = freshtune("run", "tiny")
    assert result.exit_code == 0
    assert "tiny, run run-1" in result.stdout
    assert "6 built, in " in result.stdout
    assert "10 rows read = 6 accepted + 1 in quarantine + 3 merged as duplicates" in result.stdout
    for line in (
        ["macro", "F1", "0.9000", "0.5000", "+0.4000"],
        ["champion", "tiny", "version", "1"],
        ["decision", "promoted,", "version", "1"],
        ["next", "freshtune", "predict", "tiny", '"some', 'text"'],
    ):
        assert line in [shown.split() for shown in result.stdout.replace("test ", "").splitlines()]
    assert "✓ macro F1 0.9000; at least 0.0000 is required" in result.stdout
    report = next(line.split()[1] for line in result.stdout.splitlines() if line.startswith("report"))
    assert Path(report).read_text() == "<html>report</html>"
    assert "raw: reading, 10 to do" in result.stderr
    assert "raw: 10 rows read" in result.stderr
    again = freshtune("run", "tiny")
    assert "nothing changed: every step is fresh, and nothing was run" in again.stdout
    assert "run run-" not in again.stdout
    assert report in again.stdout
    assert again.stderr == ""
    assert len(tiny.launched) == 1


def test_progress_goes_to_standard_error(freshtune: Freshtune, tiny: Tiny) -> None:
    result = freshtune("run", "tiny", "--json")
    assert "reading" not in result.stdout
    assert "raw: reading, 10 to do" in result.stderr


def test_the_report_is_whole_on_a_narrow_terminal(
    freshtune: Freshtune, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    shown = freshtune("run", "tiny").stdout
    report = next(line for line in shown.splitlines() if line.startswith("report"))
    assert report.startswith(f"report    {tiny.folder}")
    assert report.endswith("/report.html")


def test_refused(freshtune: Freshtune, tiny: Tiny) -> None:
    run_json(freshtune)
    tiny.write(f1=0.4)
    tiny.config["gate"] = {"floor": 0.8}
    result = freshtune("run", "tiny")
    assert result.exit_code == 0
    assert "refused, version 2" in result.stdout
    assert "✗ macro F1 0.4000; at least 0.8000 is required" in result.stdout
    assert "warning: gate of release: refused" in result.stdout
    assert "champion  tiny version 1" in result.stdout
    assert run_json(freshtune)["release"] == {"decision": "refused", "version": 2, "alias": "challenger"}


def test_a_step_fails(freshtune: Freshtune, tiny: Tiny) -> None:
    tiny.write(broken=True)
    result = freshtune("run", "tiny")
    assert result.exit_code == 1
    assert "Error: source.json, line 1: a broken row" in result.stderr
    assert "fix: mend it" in result.stderr
    assert "Traceback" not in result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["raw", "failed"] in rows
    assert ["validated", "not", "run"] in rows
    assert "freshtune ui   (run run-1)" in result.stdout
    found = run_json(freshtune, code=1)
    assert (found["success"], found["steps"], found["metrics"], found["release"]) == (False, [], {}, None)
    assert found["error"] == "source.json, line 1: a broken row\n  fix: mend it"
    assert found["run_id"] == "run-2"


def test_a_blocking_check_stops_the_run(freshtune: Freshtune, tiny: Tiny) -> None:
    tiny.config["validation"] = {"max_quarantined": 0.1}
    result = freshtune("run", "tiny")
    assert result.exit_code == 1
    assert "failed: quarantine_within_limit of validated: 12.5% in quarantine" in result.stdout
    assert result.stderr.count("12.5% in quarantine") == 1
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["cleaned", "not", "run"] in rows
    assert not any(row[1:2] == ["failed"] for row in rows)


def test_all_fresh_and_a_check_fails_now(freshtune: Freshtune, tiny: Tiny) -> None:
    run_json(freshtune)
    tiny.config["validation"] = {"max_quarantined": 0.1}
    found = run_json(freshtune, code=1)
    assert len(tiny.launched) == 1
    assert (found["run_id"], found["success"]) == (None, False)
    assert found["error"] == (
        "check quarantine_within_limit of validated failed: 12.5% in quarantine, at most 10.0% may be"
    )
    result = freshtune("run", "tiny")
    assert result.exit_code == 1
    assert "nothing changed" not in result.stdout
    assert "check quarantine_within_limit of validated failed" in result.stderr


@pytest.mark.parametrize("lost", [3, -2])
def test_rows_that_do_not_add_up(freshtune: Freshtune, tiny: Tiny, lost: int) -> None:
    tiny.write(lost=lost)
    result = freshtune("run", "tiny")
    assert result.exit_code == 1
    assert f"THE ROWS DO NOT ADD UP: 10 rows read ≠ {6 - lost} accepted + 1 in quarantine" in result.stderr
    assert run_json(freshtune, code=1)["success"] is False


def test_sample(freshtune: Freshtune, tiny: Tiny) -> None:
    result = freshtune("run", "tiny", "--sample", "8")
    assert result.exit_code == 0
    assert tiny.launched[-1]["sample"] == 8
    assert "8 rows read" in result.stdout
    assert [line for line in result.stdout.splitlines() if "freshtune" in line] == ["next      freshtune run tiny"]
    assert run_json(freshtune)["run_id"] == "run-2"
    assert freshtune("run", "tiny", "--sample", "0").exit_code == 2


def test_force(freshtune: Freshtune, tiny: Tiny) -> None:
    run_json(freshtune)
    found = run_json(freshtune, "--force", "model")
    assert tiny.launched[-1]["forced"] == ("model",)
    assert [step["action"] for step in found["steps"]][3:] == ["built", "fresh", "fresh"]
    result = freshtune("run", "tiny", "--force", "nix")
    assert (result.exit_code, "no step 'nix'" in result.stderr) == (2, True)
    result = freshtune("run", "tiny", "--force", "model", "--to", "raw")
    assert result.exit_code == 2
    assert "--force model: the step is not among those up to --to raw" in result.stderr


def test_exit_code_of_wrong_configuration_inside_a_run(
    freshtune: Freshtune, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = tiny.materialise("tiny", steps=(), sample=None, forced=())
    outcome.success, outcome.error, outcome.exit_code = False, "wrong use", 2
    monkeypatch.setattr(sys.modules["assets.orchestration.launch"], "materialise", lambda *_, **__: outcome)
    result = freshtune("run", "tiny")
    assert result.exit_code == 2
    assert "Error: wrong use" in result.stderr


def test_an_unknown_expectation_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    """On the real chain, whose second step it is about."""
    project = Project.make(tmp_path / "project")
    project.declare(validation={"expectations": [{"type": "expect_luck"}]})
    result = project.freshtune("run", "tiny")
    assert result.exit_code == 2
    assert "validation.expectations[0] expect_luck: no such expectation" in result.stderr
    for kind in ("objects", "traces", "records", "references"):
        assert list((project.home / "store").glob(f"{kind}/**/*.json")) == []
    assert not (project.home / "dagster").exists(), "no run that fails is started"
    # A run that does not get to that step has nothing to do with it.
    assert [step["step"] for step in project.run("--to", "raw")["steps"]] == ["raw"]
