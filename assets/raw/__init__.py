"""Labelled examples as they arrived.

The source is looked at (`sources.observe`, by content), its files are parsed, and every row is kept once with all the
places it came from. A line that cannot be read as a row is kept as it is, with the reason; a file that is not what its
name says stops the step.
"""

from __future__ import annotations

from typing import Any

from assets.raw.sources import observe
from assets.store.step import Check, Measurements, Outcome, Step


def judge_lines(measurements: Measurements, _config: Any) -> Outcome:
    """Whether every line could be read as a row; the others go to quarantine, and validation judges how many may."""
    rejected, rows = measurements["rejected"], measurements["rows"] + measurements["rejected"]
    return Outcome(
        passed=rejected == 0,
        message=f"{rejected:,} of {rows:,} distinct lines could not be read as rows",
        values={"rejected": rejected, "distinct": rows},
        warning=True,
    )


STEP = Step(
    name="raw",
    description="Labelled examples as they arrived: every distinct row once, with the files and lines it came from, "
    "and every line that cannot be read as a row.",
    function="assets.raw.read:read",
    configuration=(
        "source.format",
        "source.names",
        "source.quoting",
        "source.encoding",
        "source.columns",
        "source.labels",
        "source.mode",
        "splits.frozen",
        "evaluation.source_files",
        "run.sample",
    ),
    remembers=True,
    externals=observe,
    environment=("pyarrow:major",),
    checks=(
        Check(
            name="every_line_is_a_row",
            description="Every line of the source could be read as a row; the others are in quarantine.",
            judge=judge_lines,
        ),
    ),
    kinds=("parquet",),
)
