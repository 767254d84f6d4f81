"""Tests of how measurements are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.config.sides import Splits
from assets.orchestration import metadata, registered
from assets.orchestration.metadata import check_result, measured, plan_table
from assets.splits import STEP
from assets.store.plan import Plan, Reason, StepPlan
from assets.store.step import Check, Outcome
from tests.orchestration.pipeline import Tiny


def shown(**measurements: Any) -> dict[str, Any]:
    return {name: value.value for name, value in measured(measurements).items()}


def test_numbers_stay_numbers() -> None:
    assert shown(a=1, b=0.5, c=True, d="x", e=None) == {"a": 1, "b": 0.5, "c": True, "d": "x"}
    assert shown(f1=0.9823355263157895, rate=5e-05) == {"f1": 0.982336, "rate": 5e-05}
    kinds = measured({"a": 1, "b": 0.5, "c": True})
    assert [type(kinds[name]) for name in "abc"] == [
        dg.IntMetadataValue,
        dg.FloatMetadataValue,
        dg.BoolMetadataValue,
    ]


def test_confusion_matrix_is_a_table() -> None:
    table = shown(confusion={"labels": ["ham", "spam"], "matrix": [[1000, 2], [3, 4]]})["confusion"]
    assert table == ("| true ↓ predicted → | ham | spam |\n| --- | --- | --- |\n| ham | 1,000 | 2 |\n| spam | 3 | 4 |")


def test_mixed_mapping_shows_its_numbers() -> None:
    table = shown(baseline={"f1_macro": 0.9, "rows": 7, "per_class": {"a": {"f1": 1.0}}})["baseline"]
    assert table == "|  | value |\n| --- | --- |\n| f1_macro | 0.9000 |\n| rows | 7 |"


def test_only_parts_of_a_whole_have_shares() -> None:
    assert "| b | 3 | 75.0% |" in shown(labels={"a": 1, "b": 3})["labels"]
    assert "| test | 0 |" in shown(rows={"test": 0})["rows"]
    assert "share" not in shown(account={"read": 4, "kept": 3, "merged": 1})["account"]


def test_long_columns_come_last_and_names_first() -> None:
    comparisons = [{"limit": 0.5, "message": "x" * 50, "name": "floor", "passed": True}]
    assert shown(comparisons=comparisons)["comparisons"].startswith("| name | limit | passed | message |\n")


def test_what_no_row_has_is_no_column() -> None:
    comparisons = [
        {"name": "floor", "limit": 0.5, "interval": None, "method": ""},
        {"name": "slices", "limit": None, "interval": None, "method": ""},
    ]
    assert shown(comparisons=comparisons)["comparisons"] == (
        "| name | limit |\n| --- | --- |\n| floor | 0.5000 |\n| slices |  |"
    )


def test_cells_are_what_people_read() -> None:
    table = shown(tests=[{"name": "a", "alarm": True, "effect": 0.25, "length": 1234.5678}])["tests"]
    assert table.endswith("| a | yes | 0.2500 | 1,234.6 |")
    assert "reason" not in shown(reason="", rows=3)
    assert shown(settings={"rate": 0.0000234, "decay": 0.0})["settings"].endswith(
        "| rate | 2.34e-05 |\n| decay | 0.0000 |"
    )


def test_samples_are_short_enough_to_be_shown_at_once() -> None:
    samples = [{"label": "spam", "text": "word " * 100} for _ in range(5)]
    assert len(shown(samples=samples)["samples"]) < 1000


def test_texts_of_errors_are_left_out_and_samples_shown() -> None:
    errors = [{"row_id": "ab", "text": "secret", "label": "ham", "confidence": 0.99}]
    assert (
        shown(errors=errors)["errors"] == "| row_id | label | confidence |\n| --- | --- | --- |\n| ab | ham | 0.9900 |"
    )
    assert "hello" in shown(samples=[{"text": "hello", "label": "ham"}])["samples"]
    observed = [{"type": "x", "observed": "secret"}, {"type": "y", "observed": 7}]
    assert shown(table_expectations=observed)["table_expectations"] == (
        "| type | observed |\n| --- | --- |\n| x |  |\n| y | 7 |"
    )


@given(st.text(max_size=300))
@settings(deadline=None, derandomize=True)
def test_any_text_stays_in_its_cell(text: str) -> None:
    table = shown(samples=[{"text": text, "label": "x"}])["samples"]
    lines = table.split("\n")
    assert len(lines) == 3
    assert lines[2].replace("\\|", "").count("|") - lines[2].count("\\\\|") <= 3
    assert "<" not in table.replace("\\<", "")


def test_empty_values_are_left_out() -> None:
    assert shown(a={}, b=[], c=[{}]) == {}


def test_plan_is_a_table() -> None:
    steps = (
        StepPlan("raw", "fresh", ()),
        StepPlan("model", "stale", (Reason("config", "training.epochs", 3, 4),), estimated_seconds=80.0),
    )
    assert plan_table(Plan("p", steps)) == (
        "| step | state | because | about |\n| --- | --- | --- | --- |\n"
        "| raw | fresh |  |  |\n| model | stale | config training.epochs 3 → 4 | 80.0 s |"
    )


@pytest.mark.parametrize(
    ("blocking", "warning", "severity"),
    [(True, False, "ERROR"), (True, True, "WARN"), (False, False, "WARN"), (False, True, "WARN")],
)
def test_only_what_blocks_is_an_error(blocking: bool, warning: bool, severity: str) -> None:
    outcome = Outcome(False, "no", {"a": 1}, warning=warning)
    check = Check("c", "d", lambda *_: outcome, blocking=blocking)
    result = check_result(dg.AssetKey("x"), check, outcome)
    assert (result.severity.value, result.description, result.metadata["a"].value) == (severity, "no", 1)


def test_data_docs_are_linked_and_rulings_are_a_table(tiny: Tiny, tmp_path: Path) -> None:
    runner = tiny.runner()
    done = runner.run_step(runner.chain[0].name)
    trace = tmp_path / "trace"
    (trace / "data_docs").mkdir(parents=True)
    (trace / "data_docs" / "index.html").write_text("<html>")
    record = replace(done.record, trace=runner.store.publish("traces", trace))
    shown = metadata.step_metadata(runner, replace(done, record=record, measurements={"rulings": {"dropped": 2}}))
    page = Path(str(shown["data_docs"].value))
    assert page.read_text() == "<html>"
    assert shown["rulings"].value == "|  | value |\n| --- | --- |\n| dropped | 2 |"


def test_large_picture_is_only_named(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "LARGEST_PICTURE", 3)
    (tmp_path / "curve.png").write_bytes(b"1234")
    assert metadata._pictures(tmp_path)["curve_plot"] == dg.MetadataValue.path(str(tmp_path / "curve.png"))


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://mlflow:5000/", dg.MetadataValue.url("http://mlflow:5000/#/models/tiny-test")),
        ("http://ada:s3cret@mlflow", dg.MetadataValue.url("http://ada:***@mlflow/#/models/tiny-test")),
        ("sqlite:///x.db", dg.MetadataValue.text("model tiny-test in sqlite:///x.db")),
    ],
)
def test_registry_is_linked_where_it_is_a_server(tiny: Tiny, uri: str, shown: dg.MetadataValue[Any]) -> None:
    runner = tiny.runner()
    object.__setattr__(runner.home, "tracking_uri", uri)
    assert registered.registry_metadata(runner)["registry"] == shown


def test_sides_are_shown_as_tables() -> None:
    labels = {"train": {"ham": 700, "spam": 0}, "validation": {"ham": 50, "spam": 50}, "test": {"ham": 150, "spam": 50}}
    rows = {side: sum(counts.values()) for side, counts in labels.items()}
    config = SimpleNamespace(splits=Splits())
    found: dict[str, Any] = {}
    for check in STEP.checks[1:]:
        outcome = check.judge({"rows": rows, "labels": labels, "effective_rows": 1000.0}, config)
        result = check_result(dg.AssetKey("splits"), check, outcome)
        assert result.severity == dg.AssetCheckSeverity.WARN
        found |= {name: value.value for name, value in result.metadata.items()}
    assert found["sides"].startswith("|  | rows | share | declared | may deviate by |\n")
    assert "| test | 200 | 0.2000 | 0.2000 | 0.0417 |" in found["sides"]
    assert found["by_label"] == (
        "|  | train | validation | test | all |\n| --- | --- | --- | --- | --- |\n"
        "| ham | 700 (100.0%) | 50 (50.0%) | 150 (75.0%) | 900 (90.0%) |\n"
        "| spam | 0 (0.0%) | 50 (50.0%) | 50 (25.0%) | 100 (10.0%) |"
    )
