"""The code location: every pipeline under `pipelines/`."""

from __future__ import annotations

import sys
from pathlib import Path

import dagster as dg

from assets.config.home import project_root

# Dagster imports `pipelines`; it must be that of the project, also where freshtune is installed from another folder.
root = project_root()
sys.path.insert(0, str(root))

defs = dg.Definitions.merge(
    # An installed wheel has its `pyproject.toml` beside the code.
    dg.load_from_defs_folder(path_within_project=root if (root / "pyproject.toml").is_file() else Path(__file__)),
    # Training runs in a process of its own, so one process for the rest of a run is enough and starts at once.
    dg.Definitions(executor=dg.in_process_executor),
)
