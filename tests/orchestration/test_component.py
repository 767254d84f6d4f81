"""Tests of the component and of every pipeline that is shipped."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster.components.scaffold.scaffold import NoParams, ScaffoldRequest

from assets.chain import CHAIN
from assets.config.pipeline import Pipeline
from assets.errors import ConfigurationError
from assets.orchestration import FineTuningPipeline
from assets.orchestration.component import PipelineScaffolder, checked_name

# Dagster 1.13 reads component files through a function that pydantic has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated:DeprecationWarning")

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.parent.name for path in (ROOT / "pipelines").glob("*/defs.yaml"))


@pytest.fixture(scope="module")
def shipped() -> dg.Definitions:
    with warnings.catch_warnings():
        # The tree uses what Dagster itself calls beta; `load_from_defs_folder` silences this in the code location.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.ComponentTree.for_project(ROOT).build_defs()


def test_something_is_shipped() -> None:
    assert "sms_spam" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_pipeline_loads(shipped: dg.Definitions, name: str) -> None:
    graph = shipped.resolve_asset_graph()
    keys = {tuple(key.path) for key in graph.get_all_asset_keys() if key.path[0] == name}
    steps = [step for step in CHAIN if step.wanted is None]
    assert keys == {(name, step) for step in ("source", *(step.name for step in steps))}
    for step in steps:
        node = graph.get(dg.AssetKey([name, step.name]))
        assert node.description == step.description
        assert node.kinds == set(step.kinds)
        assert node.code_version
        checks = {(check.name, spec.blocking) for check in node.check_keys if (spec := graph.get_check_spec(check))}
        assert checks == {(check.name, check.blocking) for check in step.checks}
    for job in ("job", "plan", "sample"):
        assert shipped.resolve_job_def(f"{name}_{job}")


def test_code_location_imports_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "great_expectations", "mlflow", "pandas", "sklearn", "datasets"]
    script = f"import sys, assets.orchestration.definitions; sys.exit(str([m for m in {heavy} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_schema_is_that_of_the_pipeline() -> None:
    assert FineTuningPipeline.get_model_cls() is Pipeline
    with pytest.raises(ValueError, match="above_baselin"):
        FineTuningPipeline.from_attributes_dict(attributes={"gate": {"above_baselin": 0.0}})


@pytest.mark.parametrize("name", ["my-reviews", "1st", "", "a.b", "é"])
def test_name_that_dagster_refuses_is_refused_with_the_fix(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="rename the folder"):
        checked_name(name, tmp_path)


def scaffold(path: Path, scaffold_format: str = "yaml") -> None:
    request = ScaffoldRequest(
        type_name="assets.orchestration.FineTuningPipeline",
        target_path=path,
        scaffold_format=scaffold_format,  # type: ignore[arg-type]
        project_root=path.parent,
        params=NoParams(),
    )
    PipelineScaffolder().scaffold(request)


def test_scaffold_writes_a_valid_pipeline(tmp_path: Path) -> None:
    scaffold(tmp_path / "reviews")
    text = (tmp_path / "reviews" / "defs.yaml").read_text()
    made = yaml.safe_load(text)
    assert made["type"] == "assets.orchestration.FineTuningPipeline"
    assert Pipeline.model_validate(made["attributes"]).source.files == ("data/reviews/*.csv",)


def test_scaffolds_suggestions_are_valid_too(tmp_path: Path) -> None:
    """What is commented out – everything indented behind `# ` – is a pipeline as well."""
    scaffold(tmp_path / "reviews")
    lines = (tmp_path / "reviews" / "defs.yaml").read_text().splitlines()
    opened = []
    for line in lines:
        bare = line.lstrip()
        suggestion = bare.startswith("# ") and ":" in bare and not bare.startswith(("# reviews", "# Next", "# Paths"))
        opened.append(line.replace("# ", "", 1) if suggestion or bare.startswith("#     - ") else line)
    made = Pipeline.model_validate(yaml.safe_load("\n".join(opened))["attributes"])
    assert made.schedule is not None
    assert made.validation.expectations
    assert made.gate.floor == 0.9
    assert json.loads(made.model_dump_json())["sensor"] == {"minimum_interval_seconds": 60}


def test_scaffold_refuses_python_and_odd_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="declared in YAML"):
        scaffold(tmp_path / "reviews", "python")
    with pytest.raises(ConfigurationError, match="no name of a pipeline"):
        scaffold(tmp_path / "my-reviews")
    assert not (tmp_path / "my-reviews").exists()
