"""Where a model came from, from records alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets.errors import DamagedError
from assets.release.lineage import Origins, digests, lineage, origins, summary
from assets.store.digests import write_json
from assets.store.store import Record
from tests.release.material import entry, measurements

ORDER = ("raw", "validated", "cleaned", "splits", "drift", "model", "evaluation")
INPUTS = {
    "raw": {"source": "digest-of-source"},
    "validated": {"raw": "raw-content"},
    "cleaned": {"validated": "validated-content"},
    "splits": {"cleaned": "cleaned-content"},
    "drift": {"splits": "splits-content"},
    "model": {"splits": "splits-content", "base_model": "digest-of-base"},
    "evaluation": {"model": "model-content", "splits": "splits-content"},
}


def record(step: str, **changed: Any) -> Record:
    made = {
        "step": step,
        "code": {f"assets.{step}:work": "1"},
        "configuration": {f"{step}.setting": 1},
        "environment": {"torch": "2.13.0"},
        "inputs": INPUTS[step],
    }
    files = {"raw": {"source": {"b.csv": ["2", 20], "a.csv": ["1", 10]}}, "model": {"base_model": {"m": ["3", 30]}}}
    return Record(
        f"{step}-key", f"{step}-content", f"{step}-trace", {**made, **changed}, files.get(step, {}), 1.5, 2.0, "ada"
    )


def records(**changed: dict[str, Any]) -> dict[str, Record]:
    return {step: record(step, **changed.get(step, {})) for step in ORDER}


def test_what_is_told() -> None:
    found = lineage(Origins("m", records(), measurements(), "base", checks={"raw": {}}, run="r"))
    assert [each["name"] for each in found["sources"]] == ["a.csv", "b.csv"]
    assert found["sources"][0] == {"name": "a.csv", "sha256": "1", "bytes": 10}
    assert found["rows"] == {
        "read": 109,
        "kept": 90,
        "quarantined": 6,
        "merged": 13,
        "train": 60,
        "validation": 10,
        "test": 20,
    }
    assert found["quarantine"] == {"readable": 2, "expect_text": 3}
    parent = {"name": "base", "digest": "digest-of-base", "files": [{"name": "m", "sha256": "3", "bytes": 30}]}
    assert found["parent"] == parent
    assert found["warm_start"] is None, "none was asked for"
    assert [each["step"] for each in found["steps"]] == list(ORDER)
    assert found["steps"][0]["configuration"] == {"raw.setting": 1}
    assert (found["run"], found["checks"], found["origin"]) == ("r", {"raw": {}}, "")


def test_of_a_model_from_elsewhere_nothing_is_known() -> None:
    found = lineage(Origins("m", {}, {}, origin="elsewhere"))
    assert found["origin"] == "elsewhere"
    assert (found["sources"], found["rows"], found["parent"], found["steps"], found["digests"]) == (
        [],
        {},
        None,
        [],
        {},
    )


def test_a_warm_start() -> None:
    start = {"from": "champion", "champion": "c" * 64, "why": "", "ancestors": ["c" * 64]}
    found = lineage(Origins("m", records(), measurements(model={"start": start}), "base"))
    assert found["warm_start"] == start
    assert summary(found)["warm start"] == f"with the weights of champion {'c' * 12}"
    assert summary(found)["started from"] == "base digest-of-ba"


def test_a_summary() -> None:
    checks = {"splits": {"no_leak": {"passed": True}, "balanced": {"passed": False}}}
    told = summary(lineage(Origins("m", records(), measurements(), "base", checks=checks, run="r")))
    assert told["sources"] == "a.csv (sha256 1), b.csv (sha256 2)"
    assert told["rows"].startswith("109 read, 90 kept, 6 quarantined, 13 merged, 60 train")
    assert told["started from"] == "base digest-of-ba"
    assert told["checks"] == "1 of 2 passed; not balanced of splits"
    assert set(told) == {"sources", "rows", "quarantine", "started from", "checks", "run"} | {
        f"digest of {what}" for what in ("data", "code", "configuration", "environment")
    }
    assert summary(lineage(Origins("m", {}, {}, origin="elsewhere"))) == {"origin": "elsewhere"}
    many = replace(record("raw"), files={"source": {f"{at:02}.csv": ["1", 1] for at in range(23)}})
    assert summary(lineage(Origins("m", {"raw": many}, {})))["sources"].endswith(" and 3 more")


@pytest.mark.parametrize(
    ("step", "part", "value", "changes"),
    [
        ("raw", "code", {"assets.raw:work": "2"}, {"code"}),
        ("model", "configuration", {"model.setting": 2}, {"configuration"}),
        ("cleaned", "environment", {"torch": "3"}, {"environment"}),
        ("model", "inputs", {"splits": "others", "base_model": "digest-of-base"}, {"data"}),
        ("drift", "configuration", {"drift.setting": 2}, set()),
        ("evaluation", "code", {"x": "2"}, set()),
    ],
)
def test_a_digest_changes_with_what_it_is_of(step: str, part: str, value: Any, changes: set[str]) -> None:
    """What only looked on, or came after the model, is no part of it."""
    before, after = digests(records()), digests(records(**{step: {part: value}}))
    assert {name for name in before if before[name] != after[name]} == changes


def test_what_the_store_knows(tmp_path: Path) -> None:
    kept = records()
    keyed = {each.key: replace(each, content="of a later build") for each in kept.values()}
    del keyed["raw-key"]
    fields = {
        **entry(0, "m", "m").fields,
        "keys": [[step, f"{step}-key"] for step in ORDER],
        "inputs": {step: f"{step}-content" for step in ORDER},
        "run": "r",
    }

    def trace(digest: str) -> Path:
        if digest == "drift-trace":
            raise DamagedError("it has rotted")
        folder = tmp_path / digest
        folder.mkdir(exist_ok=True)
        write_json(folder / "measurements.json", {"of": digest})
        if digest == "model-trace":
            write_json(folder / "spec.json", {"externals": {"base_model": {"location": "owner/base@1"}}})
        return folder

    found = origins(fields, keyed.get, trace)
    assert list(found.records) == list(ORDER[1:]), "what is gone is left out"
    assert found.records["model"].content == "model-content", "what the decision was about"
    assert set(found.measurements) == set(ORDER[1:]) - {"drift"}
    assert (found.base_model, found.run, found.origin) == ("owner/base@1", "r", "")
    assert origins(entry(0, "m", "m").fields, keyed.get, trace).records == {}, "an entry of a time before keys"
