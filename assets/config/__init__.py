"""The schema of a pipeline's configuration, and where the project keeps its things."""
