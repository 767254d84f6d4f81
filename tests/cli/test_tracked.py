"""Texts that are taken out of MLflow by its client, as from a server; here its database is a file."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest

from assets.cli.everywhere import holding
from assets.cli.scrubbing import Words
from assets.cli.tracked import scrub_tracked
from assets.release.mlflow_access import speaking

# MLflow 3.17 asks SQLAlchemy 2.1 for a strategy that goes away in 2.2.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

SECRET = 'call Ann "Example" on 555 0199'
OTHER = "nobody asks for this to be forgotten"


def check_that_a_text_is_taken_out(uri: str, location: str | None, artifacts: Path, folder: Path) -> None:
    """Log a text everywhere, and take it out again.

    Args:
        uri: where MLflow is.
        location: where it is told to put artifacts, or None where it knows itself.
        artifacts: where they lie.
        folder: for files to log.
    """
    with speaking(uri) as client:
        experiment = client.create_experiment("tiny", location)
        kept, deleted = (client.create_run(experiment).info.run_id for _ in range(2))
        client.set_tag(kept, "note", f"it says {SECRET}")
        client.log_param(kept, "said", SECRET)
        client.log_text(kept, f"<td>{html.escape(SECRET)}</td><td>{OTHER}</td>", "pages/report.html")
        client.log_dict(deleted, {"rows": [{"text": SECRET}, {"text": OTHER}]}, "rows.json")
        (folder / "odd.bin").write_bytes(b"\xff\xfe" + SECRET.encode())
        client.log_artifact(deleted, str(folder / "odd.bin"))
        client.delete_run(deleted)
        model = client.create_logged_model(experiment, name="tiny", source_run_id=kept, tags={"note": SECRET})
        (folder / "card.md").write_text(f"errors: {SECRET}")
        client.log_model_artifact(model.model_id, str(folder / "card.md"))
        client.log_model_artifact(model.model_id, str(folder / "card.md"), "components/tokenizer")
        client.finalize_logged_model(model.model_id, "READY")
        client.create_registered_model("tiny")
        client.create_model_version(
            "tiny",
            model.artifact_location,
            kept,
            tags={"note": SECRET},
            description=f"{SECRET}; {OTHER}",
            model_id=model.model_id,
        )

    changed: list[str] = []
    left = scrub_tracked(uri, ["tiny", "never-registered"], Words((SECRET,), ()), changed.append)

    assert sorted(each.partition(": ")[2] for each in changed) == sorted(
        [
            f"run {kept}, tag note",
            f"run {kept}, pages/report.html",
            f"run {deleted}, rows.json",
            f"logged model {model.model_id}, tag note",
            f"logged model {model.model_id}, card.md",
            "version 1 of tiny, tag note",
            "version 1 of tiny, description",
        ]
    )
    assert sorted(each.partition(": ")[2] for each in left) == sorted(
        [f"run {kept}, parameter said", f"run {deleted}, odd.bin"]
    )
    assert [path.name for path in holding([artifacts], [SECRET])] == ["odd.bin", "card.md"]
    with speaking(uri) as client:
        assert client.get_run(kept).data.tags["note"] == "it says [forgotten]"
        version = client.get_model_version("tiny", "1")
        assert (version.description, version.tags["note"]) == (f"[forgotten]; {OTHER}", "[forgotten]")
        (page,) = artifacts.rglob("report.html")
        assert page.read_text() == f"<td>[forgotten]</td><td>{OTHER}</td>"
        (rows,) = artifacts.rglob("rows.json")
        assert json.loads(rows.read_text()) == {"rows": [{"text": OTHER}]}
    changed.clear()
    scrub_tracked(uri, ["tiny"], Words((SECRET,), ()), changed.append)
    assert changed == []


def test_a_text_is_taken_out_of_runs_models_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    artifacts = tmp_path / "artifacts"
    check_that_a_text_is_taken_out(f"sqlite:///{tmp_path}/mlflow.db", artifacts.as_uri(), artifacts, tmp_path)
    assert list((tmp_path / "here").iterdir()) == []
