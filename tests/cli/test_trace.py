"""From rows to models, over the real steps up to `splits`; the log's decisions are written by hand."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.release import log
from assets.session import open_runner
from assets.splits.rows import read_side
from assets.splits.sides import SIDES
from assets.store import ingredients
from assets.store.links import linked
from assets.store.step import LogEntry
from tests.chains import pieces
from tests.cli.conftest import Freshtune

ROOT = Path(__file__).parents[2]
STEPS = ("raw", "validated", "cleaned", "splits")
PLAIN = [(f"plain message number {at}", ("ham", "spam")[at % 2]) for at in range(60)]
ODD = [("see you  at ten", "ham"), ("see you at ten", "ham"), ("what is this", "eggs")]


class Project:
    """A project folder with the pipeline `tiny`, in which the test is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, rows: list[tuple[str, str]], *, broken: bool = False) -> None:
        with (self.folder / "data" / name).open("w", newline="") as stream:
            csv.writer(stream).writerows([("text", "label"), *rows])
            if broken:
                stream.write("too,many,fields\r\n")

    def decide(self, model: str) -> Mapping[str, Path]:
        """Run the steps and let the gate promote a model that was made from what they made; their contents."""
        runner = open_runner("tiny")
        records = {name: runner.run_step(name).record for name in STEPS}
        fields = {
            "kind": "decision",
            "decision": "promoted",
            "challenger": model,
            "champion": model,
            "inputs": {name: record.content for name, record in records.items()},
            "when": "2026-03-01T12:00:00+00:00",
        }
        number = len(runner.store.log(runner.environment, "tiny"))
        assert runner.store.append(runner.environment, "tiny", LogEntry(number, fields))
        return {name: runner.store.open("objects", record.content) for name, record in records.items()}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for part in ("pipelines/tiny", "data"):
        (tmp_path / part).mkdir(parents=True)
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    declared = {
        "task": {"labels": ["ham", "spam"]},
        "source": {"files": ["data/*.csv"]},
        "base_model": {"name": "base"},
        "validation": {"max_quarantined": 0.9},
        "cleaning": {"near_duplicates": None},
        "splits": {"validation": 0.3, "test": 0.3},
    }
    text = yaml.safe_dump({"type": "assets.orchestration.FineTuningPipeline", "attributes": declared})
    (tmp_path / "pipelines" / "tiny" / "defs.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRESHTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(ingredients, "code_pieces", pieces)
    made = Project(tmp_path)
    made.write("a.csv", [*PLAIN, *ODD], broken=True)
    return made


def traced(freshtune: Freshtune, *wanted: str) -> list[dict[str, Any]]:
    result = freshtune("rows", "tiny", "trace", *wanted, "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["rows"]
    return found


def test_every_row_of_a_file_is_on_the_side_that_the_model_was_made_with(
    project: Project, freshtune: Freshtune
) -> None:
    made = project.decide("m1")
    due = {row_id: side for side in SIDES for row_id in read_side(made["splits"], side)["row_id"].to_pylist()}
    found = traced(freshtune, "--file", "data/a.csv")
    assert len(found) == 64
    outcomes = {row["row_id"]: row["models"][0]["outcome"] for row in found}
    assert {row_id: outcomes[row_id] for row_id in due} == due
    assert set(due.values()) == set(SIDES)
    assert sorted(outcome for row_id, outcome in outcomes.items() if row_id not in due) == [
        "merged",
        "quarantine",
        "quarantine",
    ]


def test_merged_quarantined_and_broken_rows_say_why(project: Project, freshtune: Freshtune) -> None:
    project.decide("m1")
    both = {row["text"]: row for row in traced(freshtune, "--text", "see you at   ten")}
    assert set(both) == {"see you  at ten", "see you at ten"}
    merged, kept = sorted(both.values(), key=lambda row: row["models"][0]["outcome"] != "merged")
    fate = merged["models"][0]
    assert (fate["outcome"], fate["row"], fate["side"]) == ("merged", kept["row_id"], kept["models"][0]["side"])
    assert kept["models"][0]["outcome"] in SIDES
    (eggs,) = traced(freshtune, "--text", "what is this")
    assert eggs["places"] == [{"file": "data/a.csv", "line": 64}]
    assert eggs["models"][0]["detail"].startswith("validated: expect_column_values_to_be_in_set")
    (broken,) = traced(freshtune, "--text", "too,many,fields")
    assert broken["models"][0]["detail"].startswith("validated: readable")
    assert [row["row_id"] for row in traced(freshtune, eggs["row_id"][:12])] == [eggs["row_id"]]
    shown = freshtune("rows", "tiny", "trace", merged["row_id"]).stdout
    assert f"merged into {kept['row_id'][:8]}: {fate['side']}" in shown


def test_rows_that_left_the_source_are_traced_in_the_models_that_had_them(
    project: Project, freshtune: Freshtune
) -> None:
    project.write("b.csv", [("only for a while", "ham")])
    project.decide("m1")
    (project.folder / "data" / "b.csv").unlink()
    project.write("c.csv", [("came later", "spam")])
    project.decide("m2")
    (gone,) = traced(freshtune, "--text", "only for a while")
    assert [(each["model"], each["outcome"] in SIDES) for each in gone["models"]] == [("m1", True), ("m2", False)]
    assert gone["models"][1]["outcome"] == "absent"
    (later,) = traced(freshtune, "--text", "came later")
    assert [each["outcome"] == "absent" for each in later["models"]] == [True, False]


def test_a_relabelled_row_is_followed(project: Project, freshtune: Freshtune) -> None:
    project.decide("m1")
    (eggs,) = traced(freshtune, "--text", "what is this")
    ruled = freshtune("rows", "tiny", "rule", eggs["row_id"][:12], "--relabel", "ham", "--why", "it asks")
    assert ruled.exit_code == 0, ruled.output
    project.decide("m2")
    (eggs,) = traced(freshtune, eggs["row_id"])
    before, after = eggs["models"]
    assert before["outcome"] == "quarantine"
    assert after["outcome"] in SIDES
    assert after["row"] not in {None, eggs["row_id"]}


def test_what_the_store_has_lost_is_said(project: Project, freshtune: Freshtune) -> None:
    made = project.decide("m1")
    shutil.rmtree(made["splits"])
    (row,) = traced(freshtune, "--text", "plain message number 7")
    assert row["models"][0]["outcome"] == "unknown"
    assert "is damaged" in row["models"][0]["detail"]


def test_of_an_adopted_model_nothing_is_known(project: Project, freshtune: Freshtune) -> None:
    runner = open_runner("tiny")
    taken = {"release": "r0", "origin": "models/old", "by": "ada", "when": "2026-02-01T12:00:00+00:00", "why": "in use"}
    adopted = log.adopt((), "m0", **taken)
    assert runner.store.append(runner.environment, "tiny", LogEntry(0, adopted))
    project.decide("m1")
    (row,) = traced(freshtune, "--text", "plain message number 7")
    assert [(each["model"], each["decision"]) for each in row["models"]] == [("m0", "adopted"), ("m1", "promoted")]
    first, second = row["models"]
    assert (first["outcome"], first["detail"]) == ("unknown", "adopted, training rows not known")
    assert (first["splits"], first["side"]) == (None, None)
    assert second["outcome"] in SIDES
    shown = freshtune("rows", "tiny", "trace", "--text", "plain message number 7").stdout
    assert "unknown: adopted, training rows not known" in " ".join(shown.split())


def test_files_that_hold_a_text_are_listed(project: Project, freshtune: Freshtune) -> None:
    made = project.decide("m1")
    (shard,) = linked(made["raw"], "shards")
    found = freshtune("rows", "tiny", "trace", "--text", "see you  at ten", "--everywhere", "--json")
    files = json.loads(found.stdout)["files"]
    assert str(shard / "rows.feather") in files
    assert all(Path(each).is_relative_to(project.folder / "home") for each in files)
    none = freshtune("rows", "tiny", "trace", "--text", "never seen anywhere", "--everywhere")
    assert (none.exit_code, none.stdout) == (0, "")
    assert "0 files of freshtune hold the text; the source itself was not searched." in none.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "trace needs rows"),
        (("--text", "x", "--drop"), "trace takes ROW_ID, --text or --file, and --json"),
        (("--file", "a.csv", "--everywhere"), "or --text and --everywhere"),
        (("xyz",), "'xyz' is no row_id; accepted: the first of its 32 digits 0-9 and a-f"),
        (("--text", "never seen"), "no row of any model or of the source as it was last read is meant"),
    ],
)
def test_wrong_use(project: Project, freshtune: Freshtune, options: tuple[str, ...], said: str) -> None:
    project.decide("m1")
    result = freshtune("rows", "tiny", "trace", *options)
    assert result.exit_code == 2
    assert said in result.stderr
    other = freshtune("rows", "tiny", "quarantine", "--text", "x")
    assert "--text, --file and --everywhere are for trace only" in other.stderr
