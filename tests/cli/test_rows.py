"""Rows in quarantine and rulings on them, over the real steps up to `cleaned`."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from assets import session
from assets.session import open_runner
from assets.store import ingredients
from assets.store.digests import digest_json
from assets.store.runner import Runner
from assets.store.step import Build, Step
from tests.chains import pieces
from tests.cli.conftest import Freshtune

ROOT = Path(__file__).parents[2]
SET, LENGTH = "expect_column_values_to_be_in_set", "expect_column_value_lengths_to_be_between"
LONG = "a long text " * 20
ROWS = [
    ("see you at ten", "ham"),
    ("win a prize now", "ham"),
    ("win a prize now", "spam"),
    ("=cmd|' /C calc'!A0", "eggs"),
    (LONG.strip(), "ham"),
    ("no label here", ""),
    ("\x1b[31mred\tand bold", "eggs"),
    *((f"plain message number {at}", ("ham", "spam")[at % 2]) for at in range(20)),
]
SUSPECTS = pa.table(
    {
        "row_id": [digest_json(["see you at ten", "ham"])[:32]],
        "text": ["see you at ten"],
        "label": ["ham"],
        "suggested": ["spam"],
        "confidence": [0.125],
        "suggested_confidence": [0.875],
    }
)


def review(build: Build) -> dict[str, Any]:
    """Stands for the step of that name."""
    pq.write_table(SUSPECTS, build.content / "suspects.parquet")
    return {}


class Project:
    """A project folder with the pipeline `tiny`, in which the test is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rulings = folder / "pipelines" / "tiny" / "rulings.jsonl"

    def write(self, rows: list[tuple[str, str]]) -> None:
        with (self.folder / "data" / "a.csv").open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerows([("text", "label"), *rows])
            stream.write("too,many,fields\r\n")

    def run(self) -> dict[str, Any]:
        """Run the steps; what each did, and the content of the last."""
        runner = open_runner("tiny")
        results = {name: runner.run_step(name) for name in ("raw", "validated", "cleaned")}
        return {name: result.action for name, result in results.items()} | {
            "content": results["cleaned"].record.content,
            "measured": {name: result.measurements for name, result in results.items()},
        }

    def ruled(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.rulings.read_text().splitlines()]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for part in ("pipelines/tiny", "data"):
        (tmp_path / part).mkdir(parents=True)
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    declared = {
        "task": {"labels": ["ham", "spam"]},
        "source": {"files": ["data/*.csv"]},
        "base_model": {"name": "base"},
        "validation": {"text_length": {"max": 60}, "max_quarantined": 0.9},
    }
    text = yaml.safe_dump({"type": "assets.orchestration.FineTuningPipeline", "attributes": declared})
    (tmp_path / "pipelines" / "tiny" / "defs.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRESHTUNE_HOME", str(tmp_path / "home"))
    project = Project(tmp_path)
    project.write(ROWS)
    return project


@pytest.fixture
def listed(freshtune: Freshtune) -> Callable[..., dict[str, dict[str, Any]]]:
    """Rows in quarantine by their text."""

    def ask(*options: str) -> dict[str, dict[str, Any]]:
        result = freshtune("rows", "tiny", "quarantine", "--json", *options)
        assert result.exit_code == 0, result.output
        return {f"{row['text']}|{row['label'] or ''}": row for row in json.loads(result.stdout)["rows"]}

    return ask


Listed = Callable[..., dict[str, dict[str, Any]]]


def test_rows_in_quarantine_are_listed_with_reason_and_origin(
    project: Project, freshtune: Freshtune, listed: Listed
) -> None:
    never = freshtune("rows", "tiny", "quarantine")
    assert never.exit_code == 2
    assert "step validated was never built" in never.stderr
    assert "fix: freshtune run tiny --to validated" in never.stderr
    project.run()
    found = listed()
    assert len(found) == 7
    row = found["win a prize now|spam"]
    assert (row["step"], row["file"], row["line"], row["places"]) == ("cleaned", "data/a.csv", 4, 1)
    assert row["detail"] == "the same text has the labels ham: 1 row, spam: 1 row"
    assert found["too,many,fields|"]["expectation"] == "readable"
    assert set(listed("--expectation", "lengths")) == {f"{LONG.strip()}|ham"}
    assert set(listed("--label", "spam")) == {"win a prize now|spam"}
    assert len(listed("--limit", "2")) == 2
    shown = freshtune("rows", "tiny", "quarantine", "--limit", "6").stdout
    assert f"{row['row_id'][:8]}  data/a.csv:4" in shown
    assert "6 of 7 rows; --limit shows more" in shown
    assert "rule ROW --readmit | --relabel LABEL | --drop" in shown
    assert "\x1b" not in freshtune("rows", "tiny", "quarantine").stdout
    assert "No row is in quarantine." in freshtune("rows", "tiny", "quarantine", "--label", "none").stdout


def test_exports(project: Project, freshtune: Freshtune, listed: Listed) -> None:
    project.run()
    due = list(listed().values())
    for name in ("bad.jsonl", "bad.parquet", "bad.csv"):
        assert freshtune("rows", "tiny", "quarantine", "--export", name).exit_code == 0
    assert [json.loads(line) for line in Path("bad.jsonl").read_text().splitlines()] == due
    assert pq.read_table("bad.parquet").to_pylist() == due
    rows = list(csv.DictReader(io.StringIO(Path("bad.csv").read_text())))
    assert [row["row_id"] for row in rows] == [row["row_id"] for row in due]
    assert sorted(row["text"] for row in rows if row["text"].startswith("'")) == ["'=cmd|' /C calc'!A0"]
    said = freshtune("rows", "tiny", "quarantine", "--export", "bad.csv").stderr
    assert "7 rows written to bad.csv" in said
    assert "1 cell begins like a formula and got a ' in front" in said
    unknown = freshtune("rows", "tiny", "quarantine", "--export", "bad.xls")
    assert unknown.exit_code == 2
    assert "fix: name it .csv, .jsonl or .parquet, or say which it is with --format: csv, jsonl" in unknown.stderr
    nowhere = freshtune("rows", "tiny", "quarantine", "--export", "gone/bad.csv")
    assert nowhere.exit_code == 2
    assert "'gone/bad.csv' cannot be written: No such file or directory" in nowhere.stderr


def test_a_ruling_by_hand_resolves_what_it_is_about(project: Project, freshtune: Freshtune, listed: Listed) -> None:
    before = project.run()
    found = listed()
    relabel = [found[name]["row_id"][:8] for name in ("win a prize now|ham", "=cmd|' /C calc'!A0|eggs")]
    done = freshtune("rows", "tiny", "rule", *relabel, "--relabel", "spam", "--why", "asks for money")
    assert done.exit_code == 0, done.output
    assert "ham → spam" in done.stdout
    assert "Next: freshtune run tiny" in done.stdout
    long = found[f"{LONG.strip()}|ham"]["row_id"]
    assert freshtune("rows", "tiny", "rule", long, "--readmit", "--why", "ok").exit_code == 0
    red = found["\x1b[31mred\tand bold|eggs"]["row_id"]
    assert freshtune("rows", "tiny", "rule", red, "--drop", "--why", "rubbish").exit_code == 0
    assert [(each["action"], each["label"], each.get("to"), each["why"]) for each in project.ruled()] == [
        ("relabel", "ham", "spam", "asks for money"),
        ("relabel", "eggs", "spam", "asks for money"),
        ("readmit", "ham", None, "ok"),
        ("drop", "eggs", None, "rubbish"),
    ]
    planned = json.loads(freshtune("plan", "tiny", "--to", "cleaned", "--json").stdout)["steps"]
    assert [(step["step"], step["state"]) for step in planned] == [
        ("raw", "fresh"),
        ("validated", "stale"),
        ("cleaned", "pending"),
    ]
    assert planned[1]["reasons"] == [{"kind": "input", "what": "rulings"}]
    after = project.run()
    assert after["measured"]["validated"]["rulings"] == {
        "readmitted": 1,
        "relabelled": 2,
        "dropped": 1,
        "about_no_row": 0,
    }
    assert (before["measured"]["cleaned"]["quarantined"], after["measured"]["cleaned"]["quarantined"]) == (2, 0)
    assert after["measured"]["cleaned"]["kept"] == 20 + 1 + 1 + 1 + 1
    left = listed()
    assert set(left) == {"too,many,fields|", "no label here|", "\x1b[31mred\tand bold|eggs"}
    who = left["\x1b[31mred\tand bold|eggs"]["detail"]
    assert who.endswith(": rubbish")
    # Other words, times and another order rerun nothing; the source that says the same reruns nothing after `cleaned`.
    lines = [{**each, "why": "another", "when": "2020-01-01"} for each in project.ruled()[::-1]]
    project.rulings.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    again = project.run()
    assert {again[name] for name in ("raw", "validated", "cleaned")} == {"fresh"}
    mended = {("win a prize now", "ham"): "spam", ("=cmd|' /C calc'!A0", "eggs"): "spam"}
    project.write([(text, mended.get((text, label), label)) for text, label in ROWS])
    project.rulings.write_text("".join(f"{json.dumps(each)}\n" for each in lines if each["action"] != "relabel"))
    assert project.run()["content"] == after["content"]
    project.rulings.unlink()
    project.write(ROWS)
    assert project.run()["content"] == before["content"]


def test_what_cannot_be_ruled_is_refused_and_nothing_is_written(
    project: Project, freshtune: Freshtune, listed: Listed
) -> None:
    project.run()
    found = listed()
    names = {name: row["row_id"] for name, row in found.items()}

    def refused(*arguments: str) -> str:
        result = freshtune("rows", "tiny", "rule", *arguments, "--why", "x")
        assert result.exit_code == 2, result.output
        assert not project.rulings.exists()
        return " ".join(result.stderr.split())

    unread = names["too,many,fields|"]
    assert "cannot be read as a row, so nobody can rule on it; fix: mend the source" in refused(unread, "--drop")
    assert "'xyz' is no row_id" in refused("xyz", "--drop")
    assert "is no row that validation saw; fix: `freshtune rows tiny quarantine`" in refused("0" * 32, "--drop")
    short = refused(*"0123456789abcdef", "--drop")
    assert "rows; fix: write more of it: " in short
    assert 'label: "" is no label of the task, and a row needs one to be readmitted; fix: relabel the row' in refused(
        names["no label here|"], "--readmit"
    )
    assert "cleaned set it aside for its label; fix: relabel it, or drop the others" in refused(
        names["win a prize now|ham"], "--readmit"
    )
    assert 'to: "eggs" is no label of the task; accepted: ham, spam' in refused(
        names["win a prize now|ham"], "--relabel", "eggs"
    )
    both = refused(names["win a prize now|ham"], names["no label here|"], "--readmit")
    assert both.count("row ") >= 2
    assert "rule needs one of --readmit, --relabel LABEL and --drop" in refused(unread)
    assert "rule needs one of" in refused(unread, "--drop", "--readmit")
    assert "rule needs rows, or --import" in refused("--drop")
    assert "takes no --expectation" in refused(unread, "--drop", "--label", "ham")
    for arguments, said in {
        ("quarantine", unread): "takes no rows to rule on",
        ("quarantine", "--format", "csv"): "--format is about --export",
        ("rule", names["win a prize now|ham"], "--drop"): "a ruling keeps its reason",
        ("rule", unread, "--import", "x.json"): "--import says itself",
        ("rule", "--import", "x.json"): "x.json: cannot be read",
    }.items():
        result = freshtune("rows", "tiny", *arguments)
        assert result.exit_code == 2
        assert said in " ".join(result.stderr.split())


def test_a_later_ruling_takes_the_place_of_an_earlier_one(
    project: Project, freshtune: Freshtune, listed: Listed
) -> None:
    project.run()
    row = listed()["no label here|"]["row_id"][:10]
    for _ in range(2):
        assert freshtune("rows", "tiny", "rule", row, "--relabel", "ham", "--why", "x").exit_code == 0
    assert len(project.ruled()) == 1
    assert (
        "1 of 1 were ruled so already."
        in freshtune("rows", "tiny", "rule", row, "--relabel", "ham", "--why", "y").stdout
    )
    project.run()
    # A row is found by the row_id that it has since it was relabelled, too.
    new = pq.read_table(next(project.folder.glob("home/store/objects/*/*/upheld.parquet")))["row_id"][0].as_py()
    done = freshtune("rows", "tiny", "rule", new, "--drop", "--why", "says nothing", "--json")
    assert done.exit_code == 0, done.output
    (change,) = json.loads(done.stdout)["ruled"]
    assert (change["row_id"][:10], change["action"], change["before"]["action"]) == (row, "drop", "relabel")
    project.run()
    assert listed()["no label here|"]["expectation"] == "dropped_by_ruling"


def annotated(tasks: list[dict[str, Any]], choices: dict[str, str]) -> list[dict[str, Any]]:
    """Tasks as Label Studio exports them, each with a cancelled, an older and the latest annotation."""

    def annotation(number: int, choice: str, **more: Any) -> dict[str, Any]:
        result = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}
        return {"id": number, "completed_by": {"email": "eva@example.org"}, "result": [result], **more}

    return [
        {
            "id": number,
            **task,
            "annotations": [
                annotation(3, "ham", was_cancelled=True, updated_at="2026-03-03T10:00:00.000000Z"),
                annotation(2, choices[task["data"]["text"]], updated_at="2026-03-02T10:00:00.000000Z"),
                annotation(1, "ham", updated_at="2026-03-01T10:00:00.000000Z"),
            ]
            if task["data"]["text"] in choices
            else [],
        }
        for number, task in enumerate(tasks)
    ]


def test_the_round_trip_through_label_studio(project: Project, freshtune: Freshtune, listed: Listed) -> None:
    project.run()
    said = freshtune("rows", "tiny", "quarantine", "--export", "tasks.json", "--format", "label_studio")
    assert said.exit_code == 0, said.output
    assert '<Choice value="ham"/><Choice value="spam"/><Choice value="drop"/>' in said.stderr
    tasks = json.loads(Path("tasks.json").read_text())
    assert all(isinstance(task["data"]["text"], str) and not task["predictions"] for task in tasks)
    choices = {
        "win a prize now": "spam",
        "no label here": "ham",
        LONG.strip(): "ham",
        "=cmd|' /C calc'!A0": "drop",
    }
    gone = {"data": {"text": "gone", "row_id": "0" * 32}, "predictions": []}
    back = annotated([*tasks, gone], {**choices, "gone": "drop"})
    Path("back.json").write_text(json.dumps(back))
    first = freshtune("rows", "tiny", "rule", "--import", "back.json")
    assert first.exit_code == 0, first.output
    assert "2 tasks without an annotation" in first.stderr
    assert "1 task about rows that are not there" in first.stderr
    assert "1 task that change nothing" in first.stderr
    assert {(each["text"], each["label"], each["action"], each.get("to")) for each in project.ruled()} == {
        ("win a prize now", "ham", "relabel", "spam"),
        ("no label here", "", "relabel", "ham"),
        (LONG.strip(), "ham", "readmit", None),
        ("=cmd|' /C calc'!A0", "eggs", "drop", None),
    }
    assert {(each["by"], each["when"], each["why"]) for each in project.ruled()} == {
        ("eva@example.org", "2026-03-02T10:00:00.000000Z", "labelled in Label Studio")
    }
    before = project.rulings.read_bytes()
    again = freshtune("rows", "tiny", "rule", "--import", "back.json")
    assert again.exit_code == 0, again.output
    assert project.rulings.read_bytes() == before
    measured = project.run()["measured"]
    assert measured["validated"]["rulings"] == {"readmitted": 1, "relabelled": 2, "dropped": 1, "about_no_row": 0}
    assert measured["cleaned"]["quarantined"] == 0
    assert set(listed()) == {"too,many,fields|", "\x1b[31mred\tand bold|eggs", "=cmd|' /C calc'!A0|eggs"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{}", "is no export of Label Studio in JSON"),
        ("[1", "is no export of Label Studio in JSON"),
        ('[{"data": {"text": "x"}}]', "task 1: data.row_id is missing"),
        (
            '[{"data": {"row_id": "0"}, "annotations": [{"result": [{"value": {"choices": ["egg"]}}]}]}]',
            "task 1: 'egg' is not accepted; accepted: one of ham, spam, drop",
        ),
    ],
)
def test_what_is_no_export_of_label_studio(project: Project, freshtune: Freshtune, written: str, said: str) -> None:
    project.run()
    Path("back.json").write_text(written)
    result = freshtune("rows", "tiny", "rule", "--import", "back.json")
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_wrong_rulings_are_told_before_anything_runs(project: Project, freshtune: Freshtune) -> None:
    project.rulings.write_text('{"text": "a", "action": "drop"}\n')
    for command in (("plan", "tiny"), ("run", "tiny")):
        result = freshtune(*command)
        assert result.exit_code == 2
        assert "pipelines/tiny/rulings.jsonl:1: label: is missing; fix: add it" in result.stderr
    assert not (project.folder / "home" / "store" / "objects").exists()


def test_nothing_is_lost_where_a_ruling_cannot_be_written(
    project: Project, freshtune: Freshtune, listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run()
    row = listed()["no label here|"]["row_id"]
    project.rulings.write_bytes(b'{"text":"a","label":"ham","action":"drop","why":"x","by":"y","when":"2026-03-01"}')
    assert freshtune("rows", "tiny", "rule", row, "--drop", "--why", "x").exit_code == 0
    before = project.rulings.read_bytes()
    assert before.count(b"\n") == 2

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert freshtune("rows", "tiny", "rule", row, "--relabel", "ham", "--why", "x").exit_code == 1
    assert project.rulings.read_bytes() == before


def test_suspects_are_listed_and_exported_only_where_they_are_looked_for(
    project: Project, freshtune: Freshtune, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run()
    off = freshtune("rows", "tiny", "review")
    assert off.exit_code == 2
    assert "fix: add `review: {}` under `attributes:` of pipelines/tiny/defs.yaml" in off.stderr

    step = Step("review", "", f"{__name__}:review", inputs=("cleaned",))
    monkeypatch.setattr(ingredients, "code_pieces", pieces)
    plain = session.open_runner

    def with_review(name: str, **more: Any) -> Runner:
        runner = plain(name, **more)
        runner.chain = (*[each for each in runner.chain if each.name in {"raw", "validated", "cleaned"}], step)
        return runner

    monkeypatch.setattr(session, "open_runner", with_review)
    never = freshtune("rows", "tiny", "review")
    assert "fix: freshtune run tiny --to review" in never.stderr
    with_review("tiny").run_step("review")
    shown = freshtune("rows", "tiny", "review").stdout
    assert "likely_label_error: spam is expected at 87.5%, ham at 12.5%" in shown
    done = freshtune("rows", "tiny", "review", "--export", "tasks.json", "--format", "label_studio")
    assert done.exit_code == 0, done.output
    (task,) = json.loads(Path("tasks.json").read_text())
    assert task["predictions"][0]["result"][0]["value"] == {"choices": ["spam"]}
    # Whoever says that the label is right after all readmits the row.
    Path("back.json").write_text(json.dumps(annotated([task], {"see you at ten": "ham"})))
    assert freshtune("rows", "tiny", "rule", "--import", "back.json").exit_code == 0
    assert [(each["text"], each["action"]) for each in project.ruled()] == [("see you at ten", "readmit")]
