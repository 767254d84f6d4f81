"""Whatever is given wrongly is refused with what, where and the fix, and leaves nothing half-done behind."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assets.raw.rows import origins
from assets.session import open_runner
from assets.store import storage
from tests.project import ROWS, Project
from tests.tiny import make_rows

GOOD = make_rows(ROWS, seed=0)
FEW = make_rows(60, seed=0)


def as_csv(rows: list[tuple[str, str]], header: str = "text,label") -> bytes:
    return "\n".join([header, *(f"{text},{label}" for text, label in rows), ""]).encode()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with good input whose data are split."""
    project = Project.make(tmp_path_factory.mktemp("bad") / "project")
    project.run("--to", "splits")
    return project


@pytest.fixture
def project(good: Project, tmp_path: Path) -> Project:
    return good.copy(tmp_path / "project")


def give(project: Project, data: bytes, name: str = "first.csv") -> None:
    """Let the source be one file."""
    (project.folder / "data" / "first.csv").unlink()
    (project.folder / "data" / name).write_bytes(data)


def refused(project: Project, *arguments: str, code: int) -> str:
    """Run a command that must fail in plain words and change no step behind it; its message."""
    before = standing(project)
    result = project.freshtune(*(arguments or ("run", "tiny")))
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert project.faults() == []
    assert standing(project)["splits"] == before["splits"]
    assert "model" not in standing(project)
    message: str = result.stderr[result.stderr.index("Error: ") :].removeprefix("Error: ").rstrip("\n")
    return message


def standing(project: Project) -> dict[str, bytes]:
    """What each step's reference holds."""
    return {path.stem: path.read_bytes() for path in project.home.glob("store/references/default/tiny/*.json")}


def refused_before_anything_ran(project: Project, *arguments: str) -> str:
    """The same, for what has to be found before a run: exit code 2, and not a file is touched."""
    before = files(project)
    message = refused(project, *arguments, code=2)
    assert files(project) == before
    return message


def files(project: Project) -> dict[str, int]:
    """Time of the last write of everything that a run would write."""
    return {
        str(path): path.stat().st_mtime_ns
        for part in ("store", "dagster", "work")
        for path in (project.home / part).rglob("*")
    }


# Configuration: found before anything runs


def test_no_such_pipeline(project: Project) -> None:
    expected = f"{project.folder}: there is no pipeline 'tyni'\n  fix: did you mean tiny? there are: tiny"
    assert refused_before_anything_ran(project, "run", "tyni") == expected
    assert refused_before_anything_ran(project, "plan", "tyni") == expected


@pytest.mark.parametrize("command", ["run", "plan"])
def test_unknown_field_and_wrong_types_are_all_named_at_once(project: Project, command: str) -> None:
    project.declare(training={"learning_rat": 1, "epochs": "many", "batch_size": 0})
    lines = refused_before_anything_ran(project, command, "tiny").splitlines()
    assert lines[0] == "the configuration has 3 errors"
    where = "  pipelines/tiny/defs.yaml:"
    assert [line.removeprefix(where).partition(" ")[2] for line in lines[1:]] == [
        (
            "training.batch_size: 0 is not accepted; accepted: a whole number, at least 1; "
            "fix: write one that is accepted, or remove the line for the default 16"
        ),
        (
            "training.epochs: many is text; accepted: a whole number, at least 1, at most 1000 or null; "
            "fix: write one that is accepted, or remove the line for the default null"
        ),
        (
            "training.learning_rat: there is no such field; accepted: epochs, batch_size, learning_rate, "
            "head_learning_rate, warmup, weight_decay, max_tokens, max_gradient_norm, seed, select_by, start, "
            "schedule, layer_decay, label_smoothing, class_weights, patience, lora_rank, order, precision, devices, "
            "activation_checkpointing, sharding, compile; fix: did you mean learning_rate or head_learning_rate?"
        ),
    ]


def test_source_that_matches_no_file(project: Project) -> None:
    project.declare(source={"files": ["data/*.tsv"]})
    assert refused_before_anything_ran(project) == (
        f"source.files: 'data/*.tsv' matches no file (looked in {project.folder})\n"
        "  fix: correct the path (it is relative to the project's folder), or put the file there"
    )


# The pretrained model: found before anything runs


def test_model_folder_that_does_not_exist(project: Project) -> None:
    project.declare(base_model={"name": "bas"})
    assert refused_before_anything_ran(project) == (
        f"base_model.name: 'bas' is no folder: there is none at {project.folder / 'bas'} "
        "(accepted: a folder, package://NAME/path, or a hub name owner/name[@revision])\n  fix: correct the name"
    )


def test_model_folder_that_is_none(project: Project) -> None:
    project.declare(base_model={"name": "data"})
    assert refused_before_anything_ran(project) == (
        "base_model.name: 'data' is no model folder: it has no config.json (it holds: first.csv); a model folder holds "
        "config.json, *.safetensors weights and a tokenizer (tokenizer.json or a vocabulary) "
        f"(in {project.folder / 'data'})\n  fix: name the folder of a model"
    )


def test_pickled_weights_only(project: Project) -> None:
    base = project.folder / "base"
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    message = refused_before_anything_ran(project)
    assert message.startswith(
        "base_model.name: 'base' is no model folder: its weights are pickled (pytorch_model.bin), and pickle can run "
        "code, so it is never loaded"
    )
    assert message.endswith(
        "fix: convert it where you trust it: load it with transformers and save_pretrained() it as safetensors"
    )


def test_weights_cut_short(project: Project) -> None:
    weights = project.folder / "base" / "model.safetensors"
    os.truncate(weights, 1000)
    before = files(project)
    message = refused(project, code=1)
    assert message.startswith(f"{weights}: model.safetensors is damaged or cut short: ")
    assert message.endswith("\n  fix: download the model again")
    assert files(project) == before


# The source: the step `raw` refuses, and all that stood before stands


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "first.csv",
            as_csv(FEW, "txt,label"),
            (
                "no column 'text'; columns found: 'txt', 'label'\n  fix: set source.columns (text, label, keep) to "
                "columns that every file has (is it 'txt'?); if the file has no header line, set source.names"
            ),
        ),
        ("first.csv", b"", "the file is empty\n  fix: put rows in it, or take it out of source.files"),
        (
            "first.csv",
            b"PK\x03\x04" + bytes(100),
            (
                "the file is taken for CSV, but it is a zip archive or an Excel workbook\n"
                "  fix: unpack it, or save the sheet as CSV in UTF-8"
            ),
        ),
        (
            "first.parquet",
            as_csv(FEW),
            (
                f"the file is taken for Parquet, but it is text that begins with {as_csv(FEW)[:40].decode()!r}\n"
                "  fix: set source.format to what it is, or rename it"
            ),
        ),
    ],
    ids=["missing column", "empty", "Excel called CSV", "CSV called Parquet"],
)
def test_file_that_cannot_be_used(project: Project, name: str, data: bytes, message: str) -> None:
    project.declare(source={"files": ["data/*"]})
    give(project, data, name)
    before = standing(project)
    assert refused(project, code=1) == f"data/{name}: {message}"
    assert standing(project) == before


# Rows: set aside with reason and place, and accounted for


def test_bytes_that_are_not_utf8_go_to_quarantine(project: Project) -> None:
    give(project, as_csv(GOOD) + "café is closed,ham\n".encode("latin-1"))
    assert accounted(project) == f"{ROWS + 1} rows read = {ROWS} accepted + 1 in quarantine + 0 merged as duplicates"
    row = quarantined(project)
    assert {name: row[name] for name in ("text", "expectation", "detail", "file", "line")} == {
        "text": r"caf\xe9 is closed,ham",
        "expectation": "readable",
        "detail": r"encoding: column 'text': \xe9 at character 4 is not in the encoding",
        "file": "data/first.csv",
        "line": ROWS + 2,
    }


def test_unknown_label_goes_to_quarantine(project: Project) -> None:
    give(project, as_csv([*GOOD, ("what is this", "eggs")]))
    assert accounted(project) == f"{ROWS + 1} rows read = {ROWS} accepted + 1 in quarantine + 0 merged as duplicates"
    row = quarantined(project)
    assert {name: row[name] for name in ("text", "label", "expectation", "detail", "file", "line")} == {
        "text": "what is this",
        "label": "eggs",
        "expectation": "expect_column_values_to_be_in_set",
        "detail": 'label is "eggs"',
        "file": "data/first.csv",
        "line": ROWS + 2,
    }


def accounted(project: Project) -> str:
    """What the command line says of where the rows went; the run up to `cleaned` must succeed."""
    result = project.freshtune("run", "tiny", "--to", "cleaned")
    assert result.exit_code == 0, result.output
    assert project.faults() == []
    told: str = next(line for line in result.stdout.splitlines() if line.startswith("rows "))
    return told.removeprefix("rows").strip()


def quarantined(project: Project) -> dict[str, Any]:
    """The one row in quarantine, with where it came from."""
    with project.entered():
        runner = open_runner("tiny")
        raw, validated = runner.standing("raw"), runner.standing("validated")
    assert raw is not None
    assert validated is not None
    store = runner.store
    [row] = pq.read_table(store.open("objects", validated.record.content) / "quarantine.parquet").to_pylist()
    places = origins(store.open("objects", raw.record.content), store.open("traces", raw.record.trace)).to_pylist()
    [origin] = [origin for origin in places if origin["row_id"] == row["row_id"]]
    found: dict[str, Any] = {**row, **origin}
    return found


def test_too_many_unknown_labels_block(project: Project) -> None:
    give(project, as_csv([(text, "eggs" if number % 5 == 0 else label) for number, (text, label) in enumerate(FEW)]))
    message = refused(project, code=1)
    assert message.startswith(
        "validated: check quarantine_within_limit failed: 12 of 60 rows (20.00%) are in quarantine, "
        "at most 10.00% may be – expect_column_values_to_be_in_set 12"
    )
    assert message.endswith("\n  fix: mend the data or the configuration that the check is about, then run again")


def test_one_class_only(project: Project) -> None:
    give(project, as_csv([(text, "ham") for text, _ in FEW]))
    message = refused(project, code=1)
    assert message.startswith("splits: only one label occurs, ham; a classifier needs two\n")
    assert message.endswith(
        "fix: add rows of the other labels, and check that `source.columns.label` names the column of labels"
    )


def test_fewer_rows_than_the_splits_need(project: Project) -> None:
    give(project, as_csv(FEW[:7]))
    message = refused(project, code=1)
    assert message.startswith(
        "splits: too few rows to split: each side must have at least 2 of each label, but ham has 0 in validation; "
        "spam has 0 in train, 0 in validation, 1 in test\n"
    )
    assert "\n  fix: add rows of ham, spam until each has about 46 texts that are no near-duplicates" in message


# The disk

FULL = "no space left on the disk while a result was written; nothing half-written was kept"


def test_no_space_when_a_result_is_published(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: storage.LocalStorage, folder: Path, name: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    give(project, as_csv(FEW))
    before = standing(project)
    with monkeypatch.context() as patched:
        patched.setattr(storage.LocalStorage, "publish", full)
        message = refused(project, code=1)
    assert message.startswith(f"{project.home / 'store' / 'staging'}: {FULL}\n  fix: free some space")
    assert standing(project) == before
    assert left(project) == []
    assert project.freshtune("run", "tiny", "--to", "raw").exit_code == 0
    assert standing(project)["raw"] != before["raw"]


def left(project: Project) -> list[Path]:
    """What a step that failed may not leave in the store."""
    return [path for part in ("staging", "leases") for path in (project.home / "store" / part).glob("*")]


@contextmanager
def disk(folder: Path, size: str) -> Iterator[None]:
    """A small disk with what the folder holds in its place."""
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False) if shutil.which("mount") else None
    if made is None or made.returncode != 0:
        pytest.skip("a small disk cannot be mounted here (needs root)")
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, free: int) -> Path:
    """Fill a disk up to so many free bytes; the file that does it."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        file.write(bytes(shutil.disk_usage(folder).free - free))
    return filler


@pytest.mark.parametrize(("free", "step"), [(0, "raw"), (16 * 1024, "raw"), (96 * 1024, "model")])
def test_full_disk_under_the_store(project: Project, free: int, step: str) -> None:
    if step == "raw":
        give(project, as_csv(GOOD[:-1]))
    with disk(project.home / "store", "4m"):
        filler = fill(project.home / "store", free)
        before = standing(project)
        message = refused(project, code=1)
        assert message.startswith(f"{project.home / 'store'}")
        assert re.search("no space left on (the disk|device)", message, re.IGNORECASE)
        assert re.search(r"\n  fix: free (some )?space", message)
        assert standing(project) == before
        assert left(project) == []
        filler.unlink()
        # What stood before goes on from where it was.
        result = project.freshtune("run", "tiny", "--to", "splits")
        assert result.exit_code == 0, result.output
        assert project.faults() == []


def test_full_disk_under_the_home(project: Project) -> None:
    give(project, as_csv(GOOD[:-1]))
    with disk(project.home, "6m"):
        filler = fill(project.home, 0)
        message = refused(project, code=1)
        assert str(project.home) in message
        assert "fix: free some space, or point FRESHTUNE_HOME at a larger disk" in message
        filler.unlink()
        result = project.freshtune("run", "tiny", "--to", "raw")
        assert result.exit_code == 0, result.output


def test_home_that_cannot_be_written(project: Project) -> None:
    with disk(project.home, "6m"):
        subprocess.run(["mount", "-o", "remount,ro", str(project.home)], check=True)
        # Looking needs no writing.
        assert project.freshtune("plan", "tiny").exit_code == 0
        message = refused(project, code=2)
    assert str(project.home) in message
    assert message.endswith("fix: point FRESHTUNE_HOME at a folder that you can write to")


@pytest.mark.parametrize("command", ["run", "plan", "models", "report"])
def test_home_that_is_no_folder(project: Project, command: str) -> None:
    shutil.rmtree(project.home)
    project.home.write_text("not a folder")
    result = project.freshtune(command, "tiny")
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert str(project.home) in result.stderr
    assert "fix: point FRESHTUNE_HOME at a folder that you can write to" in result.stderr
    assert project.home.read_text() == "not a folder"
