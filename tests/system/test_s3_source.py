"""Rows of files in a bucket: whole runs while files come, change, move and go, and what the network does to them."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest

from assets.cleaned.rows import read_rows as cleaned_rows
from assets.errors import ChangingError, TransientError
from assets.raw import remote
from assets.raw.rows import origins
from assets.release.account import row_account
from assets.session import open_runner
from assets.splits.rows import read_sides
from assets.store.index import FileIndex
from tests.project import Project, actions
from tests.system.buckets import Server, served
from tests.tiny import make_rows

pytestmark = pytest.mark.system

TO = "splits"
STEPS = ("raw", "validated", "cleaned", TO)
BUILT = dict.fromkeys(STEPS, "built")
RAW_ALONE = {**dict.fromkeys(STEPS, "fresh"), "raw": "built"}
ROWS = make_rows(500, seed=0)
OLD, MORE, NEW = ROWS[:300], ROWS[300:400], ROWS[400:]
Row = tuple[str, str]


class Bucket:
    """Files of a bucket, and a project whose source they are."""

    def __init__(self, folder: Path, **source: Any) -> None:
        self.name = uuid.uuid4().hex
        self.system = fsspec.filesystem("s3")
        self.system.mkdir(self.name)
        self.there: dict[str, list[Row]] = {}
        self.project = Project.make(folder)
        self.project.declare(source={"files": [self.url("*.csv")], **source})

    def url(self, name: str) -> str:
        return f"s3://{self.name}/data/{name}"

    def write(self, name: str, rows: Sequence[Row]) -> None:
        text = "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)
        self.system.pipe_file(self.url(name), text.encode())
        self.there[name] = list(rows)

    def rename(self, name: str, to: str) -> None:
        self.system.mv(self.url(name), self.url(to))
        self.there[to] = self.there.pop(name)

    def remove(self, name: str) -> None:
        self.system.rm_file(self.url(name))
        del self.there[name]

    def run(self) -> dict[str, str]:
        """Run what is not fresh, up to the sides; what became of each step."""
        with self.project.entered():
            runner = open_runner("tiny")
            return {name: runner.run_step(name).action for name in STEPS}

    def refused(self) -> tuple[int, str]:
        """Exit code of a run that must fail, and what it says."""
        result = self.project.freshtune("run", "tiny", "--to", TO)
        assert result.exit_code != 0, result.output
        return result.exit_code, result.output

    def lines(self) -> list[Row]:
        """What is in the files now, a line each."""
        return [row for rows in self.there.values() for row in rows]

    def holds(self, lines: Sequence[Row]) -> None:
        """Check what stands: each row once, every line in the account, every file and line in the trace."""
        with self.project.entered():
            runner = open_runner("tiny")
            stands = {name: runner.standing(name) for name in STEPS}
        content = {name: runner.store.open("objects", stood.record.content) for name, stood in stands.items() if stood}
        found = cleaned_rows(content["cleaned"])
        rows = set(lines)
        assert Counter(zip(found["text"].to_pylist(), found["label"].to_pylist(), strict=True)) == Counter(rows)
        assert read_sides(content[TO])["row_id"].to_pylist() == found["row_id"].to_pylist()
        counted = row_account({name: stood.measurements for name, stood in stands.items() if stood})
        expected = {"read": len(lines), "kept": len(rows), "merged": len(lines) - len(rows), "missing": 0}
        assert {name: counted[name] for name in expected} == expected
        assert stands["raw"] is not None
        read = origins(content["raw"], runner.store.open("traces", stands["raw"].record.trace))["file"].to_pylist()
        there = Counter(name for name in read if not name.endswith("(not in the source any more)"))
        assert there == {self.url(name): len(held) for name, held in self.there.items()}
        assert len(read) == len(lines)
        assert self.project.faults() == []


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as server:
        yield server


@pytest.fixture(autouse=True)
def network(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # The client waits a random part of a second before it asks again.
    monkeypatch.setattr(random, "random", lambda: 0.0)
    yield server
    server.network = "whole"


def test_files_that_come_change_move_and_go_are_mirrored(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path / "project")
    bucket.write("a.csv", OLD)
    bucket.write("b.csv", [*MORE, *OLD[:5]])
    bucket.system.pipe_file(bucket.url("notes.txt"), b"not of the source")
    assert set(actions(bucket.project.run("--to", TO)).values()) == {"built"}
    bucket.holds(bucket.lines())
    assert bucket.run() == dict.fromkeys(STEPS, "fresh")

    # A new file, and one that is replaced by another of the same size.
    bucket.write("c.csv", NEW)
    bucket.write("b.csv", [(text[::-1], label) for text, label in bucket.there["b.csv"]])
    assert bucket.run() == BUILT
    bucket.holds(bucket.lines())

    bucket.rename("c.csv", "d.csv")
    assert bucket.run() == RAW_ALONE
    bucket.holds(bucket.lines())
    bucket.remove("d.csv")
    assert bucket.run() == BUILT
    bucket.holds(bucket.lines())

    # A mirror of nothing is more likely a mistake: it is said, and what stood stands.
    rows = bucket.lines()
    for name in list(bucket.there):
        bucket.remove(name)
    code, said = bucket.refused()
    assert (code, "matches no file" in said) == (2, True), said
    bucket.write("all.csv", rows)
    assert bucket.run() == RAW_ALONE
    bucket.holds(rows)


def test_what_was_taken_in_stays_when_the_bucket_is_emptied(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path / "project", mode="append")
    bucket.write("a.csv", OLD)
    bucket.write("b.csv", MORE)
    assert bucket.run() == BUILT
    bucket.remove("a.csv")
    bucket.remove("b.csv")
    assert bucket.run() == RAW_ALONE
    bucket.holds([*OLD, *MORE])

    # What comes later is added, also under a name that was there before; what comes once more is there once.
    bucket.write("a.csv", NEW)
    bucket.write("again.csv", OLD[:40])
    assert bucket.run() == BUILT
    bucket.holds([*OLD, *MORE, *NEW])


def test_a_bucket_that_cannot_be_reached_is_not_taken_for_an_empty_one(network: Server, tmp_path: Path) -> None:
    bucket = Bucket(tmp_path / "project", mode="append")
    bucket.write("a.csv", OLD)
    assert bucket.run() == BUILT
    network.network = "down"
    code, said = bucket.refused()
    assert (code, "cannot be reached" in said) == (1, True), said
    network.network = "whole"
    assert bucket.run() == dict.fromkeys(STEPS, "fresh")
    bucket.holds(OLD)


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_a_file_that_changes_under_a_look_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    bucket = Bucket(tmp_path / "project")
    bucket.write("a.csv", OLD)
    other = fsspec.filesystem("s3", skip_instance_cache=True)
    matches = remote._matches

    def changing(system: Any, path: str) -> list[str]:
        found = matches(system, path)
        if change == "replaced":
            other.pipe_file(bucket.url("a.csv"), b"text,label\none,ham\n")
        else:
            other.rm_file(bucket.url("a.csv"))
        return found

    index = FileIndex(tmp_path / "files.json")
    monkeypatch.setattr(remote, "_matches", changing)
    with pytest.raises(ChangingError, match=rf"{bucket.url('a.csv')}: the file (changed|went away) while"):
        remote.elsewhere(bucket.url("*.csv"), index)
    monkeypatch.undo()
    seen = remote.elsewhere(bucket.url("*.csv"), index)
    assert [file.size for file in seen] == ([] if change == "removed" else [19])


def test_a_file_that_went_after_the_look_is_worth_another_try(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path / "project")
    bucket.write("a.csv", OLD)
    with bucket.project.entered():
        runner = open_runner("tiny")
        runner.plan()
        fsspec.filesystem("s3", skip_instance_cache=True).rm_file(bucket.url("a.csv"))
        with pytest.raises(TransientError, match=r"a\.csv: cannot be read any more"):
            runner.run_step("raw")
