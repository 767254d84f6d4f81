"""A thousand files that arrive while a real daemon runs, is killed, and runs again."""

from __future__ import annotations

import random
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from assets.cleaned.rows import read_rows as cleaned_rows
from assets.orchestration.launch import INSTANCE
from assets.raw.rows import origins
from assets.release.account import row_account
from assets.session import open_runner
from assets.splits.rows import read_sides
from tests.project import store_faults
from tests.system.served import DONE, SECONDS, Project, Server, served
from tests.tiny import make_rows

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

FILES = 1000
WAVES = 8
KILLED_AFTER = (2, 3)
"""After how many more waves everything is killed."""
SECONDS_BETWEEN = 3.0
"""Seconds between two waves: a file that was just written holds up the others for a moment."""
MONITORING = "run_monitoring:\n  enabled: true\n"
SOONER = "  start_timeout_seconds: 60\n  poll_interval_seconds: 5\n"
"""A run that is killed before its process has said anything is given up after this; after 3 minutes by default."""
CHEAP = ("raw", "validated", "cleaned", "splits")


class Sender:
    """Somebody who sends files, never in the order of their names, and changes his mind about some."""

    def __init__(self, project: Project) -> None:
        self.random = random.Random(7)  # noqa: S311 - which files are changed
        self.folder, self.part = project.folder / "data", project.folder / "part"
        rows = make_rows(3 * FILES, seed=1)
        self.rows = {f"{at:04d}.csv": rows[2 * at : 2 * at + 2] for at in range(FILES)}
        self.spare = rows[2 * FILES :]
        names = list(self.rows)
        self.random.shuffle(names)
        self.waves = [names[at::WAVES] for at in range(WAVES)]
        self.there: dict[str, list[tuple[str, str]]] = {"first.csv": make_rows(400, seed=0)}

    def write(self, name: str, rows: list[tuple[str, str]]) -> None:
        """Whole at once, or – every third – as a slow writer does, under its own name."""
        lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
        path = self.folder / name
        if self.random.random() < 0.3:
            path.touch()
            with path.open("w") as file:
                file.writelines(f"{line}\n" for line in lines)
        else:
            self.part.write_text("\n".join(lines) + "\n")
            self.part.rename(path)
        self.there[name] = rows

    def send(self, wave: list[str]) -> None:
        for name in wave:
            self.write(name, self.rows[name])
        for name in self.random.sample(sorted(self.there), 20):
            change = self.random.choice(["twice", "other", "renamed", "longer"])
            rows = self.there[name]
            if change == "twice":
                self.write(f"again-{name}", rows)
            elif change == "other":
                self.write(name, [self.spare.pop()])
            elif change == "longer":
                self.write(name, [*rows, self.spare.pop(), rows[0]])
            else:
                (self.folder / name).rename(self.folder / f"new-{name}")
                self.there[f"new-{name}"] = self.there.pop(name)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path / "project", sensor={"minimum_interval_seconds": 1, "min_new_rows": 1_000_000})
    (made.home / "dagster").mkdir()
    text = INSTANCE.read_text()
    assert MONITORING in text
    (made.home / "dagster" / "dagster.yaml").write_text(text.replace(MONITORING, f"{MONITORING}{SOONER}"))
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("FRESHTUNE_HOME", str(made.home))
    return made


def await_start(server: Server) -> None:
    """Wait until a run has begun its work."""
    started = time.monotonic()
    while time.monotonic() - started < SECONDS:
        if any(run["status"] == "STARTED" for run in server.runs()):
            time.sleep(2)
            return
        time.sleep(0.1)
    raise AssertionError("no run was started")


def await_rows(server: Server) -> None:
    """Wait until every file was taken in."""
    started = time.monotonic()
    while time.monotonic() - started < SECONDS:
        plan = open_runner("tiny").plan()
        if not set(CHEAP) & set(plan.to_run) and all(run["status"] in DONE for run in server.runs()):
            return
        time.sleep(1)
    raise AssertionError(f"after {SECONDS} s: {plan.json()}\n{server.runs()[:3]}")


def test_every_row_of_a_thousand_files_is_there_once(project: Project) -> None:
    sender = Sender(project)
    waves = iter(sender.waves)
    for count in KILLED_AFTER:
        with served(project) as server:
            for wave in islice(waves, count):
                sender.send(wave)
                time.sleep(SECONDS_BETWEEN)
            await_start(server)
            server.kill()
    with served(project) as server:
        for wave in islice(waves, 2):
            sender.send(wave)
            time.sleep(SECONDS_BETWEEN)
        await_rows(server)
        [last] = waves
        sender.send(last)
        await_rows(server)
        assert_asked_once(server.runs())
    assert len(sender.there) > FILES

    lines = [(text, label) for rows in sender.there.values() for text, label in rows]
    runner = open_runner("tiny")
    stands = {name: runner.standing(name) for name in CHEAP}
    content = {name: runner.store.open("objects", stood.record.content) for name, stood in stands.items() if stood}
    trace = runner.store.open("traces", stands["raw"].record.trace) if stands["raw"] else Path()
    found = cleaned_rows(content["cleaned"])
    assert Counter(zip(found["text"].to_pylist(), found["label"].to_pylist(), strict=True)) == Counter(set(lines))
    assert read_sides(content["splits"])["row_id"].to_pylist() == found["row_id"].to_pylist()
    places = origins(content["raw"], trace)
    read = Counter(places["file"].to_pylist())
    assert read == {f"data/{name}": len(rows) for name, rows in sender.there.items()}
    account = row_account({name: stood.measurements for name, stood in stands.items() if stood})
    assert (account["read"], account["kept"], account["missing"]) == (len(lines), len(set(lines)), 0)
    assert account["merged"] == len(lines) - len(set(lines)) > 0
    assert store_faults(project.home / "store") == []


def assert_asked_once(runs: list[dict[str, Any]]) -> None:
    """Each state of the source was asked for once; a run that died was launched again by Dagster, as itself."""
    tags = [{tag["key"]: tag["value"] for tag in run["tags"]} for run in runs]
    assert all(each["dagster/sensor_name"] == "tiny_new_data" for each in tags)
    keys = {each["dagster/run_key"] for each in tags}
    manifests = [key.partition("-")[0] for key in keys]
    assert len(manifests) == len(set(manifests)) > 1
    asked = [each["dagster/run_key"] for each in tags if "dagster/parent_run_id" not in each]
    assert sorted(asked) == sorted(keys)
    assert {asset["path"][1] for run in runs for asset in run["assetSelection"]} == set(CHEAP)
