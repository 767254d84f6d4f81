"""Forgetting rows over the whole chain on a tiny random model: store, reports, Dagster's and MLflow's databases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import feather

from assets.cli.everywhere import holding
from assets.release import log
from assets.session import open_runner
from assets.tasks.loading import load_tokenizer
from tests.grep import grep
from tests.project import ROWS, Project
from tests.tiny import make_rows

# MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

ALL = make_rows(ROWS + 5, seed=0)


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[str]]:
    """Two versions, the second with more rows; then a text of train and one that MLflow's report has are forgotten."""
    project = Project.make(tmp_path_factory.mktemp("forgotten") / "project")
    # How good they are does not matter here.
    project.declare(
        predictions={"source": {"files": ["inbox/*.csv"]}},
        # As many texts as may be go to Dagster's database and to the report that MLflow gets.
        evaluation={"samples": 50},
        training={"epochs": 1},
        gate={"floor": None, "above_baseline": None, "below_champion": 1.0, "promote_if": None},
    )
    project.write("first.csv", ALL[:ROWS])
    (project.folder / "inbox").mkdir()
    (project.folder / "inbox" / "a.csv").write_text("\n".join(["text", *(text for text, _ in ALL[:ROWS])]) + "\n")
    project.run()
    project.write("second.csv", ALL[ROWS:])
    project.run()
    found = said(project, "rows", "tiny", "trace", "--file", "data/first.csv", "--json")["rows"]
    sides = [(row["models"][0]["outcome"], row["text"]) for row in found]
    (artifacts,) = project.home.glob("mlartifacts")
    reports = "".join(path.read_text("utf-8") for path in artifacts.rglob("report.html"))
    texts = [
        next(text for side, text in sides if side == "train"),
        next(text for side, text in sides if side == "test" and text in reports),
    ]
    assert all(holding([project.home], [text]) for text in texts)
    assert len(held_as_tokens(project, texts)) == 2
    for text in texts:
        said(project, "rows", "tiny", "rule", "--forget", "--text", text, "--why", "asked for", "--json")
    return project, texts


def said(project: Project, *arguments: str) -> Any:
    result = project.freshtune(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


def held(project: Project, texts: list[str]) -> list[Path]:
    return holding([project.home, project.folder / "pipelines"], texts)


def held_as_tokens(project: Project, texts: list[str]) -> list[list[int]]:
    """The tokens of texts that are in any table of tokens."""
    tables = [feather.read_table(path) for path in project.home.glob("**/tokens.feather")]
    kept = [row for table in tables for row in table["tokens"].to_pylist()]
    wanted = load_tokenizer(project.folder / "base")(texts, truncation=True, max_length=32)["input_ids"]
    return [row for row in wanted if row in kept]


def test_forgotten_everywhere_and_everything_goes_on(forgetful: tuple[Project, list[str]]) -> None:
    project, texts = forgetful
    assert held(project, texts) == []
    assert held_as_tokens(project, texts) == []
    listed = said(project, "models", "tiny", "--json")
    assert {len(each["forgotten"]) for each in listed["versions"]} == {2}
    assert all(Path(each["report"]).is_file() for each in listed["versions"])
    shown = project.freshtune("models", "tiny")
    assert "Version 1 was made with rows that were forgotten since: 1 train, 1 test" in shown.stderr
    said(project, "models", "tiny", "lineage", "1")
    said(project, "rows", "tiny", "trace", "--file", "data/second.csv", "--json")
    states = {each["step"]: each["state"] for each in said(project, "plan", "tiny", "--json")["steps"]}
    assert states["raw"] == "stale"
    assert states["release"] in {"stale", "pending"}
    before = listed["champion"]

    said(project, "models", "tiny", "rollback", "--why", "to see that it can be")
    assert said(project, "models", "tiny", "--json")["champion"] != before
    project.run()
    assert held(project, texts) == []
    assert held_as_tokens(project, texts) == []
    with project.entered():
        runner = open_runner("tiny")
        entries = runner.store.log("default", "tiny")
        decision = entries[-1].fields
        predicted = runner.standing("predictions")
        told = json.loads((runner.store.open("objects", decision["release"]["content"]) / "decision.json").read_bytes())
    # What the champion was trained on is still known, so the two could be compared.
    assert told["champion_metrics"] is not None
    assert log.champion(entries) is not None
    assert predicted is not None
    assert (predicted.measurements["read"], predicted.measurements["forgotten"]) == (ROWS, 2)
    assert predicted.outcomes["no_row_lost"].passed
    # What decisions of before named is gone, as the log says.
    assert [each for each in project.faults() if not each.startswith("promotions/")] == []
    assert said(project, "store", "verify", "--json")["faults"] == []
    assert said(project, "plan", "tiny", "--json")["steps"][0]["state"] == "fresh"


MARK = "zqmarkzq"
ANN = f"the {MARK} one asks for lunch"
LINES = [
    f"{ANN},ham",
    f"{ANN},spam",
    f"another  {MARK}   text with spaces,ham",
    f"another {MARK} text with spaces,ham",
    f"nobody knows the label of {MARK},eggs",
    f"this line of {MARK} is no row,ham,more",
    '"a ""quoted"" <b>word</b> & ' + f'{MARK} ümlaut",spam',
    *(
        f"{MARK} number {at} {'wins a free prize cash now' if at % 2 else 'see you at the meeting'},ham"
        for at in range(12)
    ),
]
"""Texts with a word that nothing else has: rows that stay, that conflict, that are merged or kept out, and no row."""


def test_no_byte_of_the_home_has_what_was_forgotten(tmp_path: Path) -> None:
    project = Project.make(tmp_path / "project")
    project.declare(
        predictions={"source": {"files": ["inbox/*.csv"]}},
        review={},
        validation={"max_quarantined": 0.5},
        training={"epochs": 1},
        gate={"floor": None, "above_baseline": None, "below_champion": 1.0, "promote_if": None},
    )
    (project.folder / "data" / "ann.csv").write_text("\n".join(["text,label", *LINES]) + "\n")
    (project.folder / "inbox").mkdir()
    (project.folder / "inbox" / "a.csv").write_text(f"text\n{ANN}\nsomething else\n")
    project.run()
    for name in ("work/left/rows.txt", "store/staging/elsewhere-7-abc/rows.txt"):
        (project.home / name).parent.mkdir(parents=True)
        (project.home / name).write_text(ANN)
    held = grep(project.home, MARK)
    for part in ("rows.feather", "rejected.feather", "failing.feather", "quarantine.parquet", "report.html"):
        assert any(part in name for name in held), (part, held)
    assert any(name.startswith("store/traces/") and name.endswith(".html") for name in held), held

    said(project, "rows", "tiny", "rule", "--forget", "--file", "data/ann.csv", "--why", "asked for", "--json")

    assert grep(project.home, MARK) == []
    assert grep(project.folder / "pipelines", MARK) == []
    assert said(project, "store", "verify", "--json")["faults"] == []
