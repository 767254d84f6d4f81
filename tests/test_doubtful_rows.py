"""The step `review` in the chain: asked for or not, listing or leaving out, with personal data masked."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from assets.config.home import home
from assets.config.load import load_pipeline
from assets.errors import BlockedError
from assets.release.account import row_account
from assets.review.rows import read_suspects
from assets.session import open_runner
from assets.splits.rows import read_sides
from assets.store.runner import Runner
from tests.project import ROWS, Project, actions
from tests.tiny import make_rows

DATA = ("raw", "validated", "cleaned", "review", "splits")


def plant(project: Project) -> set[str]:
    """Give one row in twenty the other label; their texts."""
    rows = make_rows(ROWS, seed=0)
    wrong = {text for text, _ in random.Random(1).sample(rows, ROWS // 20)}  # noqa: S311 - toy data
    other = {"ham": "spam", "spam": "ham"}
    project.write("first.csv", [(text, other[label] if text in wrong else label) for text, label in rows])
    return wrong


@contextmanager
def opened(project: Project) -> Iterator[Runner]:
    with project.entered():
        settings = home({"FRESHTUNE_HOME": str(project.home)})
        yield open_runner("tiny", config=load_pipeline("tiny", project.folder), settings=settings)


def run(project: Project) -> dict[str, str]:
    """Run what is before the model; what became of each step."""
    with opened(project) as runner:
        return {step.name: runner.run_step(step.name).action for step in runner.chain if step.name in DATA}


def standing(project: Project) -> tuple[dict[str, Any], dict[str, Path]]:
    """Measurements and content of each step."""
    with opened(project) as runner:
        found = {name: runner.standing(name) for name in (step.name for step in runner.chain) if name in DATA}
        measured = {name: result.measurements for name, result in found.items() if result}
        return measured, {
            name: runner.store.open("objects", result.record.content) for name, result in found.items() if result
        }


def reasons(project: Project) -> dict[str, list[str]]:
    """Why each step before the model would be run or fetched."""
    with opened(project) as runner:
        return {
            step.step: [step.state, *(f"{reason.kind} {reason.what}" for reason in step.reasons)]
            for step in runner.plan().steps
            if step.step in DATA and step.state != "fresh"
        }


def test_from_no_review_to_a_quarantine_and_back(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project")
    wrong = plant(project)
    assert run(project) == dict.fromkeys(("raw", "validated", "cleaned", "splits"), "built")
    whole = standing(project)[0]["splits"]["rows"]

    # A list for people concerns nothing after it.
    project.declare(review={})
    assert reasons(project) == {"review": ["stale", "missing review"]}
    assert run(project)["splits"] == "fresh"
    measured, content = standing(project)
    suspects = read_suspects(content["review"])
    assert set(suspects["text"].to_pylist()) & wrong
    assert measured["review"]["quarantined"] == 0
    assert row_account(measured)["doubtful"] == 0

    project.declare(review={"quarantine": True, "min_confidence": 0.7})
    assert reasons(project) == {
        "review": ["stale", "config review.min_confidence", "config review.quarantine"],
        "splits": ["pending", "input review"],
    }
    project.declare(review={"quarantine": True, "min_confidence": 0.7, "max_quarantined": 0.0})
    with pytest.raises(
        BlockedError, match=r"splits refuses to run: check doubtful_labels_within_limit of review failed"
    ):
        run(project)
    project.declare(review={"quarantine": True, "min_confidence": 0.7})
    assert run(project) == {
        "raw": "fresh",
        "validated": "fresh",
        "cleaned": "fresh",
        "review": "fresh",
        "splits": "built",
    }
    measured, content = standing(project)
    left_out = {
        row["row_id"] for row in read_suspects(content["review"]).to_pylist() if row["suggested_confidence"] >= 0.7
    }
    assert left_out
    assert not left_out & set(read_sides(content["splits"])["row_id"].to_pylist())
    account = row_account(measured)
    assert account["doubtful"] == len(left_out)
    assert account["missing"] == 0
    assert account["kept"] == sum(measured["splits"]["rows"].values()) == sum(whole.values()) - len(left_out)

    project.declare()
    assert {step: why[0] for step, why in reasons(project).items()} == {"splits": "reusable"}
    assert run(project)["splits"] == "reused"


def test_the_whole_chain_with_a_quarantine_and_masked_texts(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project")
    plant(project)
    project.write(
        "second.csv", [("write to ada@ex.org for the prize", "spam"), ("write to bob@ex.org for the prize", "spam")]
    )
    project.declare(review={"quarantine": True, "min_confidence": 0.7}, cleaning={"mask_pii": ["email"]})
    found = project.run()
    assert set(actions(found).values()) == {"built"}
    measured, _ = standing(project)
    doubtful = measured["review"]["quarantined"]
    assert doubtful
    assert measured["cleaned"]["masked"] == {"email": 2}
    assert measured["cleaned"]["merged"] == 1
    with opened(project) as runner:
        release, cleaned = runner.stands_for(runner.step("release")), runner.stands_for(runner.step("cleaned"))
        assert release is not None
        report = (runner.store.open("traces", release.trace) / "report.html").read_text()
        assert cleaned is not None
        assert {"presidio-analyzer", "phonenumbers"} <= cleaned.ingredients["environment"].keys()
    assert f"{doubtful} with a doubtful label" in report
    assert "ada@ex.org" not in report
    said = project.freshtune("run", "tiny").stdout
    quarantined = doubtful + measured["cleaned"]["quarantined"]
    assert f"{ROWS + 2} rows read = {ROWS + 1 - quarantined} accepted + {quarantined} in quarantine + 1 merged" in said
    # Without masks the library is no part of the key.
    project.declare()
    with opened(project) as runner:
        environment = next(step.environment for step in runner.chain if step.name == "cleaned")
    assert environment == ("pyarrow:major",)
