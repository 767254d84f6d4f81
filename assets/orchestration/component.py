"""The Dagster component of a pipeline: what `type: assets.orchestration.FineTuningPipeline` in a `defs.yaml` means."""

from __future__ import annotations

import re
import string
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components import Scaffolder, ScaffoldRequest
from pydantic import BaseModel

from assets.config.pipeline import Pipeline
from assets.errors import ConfigurationError
from assets.orchestration.wiring import pipeline_definitions
from assets.session import open_runner

TEMPLATE = Path(__file__).with_name("defs.yaml.template")


class PipelineScaffolder(Scaffolder[Any]):
    """Writes the `defs.yaml` of a new pipeline, every choice explained beside it."""

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        """See `dg scaffold defs`.

        Raises:
            ConfigurationError: if it is to be Python, or the name is none of a pipeline.
        """
        if request.scaffold_format != "yaml":
            raise ConfigurationError("a pipeline is declared in YAML", where="--format", fix="leave out --format")
        path = request.target_path / "defs.yaml"
        checked_name(request.target_path.name, path)
        request.target_path.mkdir(parents=True, exist_ok=True)
        template = string.Template(TEMPLATE.read_text(encoding="utf-8"))
        path.write_text(template.substitute(type=request.type_name, name=request.target_path.name), encoding="utf-8")


@dg.scaffold_with(PipelineScaffolder)
class FineTuningPipeline(dg.Component):
    """One fine-tuned language model, kept fresh: raw → validated → cleaned → splits → model → evaluation → release.

    Attributes:
        config: the pipeline's configuration, the `attributes` of its `defs.yaml`.
    """

    def __init__(self, config: Pipeline) -> None:
        self.config = config

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The schema that `dg check yaml` holds the attributes against."""
        return Pipeline

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` says about it."""
        return dg.ComponentTypeSpec(
            tags=["fine-tuning"], produces=["asset", "asset_check", "job", "schedule", "sensor"]
        )

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> FineTuningPipeline:
        """Make the component from attributes that were validated."""
        assert isinstance(attributes, Pipeline)
        return cls(attributes)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Everything that Dagster knows of the pipeline; its name is that of its folder."""
        name = checked_name(context.path.name, context.path / "defs.yaml")
        return pipeline_definitions(partial(open_runner, name, config=self.config))


def checked_name(name: str, where: Path) -> str:
    """The name, if Dagster takes it as the name of jobs and groups.

    Raises:
        ConfigurationError: if it does not.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise ConfigurationError(
            f"{name!r} is no name of a pipeline",
            where=str(where),
            fix="rename the folder: letters, digits and _, beginning with a letter",
        )
    return name
