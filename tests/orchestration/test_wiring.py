"""Tests of the definitions of a pipeline: assets, checks, jobs."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster_shared.serdes import serialize_value

from assets.orchestration import execution
from tests.orchestration.pipeline import Tiny

BUILT = {"raw": "built", "model": "built", "release": "built"}


def key(step: str) -> dg.AssetKey:
    return dg.AssetKey(["tiny", step])


def metadata(result: dg.ExecuteInProcessResult, step: str) -> dict[str, object]:
    event = result.asset_materializations_for_node(f"tiny__{step}")[0]
    return {name: value.value for name, value in event.metadata.items()}


def failure(result: dg.ExecuteInProcessResult, step: str) -> str:
    data = result.failure_data_for_node(f"tiny__{step}")
    assert data is not None
    if data.user_failure_data is not None:
        return str(data.user_failure_data.description)
    assert data.error is not None
    return data.error.to_string()


def versions(instance: dg.DagsterInstance, step: str) -> tuple[str, dict[str, str]]:
    event = instance.get_latest_materialization_event(key(step))
    assert event is not None
    assert event.asset_materialization is not None
    tags = dict(event.asset_materialization.tags or {})
    return tags["dagster/data_version"], tags


def test_materialise_all_builds_then_stands(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    first = tiny.run(instance)
    assert first.success
    assert tiny.actions() == BUILT
    assert metadata(first, "model")["reused"] is False
    second = tiny.run(instance)
    assert second.success
    assert tiny.actions() == {"raw": "fresh", "model": "fresh", "release": "fresh"}
    assert metadata(second, "model")["reused"] is True


def test_program_runs_through_pipes_and_its_progress_is_logged(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    result = tiny.run(instance)
    assert {event["text"] for event in tiny.events if event["kind"] == "message"} == {"3 rows", "trained"}
    logged = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert "trained" in logged
    assert "[pipes] external process successfully opened dagster pipes." in logged


def test_going_back_reuses(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.run(instance)
    before, _ = versions(instance, "model")
    tiny.changed = {"training": {"epochs": 5}}
    tiny.run(instance)
    assert tiny.actions() == {"raw": "fresh", "model": "built", "release": "built"}
    assert versions(instance, "model")[0] != before
    tiny.changed = {}
    result = tiny.run(instance)
    assert tiny.actions()["model"] == "reused"
    assert metadata(result, "model")["reused"] is True
    assert metadata(result, "model")["reasons"] == "- config training.epochs 5 → unset"
    assert versions(instance, "model")[0] == before


def test_nothing_is_unsynced_after_a_run(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    """What Dagster compares: each input's data version as recorded, against the input's latest."""
    tiny.run(instance)
    seen = tiny.runner().observe(tiny.runner().chain[0])["source"].digest
    _, raw = versions(instance, "raw")
    assert raw["dagster/input_data_version/tiny/source"] == seen
    observed = instance.fetch_observations(key("source"), limit=1).records[0]
    assert raw["dagster/input_event_pointer/tiny/source"] == str(observed.storage_id)
    for step, inputs in {"model": ["raw"], "release": ["raw", "model"]}.items():
        _, tags = versions(instance, step)
        for name in inputs:
            assert tags[f"dagster/input_data_version/tiny/{name}"] == versions(instance, name)[0]


def test_source_is_observed_by_content(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    def observe() -> str:
        repository = tiny.definitions().get_repository_def()
        job = repository.get_implicit_job_def_for_assets([key("source")])
        assert job is not None
        assert job.execute_in_process(instance=instance, asset_selection=[key("source")]).success
        tags = instance.fetch_observations(key("source"), limit=1).records[0].event_log_entry.asset_observation
        assert tags is not None
        return tags.tags["dagster/data_version"]

    before = observe()
    assert observe() == before
    tiny.write("more.txt", "b four")
    assert observe() != before


def test_code_version_is_that_of_the_runner(tiny: Tiny) -> None:
    node = tiny.definitions().resolve_asset_graph().get(key("model"))
    assert node.code_version == tiny.runner().code_version(tiny.runner().step("model"))
    tiny.changed = {"training": {"epochs": 5}}
    assert tiny.definitions().resolve_asset_graph().get(key("model")).code_version != node.code_version
    assert node.group_name == "tiny"
    assert node.pools == {"gpu"}
    assert node.parent_keys == {key("raw")}


def test_checks_are_evaluated_again_in_every_run(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    for _ in range(2):
        result = tiny.run(instance)
        found = {check.check_name: check for check in result.get_asset_check_evaluations()}
        assert found["enough"].passed
        assert found["enough"].description == "3 of 2 rows"
        assert found["enough"].metadata["rows"].value == 3
        assert found["promising"].severity == dg.AssetCheckSeverity.WARN
        assert not found["promising"].passed
        assert result.success


def test_blocking_check_stops_what_comes_after_now_and_later(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.changed = {"splits": {"min_rows_per_label": 9}}
    result = tiny.run(instance)
    assert not result.success
    assert tiny.actions() == {"raw": "built"}
    [check] = result.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    later = tiny.run(instance, "model")
    assert not later.success
    assert "model refuses to run: check enough of raw failed: 3 of 9 rows" in failure(later, "model")


def test_failure_says_what_where_and_the_fix(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.write("rows.txt", "a broken", "b two")
    result = tiny.run(instance)
    assert failure(result, "raw") == "rows.txt, line 1: a broken row\n  fix: mend it"
    assert not [event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]


def test_failure_of_the_program_is_that_of_its_function(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.changed = {"training": {"epochs": 13}}
    result = tiny.run(instance)
    assert failure(result, "model") == "training.epochs: thirteen epochs\n  fix: be less superstitious"


def test_missing_input_says_what_to_run(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    assert "step model needs raw, which was never built" in failure(tiny.run(instance, "model"), "model")


def test_transient_error_is_retried(tiny: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "RETRY_SECONDS", 0.01)
    tiny.write("rows.txt", "a unreachable 2", "b two")
    result = tiny.run(instance)
    assert result.success
    assert [event.step_key for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"] == [
        "tiny__raw"
    ] * 2


def test_transient_error_that_stays_fails_with_its_text(
    tiny: Tiny, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "RETRY_SECONDS", 0.01)
    tiny.write("rows.txt", "a unreachable 9", "b two")
    assert failure(tiny.run(instance), "raw") == "source: no connection at attempt 3\n  fix: wait"


def test_force_tag_builds_again(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    tiny.run(instance)
    tiny.run(instance, tags={execution.FORCE_TAG: "model, release"})
    assert tiny.actions() == {"raw": "fresh", "model": "built", "release": "built"}
    result = tiny.run(instance, tags={execution.FORCE_TAG: "modell"})
    assert "no step 'modell'" in failure(result, "raw")


def test_plan_job_shows_the_plan_and_runs_nothing(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    def plan() -> tuple[dict[str, object], str]:
        result = tiny.definitions().resolve_job_def("tiny_plan").execute_in_process(instance=instance)
        [output] = [event for event in result.all_events if event.is_successful_output]
        shown = output.step_output_data.metadata
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        return {name: value.value for name, value in shown.items()}, run.tags["freshtune/to_run"]

    shown, to_run = plan()
    assert to_run == shown["to_run"] == "raw, model, release"
    assert "| raw | stale | missing raw |" in str(shown["plan"])
    assert shown["plan_json"] == tiny.runner().plan().json()
    assert tiny.runner().standing("raw") is None
    tiny.run(instance)
    assert plan()[1] == "nothing"


def test_plan_job_fails_with_the_reason(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    (tiny.source / "rows.txt").unlink()
    job = tiny.definitions().resolve_job_def("tiny_plan")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    data = result.failure_data_for_node("tiny_plan_steps")
    assert data is not None
    assert data.user_failure_data is not None
    assert data.user_failure_data.description == "source.files: no files\n  fix: put a file there"


def test_sample_job_leaves_the_assets_alone(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    job = tiny.definitions().resolve_job_def("tiny_sample")
    result = job.execute_in_process(instance=instance, tags={execution.SAMPLE_TAG: "2"})
    assert result.success
    assert tiny.actions() == BUILT
    assert tiny.watch.results[0].measurements["rows"] == 2
    assert tiny.runner(sample=2).standing("model") is not None
    assert tiny.runner().standing("model") is None
    assert instance.get_latest_materialization_event(key("raw")) is None
    refused = tiny.run(instance, tags={execution.SAMPLE_TAG: "2"})
    assert "a sample is run by the job tiny_sample" in failure(refused, "raw")


@pytest.mark.parametrize("rows", ["0", "many", "-1"])
def test_sample_of_no_rows_is_refused(tiny: Tiny, instance: dg.DagsterInstance, rows: str) -> None:
    job = tiny.definitions().resolve_job_def("tiny_sample")
    result = job.execute_in_process(instance=instance, tags={execution.SAMPLE_TAG: rows}, raise_on_error=False)
    data = result.failure_data_for_node("tiny_sample__raw")
    assert data is not None
    assert data.user_failure_data is not None
    assert f"{rows!r} is no number of rows" in str(data.user_failure_data.description)


def test_metadata_of_a_materialization(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    result = tiny.run(instance)
    raw, model, release = (metadata(result, step) for step in ("raw", "model", "release"))
    standing = tiny.runner().standing("raw")
    assert standing is not None
    assert raw["key"] == standing.record.key
    assert raw["content"] == standing.record.content == versions(instance, "raw")[0]
    assert raw["action"] == "built"
    assert raw["reasons"] == "- missing raw"
    assert raw["rows"] == raw["dagster/row_count"] == 3
    assert raw["labels"] == "|  | count | share |\n| --- | --- | --- |\n| a | 2 | 66.7% |\n| b | 1 | 33.3% |"
    assert "samples" not in raw, "no row's text is in a database unless the YAML allows it"
    assert model["accuracy"] == 0.5
    assert model["good"] is True
    assert model["curve_plot"] == "![curve](data:image/png;base64,iVBORw0KGgo=)"
    assert model["per_class"] == "|  | f1 | support |\n| --- | --- | --- |\n| a | 0.2500 | 3 |"
    assert "nothing" not in model
    assert model["seconds"] != 1e6, "of the whole step, not what training measured"
    assert list(model)[:3] == ["action", "reasons", "curve_plot"]
    assert str(release["report"]).endswith("/report.html")
    assert "registry" in release


def test_text_of_rows_is_only_in_samples(tiny: Tiny, instance: dg.DagsterInstance) -> None:
    result = tiny.run(instance)
    assert metadata(result, "raw")["rejected"] == "| reason |\n| --- |\n| odd |"
    assert "secret" not in "".join(serialize_value(entry) for entry in instance.all_logs(result.run_id))
