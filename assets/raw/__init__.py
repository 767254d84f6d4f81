"""Labelled examples as they arrived.

The source is looked at (`sources.observe`, by content), its files are parsed, and every row is kept once with all the
places it came from. A line that cannot be read as a row is kept as it is, with the reason; a file that is not what its
name says stops the step.
"""

from __future__ import annotations

from assets.raw.sources import observe
from assets.store.step import Step

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
        "run.sample",
    ),
    externals=observe,
    environment=("pyarrow:major",),
    kinds=("parquet",),
)
