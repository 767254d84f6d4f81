"""The Dagster face: turns the chain of each pipeline into assets, checks, jobs, a schedule and a sensor.

The only room that imports Dagster. `pipelines/<name>/defs.yaml` is an instance of the component `FineTuningPipeline`;
`definitions` is the code location; `launch` runs steps in this process for the command line.
"""

from __future__ import annotations

from assets.orchestration.component import FineTuningPipeline

__all__ = ["FineTuningPipeline"]
